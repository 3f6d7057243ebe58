#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buf.h"
#include "file.h"

#define LINKS 40         /* on the way, as the kernel has it */
#define TARGET_ROOM 4096 /* what a link leads to is shorter */
#define NOBODY ((uid_t) - 1)

/* A way that is being gone. */
struct walk {
    int dir; /* where it has come to */
    struct buf rest;
    int links;
    uid_t leader; /* whose link led here, where that is neither root's nor ours */
    char *file;   /* what the way leads to there, where it is no directory */
};

/* Takes the next step's name off the rest; NULL at the end, or (rest failed) for no memory. */
static char *next_name(struct walk *w) {
    struct span rest = {w->rest.data, w->rest.len}, step = {"", 0};
    struct buf left = {0};
    while (!step.len && span_field(&rest, '/', &step))
        ;
    char *name = step.len ? span_dup(step) : NULL;
    buf_span(&left, rest);
    left.failed = left.failed || (step.len && !name);
    buf_free(&w->rest);
    w->rest = left;
    return name;
}

/* Whether the leader, if there is one, could do it without us; by the mode alone. */
static bool may(const struct walk *w, const struct stat *st, mode_t owner, mode_t others) {
    return w->leader == NOBODY || st->st_mode & (w->leader == st->st_uid ? owner : others);
}

static int go_to(struct walk *w, int dir) {
    if (dir < 0)
        return -errno;
    fd_close(w->dir);
    w->dir = dir;
    return 0;
}

/* Puts what a link leads to before the rest. */
static int follow(struct walk *w, int link, uid_t owner) {
    char target[TARGET_ROOM];
    struct buf rest = {0};
    if (owner != 0 && owner != geteuid()) {
        if (w->leader != NOBODY && w->leader != owner)
            return -ELOOP;
        w->leader = owner;
    }
    ssize_t len = readlinkat(link, "", target, sizeof target);
    if (len < 0)
        return -errno;
    if (len == sizeof target || ++w->links > LINKS)
        return -ELOOP;
    buf_add(&rest, target, (size_t)len);
    buf_char(&rest, '/');
    buf_add(&rest, w->rest.data, w->rest.len);
    buf_free(&w->rest);
    w->rest = rest;
    if (rest.failed)
        return -ENOMEM;
    return target[0] == '/' ? go_to(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) : 0;
}

/* Goes one step: where it is a directory, into it; what is neither that nor a link is the end. */
static int go_on(struct walk *w, char *name) {
    struct stat st;
    int step = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), error = 0;
    if (step < 0 || fstat(step, &st)) {
        error = -errno;
    } else if (S_ISDIR(st.st_mode)) {
        error = may(w, &st, S_IXUSR, S_IXOTH) ? go_to(w, step) : -ELOOP;
        step = error ? step : -1;
    } else if (S_ISLNK(st.st_mode)) {
        error = follow(w, step, st.st_uid);
    } else {
        w->file = name;
        name = NULL;
    }
    fd_close(step);
    free(name);
    return error;
}

static int walk(struct walk *w, int at, const char *path) {
    char *name;
    *w = (struct walk){.dir = -1, .leader = NOBODY};
    buf_str(&w->rest, path);
    int error = go_to(w, openat(at, path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    while (!error && (name = next_name(w))) {
        if (!w->file) {
            error = go_on(w, name);
        } else {
            free(name);
            error = -ENOTDIR;
        }
    }
    return !error && w->rest.failed ? -ENOMEM : error;
}

static void end(struct walk *w) {
    fd_close(w->dir);
    buf_free(&w->rest);
    free(w->file);
}

/* Without a link there is nothing to look at, and the kernel goes the way at once. -ELOOP: there is
 * one, or the kernel can't tell. */
static int open_plain(int at, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)flags, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, at, path, &how, sizeof how);
    if (fd >= 0)
        return fd;
    return errno == ENOSYS || errno == EPERM || errno == EINVAL ? -ELOOP : -errno;
}

int walk_dir(int at, const char *path) {
    struct walk w;
    struct stat st;
    int fd = open_plain(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd != -ELOOP)
        return fd;
    int error = walk(&w, at, path);
    if (!error && w.file)
        error = -ENOTDIR;
    fd = error ? error : openat(w.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!error && fd < 0)
        fd = -errno;
    error = fd < 0 ? 0 : fstat(fd, &st) ? -errno : may(&w, &st, S_IXUSR, 0) ? 0 : -ELOOP;
    if (error) {
        fd_close(fd);
        fd = error;
    }
    end(&w);
    return fd;
}

/* 0, or -ELOOP where somebody whose directory it is may have made a hard link there to what is
 * another's. Whole paths without a link on the way are an administrator's. */
static int check_link(int dir, const struct stat *st) {
    struct stat in;
    if (st->st_nlink <= 1 || dir == AT_FDCWD)
        return 0;
    if (fstat(dir, &in))
        return -errno;
    return in.st_uid == 0 || in.st_uid == geteuid() || in.st_uid == st->st_uid ? 0 : -ELOOP;
}

static int check_file(const struct walk *w, int dir, int fd, struct stat *st) {
    if (fstat(fd, st))
        return -errno;
    if (S_ISDIR(st->st_mode))
        return -EISDIR;
    return S_ISREG(st->st_mode) && may(w, st, S_IRUSR, S_IROTH) ? check_link(dir, st) : -ELOOP;
}

int walk_file(int at, const char *path, struct stat *st) {
    const int flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
    struct walk w = {.dir = -1, .leader = NOBODY};
    int error = 0, fd = open_plain(at, path, flags);
    *st = (struct stat){0};
    if (fd == -ELOOP) {
        error = walk(&w, at, path);
        if (!error && !w.file)
            error = -EISDIR;
        fd = error ? error : openat(w.dir, w.file, flags);
        if (!error && fd < 0)
            fd = -errno;
    }
    /* Looked at where it is open, so that it can't be swapped after. */
    error = fd < 0 ? 0 : check_file(&w, w.dir < 0 ? at : w.dir, fd, st);
    if (error) {
        fd_close(fd);
        fd = error;
    }
    end(&w);
    return fd;
}
