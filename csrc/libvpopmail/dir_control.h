/* .dir-control: how many users a domain has (or domains vpopmail has), and the directory that the
 * next one goes into: none below 100, then a new one at each crossing of a multiple of 100. */
#ifndef VP_DIR_CONTROL_H
#define VP_DIR_CONTROL_H

#include <sys/types.h>

#include "change.h"

/* Whether it is a place as written there: digits with slashes between. */
bool dir_control_is_place(struct span place);

/* What a change of the count needs until the change is made or dropped. */
struct dir_place {
    struct buf path; /* the directory of a new one, with a slash at its end where it is not empty */
    struct lock lock; /* on .dir_control_free */
};
#define DIR_PLACE_NONE ((struct dir_place){.lock = LOCK_NONE})
void dir_place_end(struct dir_place *place);

/* Readies the .dir-control of a directory with one more, and tells the place for it; one from
 * .dir_control_free (with_free) is used first. */
int dir_control_add(int dir, uid_t uid, gid_t gid, bool with_free, struct change *c,
                    struct dir_place *place);
/* The same for `count` more users: the places stand in places->path, one a line, in order, without
 * a slash at the end. c NULL: only tells them. */
int dir_control_add_many(int dir, uid_t uid, gid_t gid, size_t count, struct change *c,
                         struct dir_place *places);
/* Readies it with one less; `freed` (no slash at the end), unless empty, goes to .dir_control_free.
 */
int dir_control_drop(int dir, uid_t uid, gid_t gid, struct span freed, struct change *c,
                     struct dir_place *place);

/* For a library that is less careful: makes what is damaged anew, as a change would; and tells the
 * place for the next one. */
int dir_control_mend(int dir, uid_t uid, gid_t gid);
int dir_control_next(int dir, bool with_free, struct buf *place);

/* The count, and what is freed, as they were. */
struct dir_kept {
    unsigned long users;
    bool has_control, has_free;
    struct buf control, free;
};
int dir_control_keep(int dir, struct dir_kept *kept);
/* 1, 0 where the count is another one, or -errno. */
int dir_control_restore(int dir, uid_t uid, gid_t gid, const struct dir_kept *kept);
void dir_kept_free(struct dir_kept *kept);

#endif
