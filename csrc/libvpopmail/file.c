#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "walk.h"

#define DIR_MODE 0700
#define LOCK_MODE 0600
#define LOCK_TRIES 1000 /* of one that is replaced again and again */
#define LOCK_POLL_MAX_NS 32000000L
#define FILE_LARGEST                                                                               \
    (16 << 20) /* of those that are read whole; what is larger is mostly a hole                    \
                */
#define LARGEST_OF_ADMIN (1L << 30)
#define READ_BLOCK 4096 /* of a file that is longer than it says */

void fd_close(int fd) {
    int kept = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = kept;
}

bool is_gone(int error) {
    return error == -ENOENT || error == -ENOTDIR || error == -ELOOP;
}

int past_mending(int error) {
    bool lasts = is_gone(error) || error == -EPERM || error == -EACCES || error == -ENOTEMPTY ||
                 error == -EBUSY || error == -EROFS;
    return lasts ? 0 : error;
}

int dir_open(int at, const char *path, bool follow) {
    struct stat st;
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (fd >= 0)
        return fd;
    int error = -errno;
    /* What is a link or a file and no directory is told apart from what is missing. */
    if (!follow && error == -ENOTDIR && fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        error = -ELOOP;
    return error;
}

int fd_owner(int fd, uid_t uid, gid_t gid) {
    struct stat st;
    if (uid == KEEP_OWNER)
        return 0;
    if (fstat(fd, &st))
        return -errno;
    if (st.st_uid == uid && st.st_gid == gid)
        return 0;
    /* Only root can give files away; for others vpopmail leaves them the caller's. */
    if (fchown(fd, uid, gid) && geteuid() == 0)
        return -errno;
    return 0;
}

void fd_give(int fd, uid_t uid, gid_t gid) {
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
        (void)fd_owner(fd, uid, gid);
}

/* Opens a directory of our own whatever its mode is, which it gets. */
static int open_denied(int dir, const char *name) {
    char path[40];
    int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int made = chmod(path, DIR_MODE) ? -errno : dir_open(fd, ".", false);
    fd_close(fd);
    return made;
}

int dir_make(int dir, const char *name, uid_t uid, gid_t gid, bool *made) {
    *made = mkdirat(dir, name, DIR_MODE) == 0;
    if (!*made && errno != EEXIST)
        return -errno;
    int fd = dir_open(dir, name, false);
    if (fd == -EACCES && *made) /* by a umask that denies it to its owner */
        fd = open_denied(dir, name);
    if (!*made)
        return fd;
    /* First: once it is given away, a root without CAP_FOWNER may not. */
    int error = fd < 0 ? fd : fchmod(fd, DIR_MODE) ? -errno : fd_owner(fd, uid, gid);
    if (error) {
        fd_close(fd);
        (void)unlinkat(dir, name, AT_REMOVEDIR);
        return error;
    }
    return fd;
}

int dir_make_whole(int dir, const char *name, int beside, const char *tmp, uid_t uid, gid_t gid,
                   bool *made) {
    *made = false;
    int fd = dir_open(dir, name, false);
    if (fd != -ENOENT)
        return fd;
    (void)unlinkat(beside, tmp, AT_REMOVEDIR); /* a crash left it */
    fd = dir_make(beside, tmp, uid, gid, made);
    int error = fd < 0 ? fd : *made ? 0 : -EEXIST;
    if (!error && renameat(beside, tmp, dir, name)) {
        error = -errno;
        (void)unlinkat(beside, tmp, AT_REMOVEDIR);
    }
    if (error)
        fd_close(fd);
    return error ? error : fd;
}

static bool dot_or_dots(const char *name) {
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

struct dirent *dir_next(DIR *list, int *error) {
    struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(list);
    } while (entry ? dot_or_dots(entry->d_name) : errno == EINTR);
    if (!entry && errno)
        *error = -errno;
    return entry;
}

int fd_sync(int fd) {
    return fsync(fd) && errno != EINVAL ? -errno : 0;
}

/* --- trees --------------------------------------------------------------------------------------
 */

#define TREE_DEPTH 48
#define REMOVE_TRIES 100 /* others, who have it open, may put something there meanwhile */

struct removal {
    int top;     /* where subtrees that lie too deep are moved to */
    uid_t owner; /* whose the directories must be; KEEP_OWNER: anybody's */
    unsigned long moved;
};

static int check_owner(int dir, uid_t owner) {
    struct stat st;
    if (owner == KEEP_OWNER)
        return 0;
    return fstat(dir, &st) ? -errno : st.st_uid == owner ? 0 : -ELOOP;
}

static int remove_below(struct removal *r, int fd, int depth);

static int remove_entry(struct removal *r, int dir, const char *name, int depth) {
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth >= TREE_DEPTH) {
        char moved[40];
        (void)snprintf(moved, sizeof moved, ".tmp:deep.%lu", r->moved++);
        return renameat(dir, name, r->top, moved) ? -errno : 0;
    }
    int fd = dir_open(dir, name, false);
    if (fd < 0)
        return fd;
    int error = remove_below(r, fd, depth + 1);
    if (!error && unlinkat(dir, name, AT_REMOVEDIR) && errno != ENOENT)
        error = -errno;
    return error;
}

/* Empties the directory and closes it. */
static int remove_below(struct removal *r, int fd, int depth) {
    int error = check_owner(fd, r->owner);
    DIR *list = error ? NULL : fdopendir(fd);
    if (!list) {
        error = error ? error : -errno;
        fd_close(fd);
        return error;
    }
    bool again = true;
    while (!error && again) {
        unsigned long moved = r->moved;
        struct dirent *entry;
        rewinddir(list);
        while (!error && (entry = dir_next(list, &error)))
            error = remove_entry(r, dirfd(list), entry->d_name, depth);
        again = depth == 0 && r->moved != moved;
    }
    closedir(list);
    return error;
}

/* Of an owner's nothing goes but a directory: whose the one is that a file stands in is not asked.
 */
static int remove_once(int dir, const char *name, uid_t owner) {
    bool anything = owner == KEEP_OWNER;
    if (anything && unlinkat(dir, name, 0) == 0)
        return 0;
    if (anything && errno != EISDIR && errno != EPERM)
        return -errno;
    int fd = dir_open(dir, name, false);
    if (fd < 0)
        return fd;
    struct removal r = {.top = fcntl(fd, F_DUPFD_CLOEXEC, 0), .owner = owner};
    int error = r.top < 0 ? -errno : 0;
    if (error)
        fd_close(fd);
    else
        error = remove_below(&r, fd, 0);
    fd_close(r.top);
    if (!error && unlinkat(dir, name, AT_REMOVEDIR))
        error = -errno;
    return error;
}

int tree_remove_of(int dir, const char *name, uid_t owner) {
    int error = -ENOTEMPTY;
    for (int i = 0; i < REMOVE_TRIES && error == -ENOTEMPTY; i++)
        error = remove_once(dir, name, owner);
    return error;
}

int tree_remove(int dir, const char *name) {
    return tree_remove_of(dir, name, KEEP_OWNER);
}

/* What is no directory is not looked at. */
static int check_below(int dir, const char *name, uid_t owner, int depth) {
    int fd = dir_open(dir, name, false);
    int error = fd < 0 ? fd : check_owner(fd, owner);
    DIR *list = error ? NULL : fdopendir(fd);
    if (!list) {
        fd_close(fd);
        return fd < 0 || error ? error : -ENOMEM;
    }
    struct dirent *entry;
    while (!error && (entry = dir_next(list, &error))) {
        struct stat st;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
            error = errno == ENOENT ? 0 : -errno;
        else if (S_ISDIR(st.st_mode) && depth < TREE_DEPTH)
            error = check_below(fd, entry->d_name, owner, depth + 1);
    }
    closedir(list);
    return error;
}

int tree_check(int dir, const char *name, uid_t owner) {
    return check_below(dir, name, owner, 0);
}

static int chown_below(int dir, uid_t uid, gid_t gid, int depth) {
    int error = depth > TREE_DEPTH ? -ENAMETOOLONG : fd_owner(dir, uid, gid);
    int fd = error ? -1 : dir_open(dir, ".", false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        fd_close(fd);
        return error ? error : fd < 0 ? fd : -ENOMEM;
    }
    struct dirent *entry;
    while (!error && (entry = dir_next(list, &error))) {
        struct stat st;
        int file = openat(fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (file < 0)
            error =
                errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO ? -errno : 0;
        else if (fstat(file, &st))
            error = -errno;
        else if (S_ISDIR(st.st_mode))
            error = chown_below(file, uid, gid, depth + 1);
        else
            fd_give(file, uid, gid);
        fd_close(file);
    }
    closedir(list);
    return error;
}

int tree_chown(int dir, uid_t uid, gid_t gid) {
    return chown_below(dir, uid, gid, 0);
}

/* --- files --------------------------------------------------------------------------------------
 */

/* 0, or -ELOOP for a hard link to somebody else's file, which could have been put there to have
 * root copy it. */
static int check_link(int dir, const struct stat *st) {
    struct stat in;
    if (st->st_nlink <= 1)
        return 0;
    return fstat(dir, &in) ? -errno : in.st_uid == st->st_uid ? 0 : -ELOOP;
}

static int check_file(int dir, int fd, struct stat *st) {
    if (fstat(fd, st))
        return -errno;
    return S_ISDIR(st->st_mode) ? -EISDIR : S_ISREG(st->st_mode) ? check_link(dir, st) : -ELOOP;
}

int file_open(int dir, const char *name, struct stat *st) {
    struct stat here;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = check_file(dir, fd, &here);
    if (error) {
        fd_close(fd);
        return error;
    }
    if (st)
        *st = here;
    return fd;
}

int fd_read_most(int fd, off_t size, off_t most, struct buf *out) {
    buf_clear(out);
    if (size > most)
        return -EFBIG;
    for (;;) {
        /* One byte more than there should be: less than that is the end of the file. */
        size_t more = (off_t)out->len < size ? (size_t)size - out->len + 1 : READ_BLOCK;
        char *to = buf_room(out, more);
        if (!to)
            return -ENOMEM;
        ssize_t n = read(fd, to, more);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            out->len += (size_t)n;
        if (n >= 0 && (size_t)n < more)
            return 0;
        if ((off_t)out->len > size + FILE_LARGEST) /* it grows as fast as it is read */
            return -EFBIG;
    }
}

int fd_read_sized(int fd, off_t size, struct buf *out) {
    return fd_read_most(fd, size, FILE_LARGEST, out);
}

int fd_read(int fd, struct buf *out) {
    struct stat st;
    return fstat(fd, &st) ? -errno : fd_read_sized(fd, st.st_size, out);
}

int file_read(int dir, const char *name, struct buf *out) {
    int fd = file_open(dir, name, NULL);
    int error = fd < 0 ? fd : fd_read(fd, out);
    fd_close(fd);
    return error;
}

/* What others have in their directories does not make root read as much. */
static off_t largest_in(int dir) {
    struct stat in;
    bool trusted = fstat(dir, &in) == 0 && (in.st_uid == 0 || in.st_uid == geteuid());
    return trusted ? LARGEST_OF_ADMIN : FILE_LARGEST;
}

int file_read_linked(int dir, const char *name, struct buf *out) {
    struct stat st;
    int fd = walk_file(dir, name, &st);
    off_t most = fd >= 0 && st.st_size > FILE_LARGEST ? largest_in(dir) : FILE_LARGEST;
    int error = fd == -ELOOP ? -EACCES : fd < 0 ? fd : fd_read_most(fd, st.st_size, most, out);
    fd_close(fd);
    return error;
}

int fd_write(int fd, struct span data) {
    while (data.len) {
        ssize_t n = write(fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data = (struct span){data.data + n, data.len - (size_t)n};
    }
    return 0;
}

int file_new(int dir, const char *name, mode_t mode, uid_t uid, gid_t gid) {
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, name, flags, 0600);
    if (fd < 0 && errno == EEXIST && unlinkat(dir, name, 0) == 0) /* a crash left it */
        fd = openat(dir, name, flags, 0600);
    if (fd < 0)
        return -errno;
    int error = fchmod(fd, mode) ? -errno : fd_owner(fd, uid, gid);
    if (!error)
        return fd;
    fd_close(fd);
    (void)unlinkat(dir, name, 0);
    return error;
}

/* --- locks --------------------------------------------------------------------------------------
 */

time_t lock_wait_seconds = 20; /* ten times two */

/* Locks that some thread holds. A child of fork() has copies of their descriptors, which would keep
 * the locks alive as long as it lives, so it closes them. */
static pthread_mutex_t held_guard = PTHREAD_MUTEX_INITIALIZER;
static int *held;
static size_t held_count, held_room;

static void before_fork(void) {
    pthread_mutex_lock(&held_guard);
}

static void after_fork(void) {
    pthread_mutex_unlock(&held_guard);
}

static void after_fork_in_child(void) {
    for (size_t i = 0; i < held_count; i++)
        (void)close(held[i]);
    held_count = 0;
    after_fork();
}

__attribute__((constructor)) static void at_load(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

__attribute__((destructor)) static void at_unload(void) {
    free(held);
    held = NULL;
    held_count = held_room = 0;
}

/* Opens what is to be locked; with O_CREAT it is made, with its mode whatever the umask is. */
static int open_lock(int dir, const char *name, int flags) {
    int fd = openat(dir, name, flags & ~O_CREAT);
    for (int tries = 0; fd < 0 && errno == ENOENT && flags & O_CREAT && tries < 10; tries++) {
        fd = openat(dir, name, flags | O_EXCL, LOCK_MODE);
        if (fd >= 0 && fchmod(fd, LOCK_MODE)) {
            fd_close(fd);
            return -errno;
        }
        if (fd < 0 && errno == EEXIST) /* another was faster */
            fd = openat(dir, name, flags & ~O_CREAT);
    }
    return fd < 0 ? -errno : fd;
}

/* Opens under the guard, so that a fork sees either no descriptor or a held one. */
static int open_held(int dir, const char *name, int flags) {
    int fd = -ENOMEM;
    pthread_mutex_lock(&held_guard);
    if (held_count == held_room) {
        size_t bigger = held_room ? held_room * 2 : 16;
        int *more = realloc(held, bigger * sizeof *held);
        if (more) {
            held = more;
            held_room = bigger;
        }
    }
    if (held_count < held_room)
        fd = open_lock(dir, name, flags | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        held[held_count++] = fd;
    pthread_mutex_unlock(&held_guard);
    return fd;
}

static void close_held(int fd) {
    pthread_mutex_lock(&held_guard);
    for (size_t i = 0; i < held_count; i++)
        if (held[i] == fd) {
            held[i] = held[--held_count];
            break;
        }
    (void)close(fd);
    pthread_mutex_unlock(&held_guard);
}

static int set_lock(int fd, bool of_dir, bool on) {
    if (of_dir)
        return flock(fd, on ? LOCK_EX | LOCK_NB : LOCK_UN);
    struct flock whole = {.l_type = (short)(on ? F_WRLCK : F_UNLCK), .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole);
}

static int wait_for(int fd, bool of_dir, time_t seconds) {
    struct timespec now, end, pause = {0, 500000};
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    while (set_lock(fd, of_dir, true)) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return -errno;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec))
            return -EAGAIN;
        (void)nanosleep(&pause, NULL);
        if (pause.tv_nsec < LOCK_POLL_MAX_NS)
            pause.tv_nsec *= 2;
    }
    return 0;
}

/* 0 where the locked file is still the one of that name, -ESTALE where it is not, -EINVAL where it
 * is no file, -ELOOP where it may be somebody else's. */
static int check_lock(int dir, const char *name, int fd) {
    struct stat by_name, by_fd;
    if (fstat(fd, &by_fd) || fstatat(dir, name, &by_name, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? -ESTALE : -errno;
    if (by_name.st_dev != by_fd.st_dev || by_name.st_ino != by_fd.st_ino)
        return -ESTALE;
    return S_ISREG(by_fd.st_mode) ? check_link(dir, &by_fd) : -EINVAL;
}

static int take(int dir, const char *name, int flags, bool of_dir, time_t seconds,
                struct lock *lock) {
    int error = -ESTALE;
    for (int tries = 0; error == -ESTALE && tries < LOCK_TRIES; tries++) {
        int fd = open_held(dir, name, flags);
        if (fd < 0)
            return fd;
        error = wait_for(fd, of_dir, seconds);
        if (!error && !of_dir)
            error = check_lock(dir, name, fd);
        if (!error)
            *lock = (struct lock){fd, of_dir};
        else
            close_held(fd);
    }
    return error == -ESTALE ? -EAGAIN : error;
}

int lock_file(int dir, const char *name, struct lock *lock) {
    return take(dir, name, O_RDWR | O_CREAT | O_NONBLOCK, false, lock_wait_seconds, lock);
}

int lock_file_now(int dir, const char *name, struct lock *lock) {
    return take(dir, name, O_RDWR | O_NONBLOCK, false, 0, lock);
}

int lock_dir(int dir, struct lock *lock) {
    return take(dir, ".", O_RDONLY | O_DIRECTORY, true, lock_wait_seconds, lock);
}

int lock_dir_now(int dir, struct lock *lock) {
    return take(dir, ".", O_RDONLY | O_DIRECTORY, true, 0, lock);
}

void lock_release(struct lock *lock) {
    if (lock->fd < 0)
        return;
    /* Said in so many words: a child forked meanwhile still has the description open. */
    (void)set_lock(lock->fd, lock->of_dir, false);
    close_held(lock->fd);
    *lock = LOCK_NONE;
}
