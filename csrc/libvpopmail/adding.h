/* Where the directories of many new users stand until all of them are moved into place. */
#ifndef VP_ADDING_H
#define VP_ADDING_H

#include "store.h"

struct adding {
    int dir; /* of this call's own */
    struct lock lock;
    char name[24];
};
#define ADDING_NONE ((struct adding){.dir = -1, .lock = LOCK_NONE})

int adding_begin(const struct store *s, struct adding *a);
/* Makes a user's directory, as maildir_make() does, but neither synced nor in place. */
int adding_grow(const struct store *s, const struct adding *a, const char *name, struct span quota);
/* Syncs all that was written, here and elsewhere on the same file system: one wait, where a sync of
 * each of six files and directories a user would be as many. */
int adding_sync(const struct adding *a);
/* Notes, before the first is moved, where they are moved to and what is made there: PLACE/NAME, or
 * PLACE/, on a line each. */
int adding_note(const struct adding *a, struct span paths);
/* Removes what is noted but for directories of users that the domain has, or leaves it to the next
 * call where that is to complete the change; the domain is locked. */
void adding_undo(const struct store *s, struct adding *a);
/* Removes what has not been moved. */
void adding_end(const struct store *s, struct adding *a);
/* Whether others add users now, or had begun to. */
bool adding_is_left(const struct store *s);
/* Undoes what processes that are no more had begun; the domain is locked: store_lock() does it. */
int adding_clear(const struct store *s);

#endif
