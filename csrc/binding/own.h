/* What our own library does beside a linked real one: what the real one does wrong or not at all,
 * by the same files. A header that knows neither library's, since they have the same names. All of
 * it opens files and so is called in the cage. */
#ifndef VPX_OWN_H
#define VPX_OWN_H

#include <stdbool.h>
#include <stddef.h>

/* Where the linked library's files are. 0 or a code. */
int own_begin(const char *home, const char *qmail);

/* The checks before a call: 0, or the code that it is refused with. in_cdb tells whether users are
 * in vpasswd; a line there that is not sound is told among the words. What is counted wrongly in
 * .dir-control is counted anew first. */
/* Whether users/cdb can be asked for a domain, which may be missing. */
int own_check_domain(const char *domain);
int own_check_add_domain(const char *domain, const char *dir, unsigned uid, unsigned gid);
int own_check_alias_domain(const char *alias_domain, const char *real_domain);
int own_check_del_domain(const char *domain);
int own_check_add_user(const char *user, const char *domain, const char *password,
                       const char *gecos, bool in_cdb);
/* A user, who may be missing; `none` is the code for a record that can't be read. */
int own_check_user(const char *user, const char *domain, int none, bool in_cdb);
int own_check_alias(const char *alias, const char *domain, const char *line);

/* A user's directory and what is read there, where the domain's owner may have put a link. */
int own_check_user_dir(const char *user, const char *domain);
int own_check_limits(const char *domain);

/* 1 where vpasswd.cdb has a sound line for the user, 0 where it has none, or a code. */
int own_find_user(const char *user, const char *domain);

/* Hashes a password for nothing. */
void own_take_time(const char *password, const char *setting);

/* vpopmail_alias(), vpopmail_aliases() and valias_delete_domain(). */
int own_alias(const char *alias, const char *domain, char **data, size_t *size);
int own_aliases(const char *domain, char **data, size_t *size);
int own_delete_aliases(const char *domain);

/* Removes what the library leaves in DIR/domains where it can't count a domain there. */
void own_tidy(const char *dir);
/* SIGHUP for qmail-send. */
void own_reread_qmail(void);
/* After a change: syncs what it wrote, and gives the files of qmail the mode that they have. */
void own_settle_domains(void);
void own_settle_users(const char *domain);

#endif
