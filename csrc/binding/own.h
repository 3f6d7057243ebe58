/* What our own library does beside a linked real one: what the real one does wrong or not at all,
 * by the same files. A header that knows neither library's, since they have the same names. All of
 * it opens files and so is called in the cage. */
#ifndef VPX_OWN_H
#define VPX_OWN_H

#include <stdbool.h>
#include <stddef.h>

/* Where the linked library's files are. 0 or a code. */
int own_begin(const char *home, const char *qmail);
/* The longest line of vpasswd with which the library may change it. */
void own_set_longest_line(size_t size);

/* A library's changes of domains, and of a domain's users and aliases, have several steps, and of
 * .dir-control it reads and writes without a lock: other processes that use the package wait. What
 * is locked is the directory itself, so that no file is left. 0 or a code; what can't be locked,
 * as a directory that can't be read, is not. own_unlock() ends all of it. */
int own_lock_domains(void);
int own_lock_users(const char *domain);
void own_unlock(void);

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

/* Users that the library is to add one after the other, as vpx_bulk_open() of binding.h has them:
 * read and checked here. Its files stay open from call to call, so it is not called in the cage,
 * which has no more open at the end of a call than before. */
struct own_bulk;
struct own_row {
    const char *name, *password, *hash, *gecos, *quota;
    unsigned int kind, flags;
};
int own_bulk_open(const char *domain, bool has_policy, struct own_bulk **out);
int own_bulk_take(struct own_bulk *b, const char *rows, size_t count);
int own_bulk_check(struct own_bulk *b, bool in_cdb);
size_t own_bulk_count(const struct own_bulk *b);
/* hash: NULL, or the password's, which is not known then; quota NULL: the domain's default. */
struct own_row own_bulk_row(const struct own_bulk *b, size_t at);
void own_bulk_refuse(struct own_bulk *b, size_t at, int code, const char *text);
bool own_bulk_is_refused(const struct own_bulk *b);
int own_bulk_refused(const struct own_bulk *b, char **data, size_t *size);
/* Once all that were added are deleted again: the count and the hashed directories as before. */
void own_bulk_restore(const struct own_bulk *b);
void own_bulk_close(struct own_bulk *b);

/* Removes what the library leaves in DIR/domains where it can't count a domain there. */
void own_tidy(const char *dir);
/* SIGHUP for qmail-send. */
void own_reread_qmail(void);
/* After a change: syncs what it wrote, and gives the files of qmail the mode that they have. */
void own_settle_domains(void);
void own_settle_users(const char *domain);

#endif
