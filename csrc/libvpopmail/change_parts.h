/* What change.c, change_put.c, change_sync.c and journal.c have of a change between them. */
#ifndef VP_CHANGE_PARTS_H
#define VP_CHANGE_PARTS_H

#include <errno.h>

#include "change.h"

#define BEGUN "change" /* after the prefix: the journal's name until it is decided */
#define READY "ready"  /* the same, from then on */
#define TREE ":"       /* before a tree's name: no file's begins so */
#define STALE (-ESTALE)

enum step { REPLACE, REMOVE, ADD_TREE, DROP_TREE };

/* What tells a file, or a directory, from another one of its name; all zero: there is none. */
struct identity {
    unsigned long long ino, size, sec, nsec;
    bool mounted; /* something is, so that nothing can take its place; no other than this by that */
};

struct change_dir {
    int fd; /* -1: it is not there any more */
    bool to_close, told, known;
    char *path; /* NULL: the journal's own */
    dev_t device;
    ino_t inode;
    uid_t uid;
    struct identity id;
};

struct change_file {
    enum step step;
    size_t dir;
    int fd; /* of what is still to be synced, else -1 */
    char *name, *tmp;
    struct identity old; /* what it replaces or removes; of a new tree its own */
    struct lock lock;
    bool made;   /* the directory that the tree goes to */
    bool stands; /* the tree that goes could not be set aside */
};

/* --- change.c -----------------------------------------------------------------------------------
 */

/* What names begin with that are only there while a change is made. */
const char *change_prefix(const struct change *c);
int change_add_dir(struct change *c, int fd, const char *path, bool to_close);
/* The number of the first directory that is this one. */
size_t change_dir_of(const struct change *c, const struct stat *st);
/* Whether a directory is on another file system than the journal; whether any is: none of several
 * knows what is done in the others before. */
bool change_is_elsewhere(const struct change *c, size_t dir);
bool change_is_scattered(const struct change *c);
/* Whether a directory lies outside of the journal's own, where that is its owner's. */
bool change_is_outside(const struct change *c, size_t dir);
/* NULL, and errno: ENOMEM, or EINVAL for what could not be read back from a journal. */
struct change_file *change_add_step(struct change *c, enum step step, int dir, const char *name);
/* Has the next wave sync the descriptor, which then is the change's to close. */
int change_sync_later(struct change *c, int fd);
void change_close_open(struct change *c);
void change_free(struct change *c);

/* --- change_sync.c ------------------------------------------------------------------------------
 */

/* The first wave: all that is new, and on several file systems the directories that it is in. */
int change_sync_new(struct change *c, bool told);
/* The second wave: the directories in which something has changed, the journal's own before the
 * others, and places of trees. */
int change_sync_changed(struct change *c);

/* --- change_put.c -------------------------------------------------------------------------------
 */

/* Puts all in its place. `again`: some of it may have been, and what it was to replace may be
 * another now: STALE where that is so of the first file. */
int change_put_all(struct change *c, bool again);
/* Nothing has the temporary name then: what a call that may remove it has left is removed, or gets
 * another such name. */
int change_make_way(int dir, const char *tmp);
/* Removes what was set aside, and trees outside; -ENOTEMPTY where it can't. */
int change_clear_aside(const struct change *c);
/* Removes trees where they stand: outside, and what could not be set aside. `again`: one outside
 * may have been, and another may stand there now. */
int change_clear_standing(const struct change *c, bool again);
/* Removes what was made to be put in place. */
int change_drop_new(const struct change *c, const struct change_file *f);
/* Takes trees back from where they were put: no file has been replaced yet. */
int change_take_back(struct change *c);
/* Opens a directory below another one, without a link on the way. */
int change_open_below(int dir, struct span path);

/* --- journal.c ----------------------------------------------------------------------------------
 */

int identity_read(int dir, const char *name, struct identity *out);
bool identity_same(const struct identity *a, const struct identity *b);
/* Whether that is so of a directory's path; of a name. */
bool journal_takes_dir(struct span path);
bool journal_name_is(const struct journal_name *n, const char *name);
/* Whether a change under this journal's lock can have such a step, in a directory outside. */
bool journal_allows(const struct journal *j, enum step step, const char *name, bool outside);
/* PREFIX and END; false where they don't fit. */
bool journal_file(const char *prefix, const char *end, char out[32]);
/* Says that something begins in that directory. */
int journal_begin(struct change *c, int dir);
/* Completes the journal: what is to be done once the change is decided. */
int journal_tell(struct change *c);
/* Renames the journal: `from` and `to` are what stands after the prefix. */
int journal_turn(const struct journal *j, const char *from, const char *to);
int journal_end(const struct journal *j, const char *which);

static inline bool identity_is_there(const struct identity *id) {
    return id->ino != 0;
}

#endif
