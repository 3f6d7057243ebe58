/* Many users that are checked here and added by another library, one after the other: the bulk is
 * opened, rows are taken and checked, and it is never committed. */
#ifndef VP_BULK_H
#define VP_BULK_H

#include "include/vpopmail.h"

/* What a row asks for; without a quota the domain's default. hash: NULL, or the password's, which
 * nobody knows. */
struct bulk_row {
    const char *name, *password, *hash, *gecos, *quota;
    unsigned int kind, flags;
};

/* Before rows are taken, for a library without a policy. */
void bulk_allow_any_password(struct vpopmail_bulk *b);
/* In place of vpopmail_bulk_check(); without in_cdb, where accounts are not in vpasswd, the rows
 * are held against each other alone. */
int bulk_check_beside(struct vpopmail_bulk *b, bool in_cdb);
size_t bulk_count(const struct vpopmail_bulk *b);
struct bulk_row bulk_row(const struct vpopmail_bulk *b, size_t at);
void bulk_refuse(struct vpopmail_bulk *b, size_t at, int code, const char *text);
bool bulk_is_refused(const struct vpopmail_bulk *b);
/* Once those that were added are deleted again: the count, what is freed and the hashed directories
 * are made what they were at the check, unless others have changed the count. */
int bulk_restore(const struct vpopmail_bulk *b);

#endif
