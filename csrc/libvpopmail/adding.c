/* DOMAINDIR/.adding:/N/NAME: N is the first number that is free, locked for as long as the process
 * that made it lives. N/:paths names, one a line, the directories that are moved into place, as
 * 0/a/NAME, and those that are made for them, as 0/a/. */
#include "adding.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "dir_control.h"
#include "maildir.h"
#include "names.h"
#include "stream.h"

/* No user's name has a colon. */
#define ADDING ".adding:"
#define PATHS ":paths"
#define TRIES 16

/* Makes a directory that is not there yet. The one that it stands in is the domain owner's, so that
 * each caller can do with what is its own. */
static int make_own(const struct store *s, struct adding *a) {
    bool made = false;
    int in = dir_make(s->dir, ADDING, s->uid, s->gid, &made);
    int fd = in < 0 ? in : -EEXIST;
    for (unsigned int n = 0; fd == -EEXIST && n < UINT32_MAX; n++) {
        (void)snprintf(a->name, sizeof a->name, "%u", n);
        fd = dir_make(in, a->name, KEEP_OWNER, 0, &made);
        /* Another's is there, which we may not open. */
        bool taken = !made && faccessat(in, a->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        if (!made && (fd >= 0 || taken)) {
            fd_close(fd);
            fd = -EEXIST;
        }
    }
    if (fd < 0 && in >= 0)
        (void)unlinkat(s->dir, ADDING, AT_REMOVEDIR); /* if nobody else is at it */
    fd_close(in);
    return fd;
}

static void let_go(struct adding *a) {
    lock_release(&a->lock);
    fd_close(a->dir);
    *a = ADDING_NONE;
}

/* The directory that it stands in is the domain owner's, who could put another one there: what is
 * made in it, and removed for it, is by name. */
static bool is_our_own(const struct stat *st) {
    return st->st_uid == geteuid() && (st->st_mode & 0077) == 0;
}

/* 1, 0 where another process has it, as the number is its own by now or it removes what it takes
 * for a dead one's, or -errno. */
static int try_begin(const struct store *s, struct adding *a) {
    struct stat st;
    a->dir = make_own(s, a);
    if (a->dir < 0)
        return a->dir == -ENOENT || a->dir == -EACCES ? 0 : a->dir;
    int error = lock_dir_now(a->dir, &a->lock);
    if (error == -EAGAIN)
        return 0;
    if (!error && fstat(a->dir, &st))
        error = -errno;
    return error ? error : st.st_nlink > 0 && is_our_own(&st);
}

int adding_begin(const struct store *s, struct adding *a) {
    int begun = 0;
    for (int tries = 0; tries < TRIES && begun == 0; tries++) {
        begun = try_begin(s, a);
        if (begun == 0)
            let_go(a);
    }
    if (begun < 0)
        adding_end(s, a);
    return begun > 0 ? 0 : begun ? begun : -EAGAIN;
}

/* --- directories --------------------------------------------------------------------------------
 */

/* What was just made gets its mode, whatever the umask, and its owner. By name: nobody else gets to
 * it, since the directory that all of it stands in is ours alone. */
static int settle(const struct store *s, int dir, const char *name, mode_t mode) {
    struct stat st;
    int no_link = AT_SYMLINK_NOFOLLOW;
    if (fstatat(dir, name, &st, no_link))
        return -errno;
    if ((st.st_mode & 07777) != mode && fchmodat(dir, name, mode, 0))
        return -errno;
    bool ours = st.st_uid == s->uid && st.st_gid == s->gid;
    return !ours && fchownat(dir, name, s->uid, s->gid, no_link) && geteuid() == 0 ? -errno : 0;
}

static int put_dir(const struct store *s, int dir, const char *name) {
    return mkdirat(dir, name, 0700) ? -errno : settle(s, dir, name, 0700);
}

static int put_file(const struct store *s, int dir, const char *name, struct span text) {
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error = fd < 0 ? -errno : fd_write(fd, text);
    fd_close(fd);
    return error ? error : settle(s, dir, name, 0600);
}

static int fill_maildir(const struct store *s, int user, struct span quota) {
    static const char *const parts[] = {"Maildir/cur", "Maildir/new", "Maildir/tmp"};
    struct buf size = {0};
    int error = put_dir(s, user, "Maildir");
    for (int i = 0; i < 3 && !error; i++)
        error = put_dir(s, user, parts[i]);
    if (!error && quota.len && !span_is(quota, NOQUOTA)) {
        buf_span(&size, quota);
        buf_str(&size, "\n0 0\n");
        struct span text = {size.data, size.len};
        error = size.failed ? -ENOMEM : put_file(s, user, "Maildir/maildirsize", text);
    }
    buf_free(&size);
    return error;
}

int adding_grow(const struct store *s, const struct adding *a, const char *name,
                struct span quota) {
    int error = put_dir(s, a->dir, name);
    int user = error ? error : dir_open(a->dir, name, false);
    error = user < 0 ? user : put_file(s, user, "lastauth", span_of("0.0.0.0"));
    if (!error)
        error = fill_maildir(s, user, quota);
    fd_close(user);
    return error;
}

/* --- moving and undoing -------------------------------------------------------------------------
 */

int adding_sync(const struct adding *a) {
    return syncfs(a->dir) ? -errno : 0;
}

int adding_note(const struct adding *a, struct span paths) {
    return file_write(a->dir, PATHS, paths, 0600, KEEP_OWNER, 0);
}

/* The number may be another process's where ours was removed. */
static bool is_ours(int in, const struct adding *a) {
    struct stat own, there;
    return fstat(a->dir, &own) == 0 && fstatat(in, a->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

void adding_end(const struct store *s, struct adding *a) {
    int in = a->dir < 0 ? -1 : dir_open(s->dir, ADDING, false);
    if (in >= 0) {
        if (is_ours(in, a))
            (void)tree_remove(in, a->name);
        (void)unlinkat(s->dir, ADDING, AT_REMOVEDIR);
    }
    fd_close(in);
    let_go(a);
}

struct noted {
    struct span place, name; /* no name: the place itself */
    bool stored;
};

static int by_name(const void *a, const void *b) {
    return span_cmp(((const struct noted *)b)->name, ((const struct noted *)a)->name);
}

/* Users first; then places, those in others before them. */
static int in_order(const void *a, const void *b) {
    int order = by_name(a, b);
    return order ? order
                 : span_cmp(((const struct noted *)b)->place, ((const struct noted *)a)->place);
}

/* What a line notes; false for what adding_note() is never given, among it the domain's files. */
static bool parse(struct span line, struct noted *n) {
    const char *slash = line.len ? memrchr(line.data, '/', line.len) : NULL;
    size_t before = slash ? (size_t)(slash - line.data) : 0, after = slash ? before + 1 : 0;
    *n = (struct noted){{line.data, before}, {line.data + after, line.len - after}, false};
    char *name = span_dup(n->name);
    bool good = name &&
                (n->name.len ? strlen(name) == n->name.len && name_is_user(name) : slash != NULL) &&
                (before ? dir_control_is_place(n->place) : !maildir_is_file(name));
    free(name);
    return good;
}

static int read_noted(struct span text, struct noted **out, size_t *count) {
    struct span line;
    size_t lines = 1;
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    struct noted *noted = *out = malloc(lines * sizeof *noted);
    if (!noted)
        return -ENOMEM;
    while (span_line(&text, &line))
        *count += parse(line, &noted[*count]);
    qsort(noted, *count, sizeof *noted, in_order);
    return 0;
}

/* Of one name there may be several, where it is not what adding_note() was given. */
static void mark(struct noted *noted, size_t count, struct span name) {
    struct noted key = {.name = name};
    struct noted *found = name.len ? bsearch(&key, noted, count, sizeof *noted, by_name) : NULL;
    if (!found || found->stored)
        return;
    while (found > noted && by_name(&found[-1], &key) == 0)
        found--;
    for (; found < noted + count && by_name(found, &key) == 0; found++)
        found->stored = true;
}

static int mark_stored(const struct store *s, struct noted *noted, size_t count) {
    struct lines in = {.fd = store_open(s)};
    struct span line;
    int more = in.fd == -ENOENT ? 0 : in.fd;
    while (in.fd >= 0 && (more = lines_next(&in, &line)) > 0)
        mark(noted, count, store_name(line));
    lines_free(&in);
    fd_close(in.fd);
    return more;
}

static int remove_noted(const struct store *s, const struct noted *n) {
    if (!n->name.len)
        return place_remove(s, n->place);
    char *name = span_dup(n->name);
    int fd = name ? place_open(s, n->place, false) : -ENOMEM;
    int error = fd < 0 ? fd : tree_remove(fd, name);
    fd_close(fd);
    free(name);
    return error;
}

/* As many as there were: it is our own. */
static int read_paths(int dir, struct buf *text) {
    struct stat st;
    int fd = file_open(dir, PATHS, &st);
    int error = fd < 0 ? fd : fd_read_most(fd, st.st_size, st.st_size, text);
    fd_close(fd);
    return error;
}

static int undo(const struct store *s, int dir) {
    struct buf text = {0};
    struct noted *noted = NULL;
    size_t count = 0;
    int error = read_paths(dir, &text);
    if (!error)
        error = read_noted((struct span){text.data, text.len}, &noted, &count);
    if (!error)
        error = mark_stored(s, noted, count);
    for (size_t i = 0; i < count && !error; i++)
        if (!noted[i].stored)
            error = past_mending(remove_noted(s, &noted[i]));
    if (!error && syncfs(dir))
        error = -errno;
    free(noted);
    buf_free(&text);
    return error == -ENOENT ? 0 : error;
}

void adding_undo(const struct store *s, struct adding *a) {
    if (a->dir < 0 || (!store_is_pending(s) && undo(s, a->dir) == 0)) {
        adding_end(s, a);
        return;
    }
    let_go(a); /* for the next one to try */
}

/* One that this process may have made, and that no living one holds. Its number may be another's
 * where it went since it was opened. */
static bool is_left(int dir) {
    struct stat st;
    return flock(dir, LOCK_EX | LOCK_NB) == 0 && fstat(dir, &st) == 0 && is_our_own(&st) &&
           st.st_nlink > 0;
}

bool adding_is_left(const struct store *s) {
    return faccessat(s->dir, ADDING, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int adding_clear(const struct store *s) {
    struct dirent *entry;
    int in = dir_open(s->dir, ADDING, false), error = 0;
    DIR *list = in < 0 ? NULL : fdopendir(in);
    if (!list) {
        fd_close(in);
        if (in == -EACCES) /* root's, which was not given away yet */
            (void)unlinkat(s->dir, ADDING, AT_REMOVEDIR);
        return in < 0 ? past_mending(in) : -ENOMEM;
    }
    while (!error && (entry = dir_next(list, &error))) {
        int dir = entry->d_name[0] == '.' ? -ENOENT : dir_open(in, entry->d_name, false);
        if (dir < 0)
            error = past_mending(dir);
        if (dir >= 0 && is_left(dir)) {
            error = undo(s, dir);
            if (!error)
                (void)tree_remove(in, entry->d_name);
        }
        fd_close(dir);
    }
    closedir(list);
    (void)unlinkat(s->dir, ADDING, AT_REMOVEDIR);
    return error;
}
