/* What a domain's users may do: DOMAINDIR/.qmailadmin-limits, else etc/vlimits.default, else
 * nothing is limited.
 *
 * Order of writes of vset_limits, under the lock of the domain's directory, as for an alias: the
 * new .qmailadmin-limits beside the old one, in whose place it is put. */
#ifndef VP_LIMITS_H
#define VP_LIMITS_H

#include "buf.h"
#include "paths.h"
#include "store.h"

struct limits {
    long long default_quota, default_maxmsgcount; /* bytes, messages; 0: none */
    unsigned int flags;                           /* NO_PASSWD_CHNG and so on */
};

/* 0 or VA_CANNOT_READ_LIMITS. The domain's own file, when read, becomes 0600 and the domain
 * owner's. */
int limits_read(const struct home *home, const struct store *s, struct limits *out);
/* The quota of a new user as vpasswd has it: NOQUOTA, or bytes and messages. */
void limits_quota(const struct limits *l, struct buf *out);

#endif
