/* Putting what a change has readied in its place, and taking it back. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "change_parts.h"

#define PLACE ":"      /* after the prefix: a directory on the way to a tree's place */
#define PLACES_OPEN 16 /* of trees; they are synced with the rest, more of them at once */

int change_open_below(int dir, struct span path) {
    struct span step;
    int fd = dir_open(dir, ".", false);
    while (fd >= 0 && span_field(&path, '/', &step)) {
        char *name = span_dup(step);
        int next = name ? dir_open(fd, name, false) : -ENOMEM;
        free(name);
        fd_close(fd);
        fd = next;
    }
    return fd;
}

/* Closes a directory in which something was put, once it is synced. */
static int leave_place(struct change *c, int fd) {
    struct stat st;
    if (fd < 0)
        return 0;
    int error = fstat(fd, &st) ? -errno : 0;
    bool is_dir = !error && change_dir_of(c, &st) < c->dir_count; /* which is synced as such */
    if (!error && !is_dir && c->open_count < PLACES_OPEN)
        return change_sync_later(c, fd);
    if (!error && !is_dir)
        error = fd_sync(fd);
    fd_close(fd);
    return error;
}

/* Opens the directory that a new tree goes to, those on the way made as the tree's owner has them.
 * *name is the tree's name there. */
static int open_place(struct change *c, int dir, struct change_file *f, bool make,
                      const char **name) {
    struct span rest = span_of(f->name), step;
    const char *last = strrchr(f->name, '/');
    char tmp[32];
    struct stat st;
    int fd = journal_file(change_prefix(c), PLACE, tmp) ? dir_open(dir, ".", false) : -EINVAL;
    *name = last ? last + 1 : f->name;
    rest.len = last ? (size_t)(last - f->name) : 0;
    if (fd >= 0 && rest.len && make && fstatat(dir, f->tmp, &st, AT_SYMLINK_NOFOLLOW)) {
        int error = -errno;
        fd_close(fd);
        return error;
    }
    while (fd >= 0 && span_field(&rest, '/', &step)) {
        bool made = false;
        char *at = span_dup(step);
        int next = !at    ? -ENOMEM
                   : make ? dir_make_whole(fd, at, dir, tmp, st.st_uid, st.st_gid, &made)
                          : dir_open(fd, at, false);
        f->made = f->made || made;
        free(at);
        int error = next >= 0 && made ? leave_place(c, fd) : 0;
        if (next < 0 || !made)
            fd_close(fd);
        if (error) {
            fd_close(next);
            next = error;
        }
        fd = next;
    }
    return fd;
}

static int put_tree(int dir, const struct change_file *f, int place, const char *name, bool again) {
    struct identity there;
    int error = identity_read(place, name, &there);
    if (!error && identity_is_there(&there))
        error = again ? 0 : -EEXIST; /* the one that is there stays */
    else if (!error && renameat(dir, f->tmp, place, name))
        error = -errno;
    return error;
}

static size_t place_len(const struct change_file *f) {
    const char *slash = strrchr(f->name, '/');
    return slash ? (size_t)(slash - f->name) : 0;
}

static bool neighbours(const struct change_file *a, const struct change_file *b) {
    size_t len = place_len(a);
    return a->dir == b->dir && len == place_len(b) && memcmp(a->name, b->name, len) == 0;
}

/* Puts new trees in their places. Neighbours mostly go to the same place, which is synced once. */
static int put_trees(struct change *c, bool again) {
    const struct change_file *before = NULL;
    const char *name = NULL;
    struct identity tmp;
    int place = -1, error = 0;
    for (size_t i = 0; i < c->count && !error; i++) {
        struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        if (f->step != ADD_TREE || dir < 0)
            continue;
        error = again ? identity_read(dir, f->tmp, &tmp) : 0;
        if (error || (again && !identity_is_there(&tmp))) /* it is there already */
            continue;
        if (before && neighbours(before, f)) {
            name = f->name + (name - before->name);
        } else {
            error = leave_place(c, place);
            place = error ? -1 : open_place(c, dir, f, true, &name);
            error = place < 0 && !error ? place : error;
            if (again && is_gone(error)) /* where it was to go is a file or a link now */
                error = STALE;
        }
        before = f;
        if (!error)
            error = put_tree(dir, f, place, name, again);
    }
    int left = leave_place(c, place);
    return error ? error : left;
}

/* Outside only the owner's directories are written to; who has them now may be another. */
static bool is_for_us(const struct change *c, size_t dir) {
    return !change_is_outside(c, dir) || c->dirs[dir].uid == c->journal.uid;
}

/* One step of a file. `again`: it may have been done, or what it was to replace is another now. */
static int put_file(struct change *c, struct change_file *f, bool again, bool first) {
    int dir = c->dirs[f->dir].fd;
    struct identity now, tmp;
    if (dir < 0 || !is_for_us(c, f->dir))
        return 0;
    if (again) {
        int error = identity_read(dir, f->name, &now);
        if (!error && f->step == REPLACE)
            error = identity_read(dir, f->tmp, &tmp);
        if (error)
            return error;
        bool waits = f->step == REMOVE || identity_is_there(&tmp);
        bool old = identity_same(&now, &f->old);
        if (waits != old) /* another file is there, or the new one was lost */
            return first && f->step == REPLACE ? STALE : 0;
        if (!waits)
            return 0;
    }
    if (f->step == REPLACE && renameat(dir, f->tmp, dir, f->name))
        return -errno;
    if (f->step == REMOVE && unlinkat(dir, f->name, 0) && errno != ENOENT)
        return -errno;
    c->moved = true;
    return 0;
}

static int put_files(struct change *c, bool again) {
    static const struct journal_name any[] = {{"*", false}, {NULL, false}};
    const struct journal_name *names = c->journal.prefix ? c->journal.names : any;
    int error = 0;
    for (const struct journal_name *n = names; n->name && !error; n++)
        for (size_t i = 0; i < c->count && !error; i++) {
            struct change_file *f = &c->files[i];
            if ((f->step == REPLACE || f->step == REMOVE) && journal_name_is(n, f->name))
                error = put_file(c, f, again, n == names);
        }
    return error;
}

static bool is_in_the_way(int error) {
    return error == -EEXIST || error == -ENOTEMPTY || error == -ENOTDIR || error == -EISDIR;
}

int change_make_way(int dir, const char *tmp) {
    struct buf to = {0};
    int error = tree_remove(dir, tmp);
    buf_str(&to, tmp);
    while (error && error != -ENOENT) {
        buf_char(&to, ':');
        error = !buf_c(&to) ? -ENOMEM : renameat(dir, tmp, dir, to.data) ? -errno : 0;
        if (error && !is_in_the_way(error))
            break;
    }
    buf_free(&to);
    return error == -ENOENT ? 0 : error;
}

static int set_aside(int dir, const struct change_file *f) {
    int error = renameat(dir, f->name, dir, f->tmp) ? -errno : 0;
    if (is_in_the_way(error)) {
        error = change_make_way(dir, f->tmp);
        if (!error && renameat(dir, f->name, dir, f->tmp))
            error = -errno;
    }
    return error == -ENOENT ? 0 : error;
}

/* Sets the trees aside that go; outside nothing gets another name. */
static int put_aside(struct change *c, bool again) {
    for (size_t i = 0; i < c->count; i++) {
        struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        struct identity now;
        if (f->step != DROP_TREE || dir < 0 || change_is_outside(c, f->dir))
            continue;
        int error = again ? identity_read(dir, f->name, &now) : 0;
        if (!error && (!again || identity_same(&now, &f->old)))
            error = set_aside(dir, f);
        /* overlayfs moves no directory of a lower layer */
        f->stands = error == -EXDEV || error == -EACCES || error == -EPERM || error == -EBUSY;
        if (error && !f->stands)
            return error;
    }
    return 0;
}

int change_put_all(struct change *c, bool again) {
    int error = put_trees(c, again);
    if (!error)
        error = put_files(c, again);
    return error ? error : put_aside(c, again);
}

/* 0 where the tree outside is still the one that goes, and all of it the owner's. */
static int check_standing(const struct change *c, const struct change_file *f) {
    int dir = c->dirs[f->dir].fd;
    struct identity now;
    int error = identity_read(dir, f->name, &now);
    if (!error && !identity_same(&now, &f->old))
        error = -ENOENT;
    return error ? error : tree_check(dir, f->name, c->journal.uid);
}

int change_clear_standing(const struct change *c, bool again) {
    int error = 0;
    for (size_t i = 0; i < c->count && !error; i++) {
        const struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        bool outside = change_is_outside(c, f->dir);
        if (f->step != DROP_TREE || dir < 0 || !(outside || f->stands))
            continue;
        error = outside && again ? check_standing(c, f) : 0;
        if (!error)
            error = tree_remove_of(dir, f->name, outside ? c->journal.uid : KEEP_OWNER);
        error = error == -ENOENT ? 0 : error;
        if (!error && change_is_elsewhere(c, f->dir))
            error = fd_sync(dir);
    }
    return error;
}

/* On one file system it is gone before the journal is. */
int change_clear_aside(const struct change *c) {
    bool scattered = change_is_scattered(c);
    int error = change_clear_standing(c, false) ? -ENOTEMPTY : 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        if (f->step != DROP_TREE || dir < 0 || change_is_outside(c, f->dir) || f->stands)
            continue;
        int here = tree_remove(dir, f->tmp);
        if (!here && scattered)
            here = fd_sync(dir);
        if (here && here != -ENOENT)
            error = -ENOTEMPTY;
    }
    return error;
}

/* Removes the directory that was made for a tree to go to, if nothing else is in it. */
static int remove_place(int dir, const struct change_file *f) {
    size_t len = place_len(f);
    const char *slash = memrchr(f->name, '/', len);
    size_t above = slash ? (size_t)(slash - f->name) : 0, from = slash ? above + 1 : 0;
    char *name = span_dup((struct span){f->name + from, len - from});
    int in = name ? change_open_below(dir, (struct span){f->name, above}) : -ENOMEM;
    int error = in < 0 ? in : unlinkat(in, name, AT_REMOVEDIR) ? -errno : 0;
    fd_close(in);
    free(name);
    return is_gone(error) || error == -ENOTEMPTY ? 0 : error;
}

int change_drop_new(const struct change *c, const struct change_file *f) {
    char place[32];
    int dir = c->dirs[f->dir].fd, error = 0;
    if (f->step == REPLACE && unlinkat(dir, f->tmp, 0))
        error = -errno;
    if (f->step == ADD_TREE)
        error = tree_remove(dir, f->tmp);
    if (error && error != -ENOENT && error != -EROFS) /* where none was made */
        return error;
    bool has_place =
        f->step == ADD_TREE && place_len(f) && journal_file(change_prefix(c), PLACE, place);
    return has_place && unlinkat(dir, place, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

static int take_tree_back(struct change *c, struct change_file *f) {
    int dir = c->dirs[f->dir].fd;
    const char *name;
    struct identity now;
    int place = open_place(c, dir, f, false, &name);
    int error = place < 0 ? place : identity_read(place, name, &now);
    if (!error && identity_same(&now, &f->old) && renameat(place, name, dir, f->tmp))
        error = -errno;
    fd_close(place);
    return is_gone(error) ? 0 : error;
}

int change_take_back(struct change *c) {
    int error = 0;
    for (size_t i = 0; i < c->count && !error; i++) {
        struct change_file *f = &c->files[i];
        if (f->step == ADD_TREE && c->dirs[f->dir].fd >= 0)
            error = take_tree_back(c, f);
        if (!error && f->made)
            error = remove_place(c->dirs[f->dir].fd, f);
    }
    return error;
}
