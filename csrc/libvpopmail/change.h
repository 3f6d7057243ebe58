/* A change of several files and directories, which is made wholly or not at all.
 *
 * New files are written beside the old ones, new directories (trees) grow beside the place that
 * they go to, all under names that begin with the journal's prefix; they are synced before the
 * first is put in its place, so what can fail (room, rights) fails while nothing has changed.
 *
 * Order of writes, in the directory whose lock the caller holds (PREFIX is `.tmp:`, say):
 * 1. PREFIXchange, which says that something has begun. Directories that are not known, or on
 *    another file system, are named in it, and it is synced, before anything is written in them;
 * 2. new files PREFIXNAME and new trees PREFIX:NAME;
 * 3. PREFIXchange is completed: what is to take the place of what. A change of one file leaves this
 *    and step 5 out;
 * 4. all of these are synced, in one wave: each is on its way to the disk before the first is
 *    waited for, and a file system with a journal writes that once;
 * 5. PREFIXchange is renamed to PREFIXready: the change is decided. Where the directories lie on
 *    several file systems, this is synced: else they keep the order in which names change;
 * 6. trees are put in their places, then the files in the order of the journal's names, trees that
 *    go are set aside (renamed to PREFIX:NAME);
 * 7. the directories are synced, the journal's first, in the second wave; what was set aside is
 *    removed, and PREFIXready at the very end. A tree outside is removed where it stands.
 *
 * Whoever takes the lock next and finds PREFIXready does step 6 again, for what is not done yet;
 * who finds PREFIXchange, or has done that, removes all that begins with PREFIX. Programs that know
 * nothing of this may have changed the files in between: what is no longer the file that was to be
 * replaced stays, and where that is the first file, nothing is done at all.
 *
 * The journal of a directory that has an owner (it is not of `anywhere`) can also name directories
 * outside. Its own owner must have written it, and in them it can do two things: replace or remove
 * `maildirsize` in a directory of that owner's, and remove a tree of which every directory is that
 * owner's. */
#ifndef VP_CHANGE_H
#define VP_CHANGE_H

#include "file.h"

/* A file that changes under a lock may replace; the change is done in the order of these. */
struct journal_name {
    const char *name; /* with a `*` at its end: and all that begin so; NULL: the end of the list */
    bool has_lock;    /* vpopmail has a lock for it: NAME.lock */
};

/* Where the changes under one lock are told of while they are made. */
struct journal {
    int dir;
    const char *prefix; /* NULL: nowhere */
    const struct journal_name *names;
    bool anywhere; /* directories outside may have a part in it, perhaps on other file systems */
    uid_t uid;     /* whose the journal is to be */
    gid_t gid;
    /* BASE/NAME: directories outside in which what a crash left is looked for in any case. */
    struct known_dir {
        const char *base, *name;
    } known[2];
};

struct change {
    struct change_file *files;
    size_t count;
    struct change_dir *dirs;
    size_t dir_count;
    struct journal journal;
    int *open; /* what else is to be synced in the next wave */
    size_t open_count;
    struct change *whole; /* of which this one is a part */
    int fd;               /* of PREFIXchange */
    bool begun, decided, moved;
    bool foreign; /* read from a journal that another than its owner may have written */
};

/* Zero it, or this. The journal's directory must stay open until the change is made or dropped, and
 * so must the others. */
struct change change_of(struct journal journal);
/* A change in a new tree of another one, which syncs what it writes: when this one is made, it is
 * done, and undone with the tree. */
struct change change_part(struct change *whole);
/* Declares another directory that has a part in it, by its path from the journal's directory, or an
 * absolute one; -EINVAL for any other. to_close: once it is declared it is the change's to close.
 */
int change_in(struct change *c, int dir, const char *path, bool to_close);
/* Opens the new file, to be written; the descriptor is the change's. */
int change_open(struct change *c, int dir, const char *name, mode_t mode, uid_t uid, gid_t gid);
int change_write(struct change *c, int dir, const char *name, struct span data, mode_t mode,
                 uid_t uid, gid_t gid);
int change_remove(struct change *c, int dir, const char *name);
/* Makes a directory that will be DIR/PLACE/NAME (directories of a place that are not there are made
 * then) and opens it; the descriptor is the change's. */
int change_tree(struct change *c, int dir, struct span place, const char *name, uid_t uid,
                gid_t gid);
/* Makes what is in a new tree, which is synced with the rest: a directory, opened, the change's
 * too; and a file. */
int change_tree_dir(struct change *c, int dir, const char *name, uid_t uid, gid_t gid);
int change_tree_file(struct change *c, int dir, const char *name, struct span data, uid_t uid,
                     gid_t gid);
/* DIR/NAME goes, with all below it. */
int change_drop_tree(struct change *c, int dir, const char *name);
/* 0 or -errno: nothing has changed, or, where it can't be undone any more, the rest is left to the
 * next call. -ENOTEMPTY: all is changed, but a tree that goes could not be removed. */
int change_make(struct change *c);
void change_drop(struct change *c);

/* Whether a change that was decided has not come to its end. */
bool change_is_pending(int dir, const char *prefix);
/* With the lock held: completes or undoes what another process left half done. 0, 1 where something
 * was completed, or -errno. */
int change_recover(const struct journal *journal);

/* Replaces one file, whole. */
int file_write(int dir, const char *name, struct span data, mode_t mode, uid_t uid, gid_t gid);

#endif
