#include "change.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "change_parts.h"

/* No user's name has a colon, so no user's directory is in the way. */
#define PLAIN_PREFIX ".tmp:"

/* --- the parts of a change ----------------------------------------------------------------------
 */

struct change change_of(struct journal journal) {
    return (struct change){.journal = journal};
}

struct change change_part(struct change *whole) {
    return (struct change){.whole = whole};
}

const char *change_prefix(const struct change *c) {
    return c->journal.prefix ? c->journal.prefix : PLAIN_PREFIX;
}

int change_add_dir(struct change *c, int fd, const char *path, bool to_close) {
    struct stat st = {0};
    if (fd >= 0 && fstat(fd, &st))
        return -errno;
    struct change_dir *dirs = realloc(c->dirs, (c->dir_count + 1) * sizeof *dirs);
    char *copy = dirs && path ? strdup(path) : NULL;
    if (dirs)
        c->dirs = dirs;
    if (!dirs || (path && !copy))
        return -ENOMEM;
    dirs[c->dir_count++] = (struct change_dir){.fd = fd,
                                               .to_close = to_close,
                                               .path = copy,
                                               .device = st.st_dev,
                                               .inode = st.st_ino,
                                               .uid = st.st_uid};
    return 0;
}

size_t change_dir_of(const struct change *c, const struct stat *st) {
    size_t i = 0;
    while (i < c->dir_count && !(c->dirs[i].fd >= 0 && c->dirs[i].device == st->st_dev &&
                                 c->dirs[i].inode == st->st_ino))
        i++;
    return i;
}

/* Whether the path is BASE/NAME. */
static bool is_known(const struct known_dir *known, const char *path) {
    size_t len = known->base ? strlen(known->base) : 0;
    return len && strncmp(path, known->base, len) == 0 && path[len] == '/' &&
           strcmp(path + len + 1, known->name) == 0;
}

int change_in(struct change *c, int dir, const char *path, bool to_close) {
    bool known = is_known(&c->journal.known[0], path) || is_known(&c->journal.known[1], path);
    int error = c->dir_count ? 0 : change_add_dir(c, c->journal.dir, NULL, false);
    char *whole = c->journal.anywhere && path[0] != '/' ? realpath(path, NULL) : NULL;
    if (whole)
        path = whole;
    if (!error)
        error = journal_takes_dir(span_of(path)) ? change_add_dir(c, dir, path, to_close) : -EINVAL;
    if (!error)
        c->dirs[c->dir_count - 1].known = known;
    free(whole);
    return error;
}

bool change_is_elsewhere(const struct change *c, size_t dir) {
    return c->dirs[dir].fd >= 0 && c->dirs[dir].device != c->dirs[0].device;
}

bool change_is_scattered(const struct change *c) {
    for (size_t i = 1; i < c->dir_count; i++)
        if (change_is_elsewhere(c, i))
            return true;
    return false;
}

bool change_is_outside(const struct change *c, size_t dir) {
    const char *path = c->dirs[dir].path;
    return !c->journal.anywhere && path && path[0] == '/';
}

int change_sync_later(struct change *c, int fd) {
    int *open = fd < 0 ? NULL : realloc(c->open, (c->open_count + 1) * sizeof *open);
    if (!open) {
        fd_close(fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    c->open = open;
    c->open[c->open_count++] = fd;
    return 0;
}

void change_close_open(struct change *c) {
    for (size_t i = 0; i < c->open_count; i++)
        fd_close(c->open[i]);
    free(c->open);
    c->open = NULL;
    c->open_count = 0;
}

/* The directory's number, or -errno. The journal's own is the first. */
static int dir_number(struct change *c, int fd) {
    int own = c->journal.prefix ? c->journal.dir : fd;
    int error = c->dir_count ? 0 : change_add_dir(c, own, NULL, false);
    for (size_t i = 0; i < c->dir_count && !error; i++)
        if (c->dirs[i].fd == fd)
            return (int)i;
    if (!error && c->journal.prefix) /* it was not declared */
        return -EINVAL;
    if (!error)
        error = change_add_dir(c, fd, NULL, false);
    return error ? error : (int)c->dir_count - 1;
}

struct change_file *change_add_step(struct change *c, enum step step, int dir, const char *name) {
    bool outside = change_is_outside(c, (size_t)dir);
    if (c->journal.prefix && !journal_allows(&c->journal, step, name, outside)) {
        errno = EINVAL;
        return NULL;
    }
    errno = ENOMEM;
    struct change_file *files = realloc(c->files, (c->count + 1) * sizeof *files);
    if (!files)
        return NULL;
    c->files = files;
    const char *last = strrchr(name, '/');
    struct buf tmp = {0};
    bool tree = step == ADD_TREE || step == DROP_TREE;
    buf_fmt(&tmp, "%s%s%s", change_prefix(c), tree ? TREE : "", last ? last + 1 : name);
    struct change_file *f = &files[c->count];
    *f = (struct change_file){.step = step, .dir = (size_t)dir, .fd = -1, .lock = LOCK_NONE};
    f->name = strdup(name);
    f->tmp = buf_c(&tmp);
    if (!f->name || !f->tmp) {
        free(f->name);
        buf_free(&tmp);
        return NULL;
    }
    c->count++;
    return f;
}

void change_free(struct change *c) {
    for (size_t i = 0; i < c->count; i++) {
        fd_close(c->files[i].fd);
        lock_release(&c->files[i].lock);
        free(c->files[i].name);
        free(c->files[i].tmp);
    }
    for (size_t i = 0; i < c->dir_count; i++) {
        if (c->dirs[i].to_close)
            fd_close(c->dirs[i].fd);
        free(c->dirs[i].path);
    }
    if (c->begun)
        fd_close(c->fd);
    change_close_open(c);
    free(c->files);
    free(c->dirs);
    *c = (struct change){.journal = c->journal, .whole = c->whole};
}

/* --- preparing ----------------------------------------------------------------------------------
 */

/* The disk begins with what is written, while the next is made ready. */
static void send_last(const struct change *c) {
    if (c->count && c->files[c->count - 1].fd >= 0)
        (void)sync_file_range(c->files[c->count - 1].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int change_open(struct change *c, int dir, const char *name, mode_t mode, uid_t uid, gid_t gid) {
    int at = dir_number(c, dir);
    int error = at < 0 ? at : journal_begin(c, at);
    if (error)
        return error;
    send_last(c);
    struct change_file *f = change_add_step(c, REPLACE, at, name);
    int fd = f ? file_new(dir, f->tmp, mode, uid, gid) : -errno;
    if (f && fd == -EISDIR) {
        fd = change_make_way(dir, f->tmp);
        fd = fd ? fd : file_new(dir, f->tmp, mode, uid, gid);
    }
    if (fd >= 0)
        f->fd = fd;
    return fd; /* else change_drop() sees that nothing is left */
}

int change_write(struct change *c, int dir, const char *name, struct span data, mode_t mode,
                 uid_t uid, gid_t gid) {
    int fd = change_open(c, dir, name, mode, uid, gid);
    return fd < 0 ? fd : fd_write(fd, data);
}

int change_remove(struct change *c, int dir, const char *name) {
    int at = dir_number(c, dir);
    int error = at < 0 ? at : journal_begin(c, 0);
    return error ? error : change_add_step(c, REMOVE, at, name) ? 0 : -errno;
}

int change_tree(struct change *c, int dir, struct span place, const char *name, uid_t uid,
                gid_t gid) {
    struct buf path = {0};
    bool made;
    int at = dir_number(c, dir);
    int error = at < 0 ? at : journal_begin(c, at);
    while (place.len && place.data[place.len - 1] == '/')
        place.len--;
    buf_span(&path, place);
    buf_fmt(&path, "%s%s", place.len ? "/" : "", name);
    struct change_file *f =
        !error && buf_c(&path) ? change_add_step(c, ADD_TREE, at, path.data) : NULL;
    if (!f && !error)
        error = path.failed ? -ENOMEM : -errno;
    buf_free(&path);
    if (!f)
        return error;
    int fd = dir_make(dir, f->tmp, uid, gid, &made);
    if (!made && (fd >= 0 || fd == -ELOOP || fd == -EACCES)) {
        fd_close(fd);
        fd = change_make_way(dir, f->tmp);
        fd = fd ? fd : dir_make(dir, f->tmp, uid, gid, &made);
    }
    if (fd >= 0 && made)
        return f->fd = fd;
    fd_close(fd);
    return fd < 0 ? fd : -EEXIST;
}

int change_tree_dir(struct change *c, int dir, const char *name, uid_t uid, gid_t gid) {
    bool made;
    int fd = dir_make(dir, name, uid, gid, &made);
    int error = change_sync_later(c, fd);
    return error ? error : fd;
}

int change_tree_file(struct change *c, int dir, const char *name, struct span data, uid_t uid,
                     gid_t gid) {
    int fd = file_new(dir, name, 0600, uid, gid);
    int error = change_sync_later(c, fd);
    return error ? error : fd_write(fd, data);
}

int change_drop_tree(struct change *c, int dir, const char *name) {
    int at = dir_number(c, dir);
    int error = at < 0 ? at : journal_begin(c, 0);
    return error ? error : change_add_step(c, DROP_TREE, at, name) ? 0 : -errno;
}

/* --- doing it -----------------------------------------------------------------------------------
 */

/* The same of a part: the whole will. */
static int hand_over(struct change *c) {
    int error = 0;
    for (size_t i = 0; i < c->open_count; i++) {
        int here = change_sync_later(c->whole, c->open[i]);
        error = error ? error : here;
    }
    c->open_count = 0;
    for (size_t i = 0; i < c->count; i++) {
        int here = c->files[i].fd < 0 ? 0 : change_sync_later(c->whole, c->files[i].fd);
        c->files[i].fd = -1;
        error = error ? error : here;
    }
    return error;
}

/* Before the rename nothing has changed, after it everything has. On several file systems what is
 * renamed in one must not be seen before what is in another. */
static int decide(struct change *c) {
    int error = journal_turn(&c->journal, BEGUN, READY);
    c->decided = !error;
    return !error && change_is_scattered(c) ? fd_sync(c->journal.dir) : error;
}

/* In a tree that nobody sees yet. */
static int make_part(struct change *c) {
    int error = hand_over(c);
    if (!error)
        error = change_put_all(c, false);
    change_free(c);
    return error;
}

int change_make(struct change *c) {
    bool several = c->count > 1 || (c->count && c->files[0].step >= ADD_TREE);
    bool told = c->begun && several;
    if (c->whole)
        return make_part(c);
    int error = told ? journal_tell(c) : 0;
    if (!error)
        error = change_sync_new(c, told);
    if (!error && told)
        error = decide(c);
    if (!error)
        error = change_put_all(c, false);
    bool too_late = c->moved && told;
    if (error && too_late)
        error = change_put_all(c, true);
    if (error && !too_late) {
        change_drop(c);
        return error;
    }
    if (!error)
        error = change_sync_changed(c);
    if (!error)
        error = change_clear_aside(c);
    if (c->begun && (!error || !told)) {
        int ended = journal_end(&c->journal, told ? READY : BEGUN);
        error = error ? error : ended;
    }
    change_free(c);
    return error;
}

void change_drop(struct change *c) {
    bool all_gone = true;
    int error = c->decided ? change_take_back(c) : 0;
    if (!error && c->decided)
        error = journal_turn(&c->journal, READY, BEGUN);
    if (!error && c->decided && change_is_scattered(c)) /* as it was when it was decided */
        error = fd_sync(c->journal.dir);
    if (error) { /* it may stay decided: what is needed to complete it stays, for the next call */
        change_free(c);
        return;
    }
    for (size_t i = 0; i < c->count; i++)
        all_gone = change_drop_new(c, &c->files[i]) == 0 && all_gone;
    if (c->begun && all_gone) /* else the next call sweeps */
        (void)journal_end(&c->journal, BEGUN);
    change_free(c);
}

/* ------------------------------------------------------------------------------------------------
 */

int file_write(int dir, const char *name, struct span data, mode_t mode, uid_t uid, gid_t gid) {
    struct change c = {0};
    int error = change_write(&c, dir, name, data, mode, uid, gid);
    if (error)
        change_drop(&c);
    return error ? error : change_make(&c);
}
