/* Files and directories: everything here is relative to an open directory, never follows a symbolic
 * link at its last step unless it says so, and answers 0, a descriptor, or -errno. That is -ELOOP
 * for what is refused: a link, or anything else that may lead to what is somebody else's. */
#ifndef VP_FILE_H
#define VP_FILE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "buf.h"

#define KEEP_OWNER ((uid_t) - 1)

void fd_close(int fd);

/* follow: also a symbolic link to a directory. */
int dir_open(int at, const char *path, bool follow);
/* Opens directory NAME, made with mode 0700 and that owner where it is missing. */
int dir_make(int dir, const char *name, uid_t uid, gid_t gid, bool *made);
int dir_sync(int dir);
/* Removes NAME with all below it, from however deep; what is a link goes as a link. */
int tree_remove(int dir, const char *name);
/* Gives directory DIR and all below it to an owner; hard links to elsewhere are left alone. */
int tree_chown(int dir, uid_t uid, gid_t gid);

/* Opens a regular file for reading; -ELOOP also for what is none, or may be a hard link to another
 * owner's. */
int file_open(int dir, const char *name, struct stat *st);
/* -EFBIG for one that is larger than any that vpopmail keeps. */
int fd_read(int fd, struct buf *out);
/* The same where the size is known (a wrong one does not matter): mostly one system call. */
int fd_read_sized(int fd, off_t size, struct buf *out);
int fd_write(int fd, struct span data);
int file_read(int dir, const char *name, struct buf *out);
/* The same for QMAIL/ and HOME/etc, where an administrator may have put a link (walk.h), and up to
 * 1 GiB; -EACCES for what is refused. */
int file_read_linked(int dir, const char *name, struct buf *out);
int fd_owner(int fd, uid_t uid, gid_t gid);
/* The same for a file that was there before: only where no other name leads to it. */
void fd_give(int fd, uid_t uid, gid_t gid);
int file_write(int dir, const char *name, struct span data, mode_t mode, uid_t uid, gid_t gid);

/* A change of several files: all of them are written beside the old ones, then synced together,
 * before the first is put in its place, so what can fail (room, rights) fails while nothing has
 * changed. */
struct change {
    struct change_file *files;
    size_t count;
};
/* The directory must stay open until the change is made or dropped. */
/* Opens the new file, to be written; the descriptor is the change's. */
int change_open(struct change *c, int dir, const char *name, mode_t mode, uid_t uid, gid_t gid);
int change_write(struct change *c, int dir, const char *name, struct span data, mode_t mode,
                 uid_t uid, gid_t gid);
int change_remove(struct change *c, int dir, const char *name);
/* Puts the files in place in the order in which they were given, syncs their directories. */
int change_make(struct change *c);
void change_drop(struct change *c);

/* vpopmail's lock: an fcntl write lock on the whole of NAME, which is made where it is missing.
 * Waits as long as vpopmail does (20 s), then says -EAGAIN. It shuts out threads as well as
 * processes and does not outlive a fork in the child. */
struct lock {
    int fd;
    bool of_dir;
};
#define LOCK_NONE ((struct lock){-1, false})
int lock_file(int dir, const char *name, struct lock *lock);
/* The same for a directory itself, for files that vpopmail has no lock for: no file is left. */
int lock_dir(int dir, struct lock *lock);
void lock_release(struct lock *lock);

#endif
