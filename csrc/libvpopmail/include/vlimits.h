/* A domain's limits: what vpopmail keeps in .qmailadmin-limits and etc/vlimits.default. */
#ifndef VLIMITS_H
#define VLIMITS_H

#include <stdint.h>

typedef uint64_t storage_t;

/* What a domain's administrator who is not its postmaster may not do: bits of the perm_ members. */
#define VLIMIT_DISABLE_CREATE 0x01
#define VLIMIT_DISABLE_MODIFY 0x02
#define VLIMIT_DISABLE_DELETE 0x04
#define VLIMIT_DISABLE_ALL (VLIMIT_DISABLE_CREATE | VLIMIT_DISABLE_MODIFY | VLIMIT_DISABLE_DELETE)
#define VLIMIT_DISABLE_BITS 3

struct vlimits {
    int maxpopaccounts, maxaliases, maxforwards, maxautoresponders, maxmailinglists; /* -1: any */

    storage_t diskquota; /* of the domain, in megabytes; 0 in this and the next three: none */
    storage_t maxmsgcount;
    storage_t defaultquota; /* of a new user, in bytes */
    storage_t defaultmaxmsgcount;

    short disable_pop, disable_imap, disable_dialup, disable_passwordchanging, disable_webmail;
    short disable_relay, disable_smtp, disable_spamassassin, delete_spam, disable_maildrop;

    short perm_account, perm_alias, perm_forward, perm_autoresponder, perm_maillist;
    short perm_maillist_users, perm_maillist_moderators; /* kept in the file's perm_quota alone */
    short perm_quota, perm_defaultquota;
};

/* The domain's own limits, else the default ones, else none; 0 or a code. */
int vget_limits(const char *domain, struct vlimits *limits);
/* Writes the domain's own limits; 0 or a code. */
int vset_limits(const char *domain, const struct vlimits *limits);

#endif
