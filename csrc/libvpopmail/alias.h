/* The files in a domain's directory that vpopmail has no lock for: aliases and the catch-all
 * (.qmail-NAME), .qmailadmin-limits. The directory itself is locked for their changes, which leaves
 * no file. */
#ifndef VP_ALIAS_H
#define VP_ALIAS_H

#include "store.h"

/* What a crash left half done is completed or undone first. */
int aliases_lock(const struct store *s, struct lock *lock);
/* Replaces one such file, whole, under the lock. */
int aliases_write(const struct store *s, const char *name, struct span data, mode_t mode);

#endif
