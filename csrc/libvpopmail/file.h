/* Files and directories: everything here is relative to an open directory, never follows a symbolic
 * link at its last step unless it says so, and answers 0, a descriptor, or -errno. That is -ELOOP
 * for what is refused: a link, or anything else that may lead to what is somebody else's. */
#ifndef VP_FILE_H
#define VP_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "buf.h"

#define KEEP_OWNER ((uid_t) - 1)

void fd_close(int fd);

/* Whether an error says that there is none, or something else. */
bool is_gone(int error);
/* 0 for an error that would be the same at the next try: it is gone, or we may not, or something
 * else is in the way; what is to be removed or opened after a crash stays as it is then. */
int past_mending(int error);

/* follow: also a symbolic link to a directory. */
int dir_open(int at, const char *path, bool follow);
/* Opens directory NAME, made with mode 0700 and that owner where it is missing. */
int dir_make(int dir, const char *name, uid_t uid, gid_t gid, bool *made);
/* The same, but never to be seen without its owner: it is made as TMP in directory BESIDE. */
int dir_make_whole(int dir, const char *name, int beside, const char *tmp, uid_t uid, gid_t gid,
                   bool *made);
/* The next entry but . and ..; NULL at the end, or where it fails: then *error is -errno. */
struct dirent *dir_next(DIR *list, int *error);
/* Removes NAME with all below it, from however deep; what is a link goes as a link. */
int tree_remove(int dir, const char *name);
/* Likewise of a directory, but goes into none that is another's: -ELOOP, as for what is none. */
int tree_remove_of(int dir, const char *name, uid_t owner);
/* 0 where the directory NAME and those below are the owner's, -ELOOP where one is another's. */
int tree_check(int dir, const char *name, uid_t owner);
/* Gives directory DIR and all below it to an owner; hard links to elsewhere are left alone. */
int tree_chown(int dir, uid_t uid, gid_t gid);

/* Opens a regular file for reading; -ELOOP also for what is none, or may be a hard link to another
 * owner's. */
int file_open(int dir, const char *name, struct stat *st);
/* -EFBIG for one that is larger than any that vpopmail keeps. */
int fd_read(int fd, struct buf *out);
/* The same where the size is known (a wrong one does not matter): mostly one system call. */
int fd_read_sized(int fd, off_t size, struct buf *out);
/* The same for what may be larger than vpopmail's own. */
int fd_read_most(int fd, off_t size, off_t most, struct buf *out);
int fd_write(int fd, struct span data);
/* Waits until a file or directory is on the disk; 0 also where a file system has no such thing. */
int fd_sync(int fd);
int file_read(int dir, const char *name, struct buf *out);
/* The same for QMAIL/ and HOME/etc, where an administrator may have put a link (walk.h), and up to
 * 1 GiB; -EACCES for what is refused. */
int file_read_linked(int dir, const char *name, struct buf *out);
int fd_owner(int fd, uid_t uid, gid_t gid);
/* The same for a file that was there before: only where no other name leads to it. */
void fd_give(int fd, uid_t uid, gid_t gid);
/* Opens a file that is not there yet; one that is, a crash left, and it goes. */
int file_new(int dir, const char *name, mode_t mode, uid_t uid, gid_t gid);

/* vpopmail's lock: an fcntl write lock on the whole of NAME, which is made where it is missing.
 * Waits as long as vpopmail does (20 s), then says -EAGAIN. It shuts out threads as well as
 * processes and does not outlive a fork in the child. */
struct lock {
    int fd;
    bool of_dir;
};
#define LOCK_NONE ((struct lock){-1, false})
/* How long a lock is waited for: as long as vpopmail does; a test has less time. */
extern time_t lock_wait_seconds;
int lock_file(int dir, const char *name, struct lock *lock);
/* The same without waiting, nor making it. */
int lock_file_now(int dir, const char *name, struct lock *lock);
/* The same for a directory itself, for files that vpopmail has no lock for: no file is left. */
int lock_dir(int dir, struct lock *lock);
int lock_dir_now(int dir, struct lock *lock);
void lock_release(struct lock *lock);

#endif
