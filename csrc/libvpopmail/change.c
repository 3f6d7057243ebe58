#include "change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "walk.h"

#define BEGUN "change" /* after the prefix */
#define READY "ready"  /* the same */
#define PLACE ":"      /* the same, of a directory on the way to a tree's place */
#define TREE ":"       /* before a tree's name: no file's begins so */
#define JOURNAL_MAX (64L << 20)
#define PLACES_OPEN 16 /* of trees; they are synced with the rest, more of them at once */
#define DIRS_MAX 64    /* each takes a descriptor, which a journal that lies could use up */
#define PLAIN_PREFIX                                                                               \
    ".tmp:" /* no user's name has a colon, so no user's directory is in the way                    \
             */
#define STALE (-ESTALE)

enum step { REPLACE, REMOVE, ADD_TREE, DROP_TREE };
static const char *const words[] = {"replace", "remove", "add", "drop"};
#define STEPS 4

/* What tells a file, or a directory, from another one of its name; all zero: there is none. */
struct identity {
    unsigned long long ino, size, sec, nsec;
};

struct change_dir {
    int fd; /* -1: it is not there any more */
    bool to_close, told, known;
    char *path; /* NULL: the journal's own */
    dev_t device;
    ino_t inode;
    struct identity id;
};

struct change_file {
    enum step step;
    size_t dir;
    int fd; /* of what is still to be synced, else -1 */
    char *name, *tmp;
    struct identity old; /* what it replaces or removes; of a new tree its own */
    struct lock lock;
    bool made; /* the directory that the tree goes to */
};

/* --- telling files apart ------------------------------------------------------------------------
 */

static int identify(int dir, const char *name, struct identity *out) {
    struct statx st;
    unsigned int what = STATX_INO | STATX_TYPE | STATX_SIZE | STATX_MTIME | STATX_BTIME;
    *out = (struct identity){0};
    if (statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, what, &st))
        return errno == ENOENT ? 0 : -errno;
    /* What is in a directory changes; when it was made does not. */
    bool is_dir = S_ISDIR(st.stx_mode);
    struct statx_timestamp time = is_dir && st.stx_mask & STATX_BTIME ? st.stx_btime : st.stx_mtime;
    *out = (struct identity){st.stx_ino, is_dir ? 0 : st.stx_size,
                             (unsigned long long)time.tv_sec & INT64_MAX, time.tv_nsec};
    return 0;
}

static bool same(const struct identity *a, const struct identity *b) {
    return a->ino == b->ino && a->size == b->size && a->sec == b->sec && a->nsec == b->nsec;
}

static bool is_gone(int error) {
    return error == -ENOENT || error == -ENOTDIR || error == -ELOOP;
}

static bool is_there(const struct identity *id) {
    return id->ino != 0;
}

/* --- the parts of a change ----------------------------------------------------------------------
 */

struct change change_of(struct journal journal) {
    return (struct change){.journal = journal};
}

struct change change_part(struct change *whole) {
    return (struct change){.whole = whole};
}

static const char *prefix_of(const struct change *c) {
    return c->journal.prefix ? c->journal.prefix : PLAIN_PREFIX;
}

/* Whether a path leads down and nowhere else. */
static bool is_below(struct span path) {
    struct span step;
    if (!path.len || path.data[0] == '/' || path.data[path.len - 1] == '/')
        return false;
    while (span_field(&path, '/', &step))
        if (!step.len || span_is(step, ".") || span_is(step, ".."))
            return false;
    return true;
}

static bool is_dir_path(const struct journal *j, struct span path) {
    return path.len && path.data[0] == '/' ? j->anywhere : is_below(path);
}

static bool is_named(const struct journal_name *n, const char *name) {
    size_t len = strlen(n->name);
    return n->name[len - 1] == '*' ? strncmp(n->name, name, len - 1) == 0 : !strcmp(n->name, name);
}

static const struct journal_name *find_name(const struct journal *j, const char *name) {
    for (const struct journal_name *n = j->names; n->name; n++)
        if (is_named(n, name))
            return n;
    return NULL;
}

/* Whether a change under this journal's lock can have such a step. */
static bool is_allowed(const struct journal *j, enum step step, const char *name) {
    const char *slash = strrchr(name, '/');
    if (!is_below(span_of(name)) || (slash && step != ADD_TREE))
        return false;
    if (step == REPLACE || step == REMOVE)
        return find_name(j, name) != NULL;
    return strncmp(slash ? slash + 1 : name, j->prefix, strlen(j->prefix)) != 0;
}

static int add_dir(struct change *c, int fd, const char *path, bool to_close) {
    struct stat st = {0};
    if (fd >= 0 && fstat(fd, &st))
        return -errno;
    struct change_dir *dirs = realloc(c->dirs, (c->dir_count + 1) * sizeof *dirs);
    char *copy = dirs && path ? strdup(path) : NULL;
    if (dirs)
        c->dirs = dirs;
    if (!dirs || (path && !copy))
        return -ENOMEM;
    dirs[c->dir_count++] = (struct change_dir){
        .fd = fd, .to_close = to_close, .path = copy, .device = st.st_dev, .inode = st.st_ino};
    return 0;
}

/* The number of the first directory that is this one. */
static size_t first_of(const struct change *c, const struct stat *st) {
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
    int error = c->dir_count ? 0 : add_dir(c, c->journal.dir, NULL, false);
    char *whole = c->journal.anywhere && path[0] != '/' ? realpath(path, NULL) : NULL;
    if (whole)
        path = whole;
    if (!error)
        error = is_dir_path(&c->journal, span_of(path)) ? add_dir(c, dir, path, to_close) : -EINVAL;
    if (!error)
        c->dirs[c->dir_count - 1].known = known;
    free(whole);
    return error;
}

static bool is_elsewhere(const struct change *c, size_t dir) {
    return c->dirs[dir].fd >= 0 && c->dirs[dir].device != c->dirs[0].device;
}

/* Whether there are several file systems, none of which knows what is done in the others before. */
static bool is_scattered(const struct change *c) {
    for (size_t i = 1; i < c->dir_count; i++)
        if (is_elsewhere(c, i))
            return true;
    return false;
}

/* Has the next wave sync the descriptor, which then is the change's to close. */
static int sync_later(struct change *c, int fd) {
    int *open = fd < 0 ? NULL : realloc(c->open, (c->open_count + 1) * sizeof *open);
    if (!open) {
        fd_close(fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    c->open = open;
    c->open[c->open_count++] = fd;
    return 0;
}

static void close_open(struct change *c) {
    for (size_t i = 0; i < c->open_count; i++)
        fd_close(c->open[i]);
    free(c->open);
    c->open = NULL;
    c->open_count = 0;
}

/* The directory's number, or -errno. The journal's own is the first. */
static int dir_number(struct change *c, int fd) {
    int own = c->journal.prefix ? c->journal.dir : fd;
    int error = c->dir_count ? 0 : add_dir(c, own, NULL, false);
    for (size_t i = 0; i < c->dir_count && !error; i++)
        if (c->dirs[i].fd == fd)
            return (int)i;
    if (!error && c->journal.prefix) /* it was not declared */
        return -EINVAL;
    if (!error)
        error = add_dir(c, fd, NULL, false);
    return error ? error : (int)c->dir_count - 1;
}

/* NULL, and errno: ENOMEM, or EINVAL for what could not be read back from a journal. */
static struct change_file *add_step(struct change *c, enum step step, int dir, const char *name) {
    if (c->journal.prefix && !is_allowed(&c->journal, step, name)) {
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
    buf_fmt(&tmp, "%s%s%s", prefix_of(c), tree ? TREE : "", last ? last + 1 : name);
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

static void remove_step(struct change *c) {
    struct change_file *f = &c->files[--c->count];
    free(f->name);
    free(f->tmp);
}

static void change_free(struct change *c) {
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
    close_open(c);
    free(c->files);
    free(c->dirs);
    *c = (struct change){.journal = c->journal, .whole = c->whole};
}

/* --- the journal --------------------------------------------------------------------------------
 */

static bool journal_name(const char *prefix, const char *end, char out[32]) {
    return snprintf(out, 32, "%s%s", prefix, end) < 32;
}

static void put_identity(struct buf *out, const struct identity *id) {
    buf_fmt(out, " %llu %llu %llu %llu ", id->ino, id->size, id->sec, id->nsec);
}

/* Any byte but a NUL may be in a name. */
static void put_name(struct buf *out, const char *name) {
    buf_str(out, name);
    buf_char(out, '\0');
}

static void put_dirs(struct change *c, struct buf *out) {
    for (size_t i = 1; i < c->dir_count; i++) {
        struct change_dir *d = &c->dirs[i];
        if (d->told)
            continue;
        if (!identify(d->fd, "", &d->id)) {
            buf_str(out, "in");
            put_identity(out, &d->id);
            put_name(out, d->path);
        }
        d->told = true;
    }
}

/* Says that something begins, and where: of its own directory the name of the journal tells, those
 * that are known are looked into, if their file system tells things in their order. */
static int begin(struct change *c, int dir) {
    char name[32];
    struct buf text = {0};
    if (!c->journal.prefix)
        return 0;
    if (!c->begun) {
        if (!journal_name(c->journal.prefix, BEGUN, name))
            return -EINVAL;
        c->fd = file_new(c->journal.dir, name, 0600, c->journal.uid, c->journal.gid);
        if (c->fd < 0)
            return c->fd;
        c->begun = true;
    }
    if (!dir || c->dirs[dir].told || (c->dirs[dir].known && !is_elsewhere(c, (size_t)dir)))
        return 0;
    put_dirs(c, &text);
    int error = text.failed ? -ENOMEM : fd_write(c->fd, (struct span){text.data, text.len});
    if (!error && fsync(c->fd))
        error = -errno;
    buf_free(&text);
    return error;
}

/* Completes the journal: what is to be done once the change is decided. */
static int tell(struct change *c) {
    struct buf text = {0};
    put_dirs(c, &text);
    int error = 0;
    for (size_t i = 0; i < c->count && !error; i++) {
        struct change_file *f = &c->files[i];
        error = identify(c->dirs[f->dir].fd, f->step == ADD_TREE ? f->tmp : f->name, &f->old);
        buf_fmt(&text, "%s %zu", words[f->step], f->dir);
        put_identity(&text, &f->old);
        put_name(&text, f->name);
    }
    if (!error)
        error = text.failed ? -ENOMEM : fd_write(c->fd, (struct span){text.data, text.len});
    buf_free(&text);
    return error;
}

/* Renames the journal: `from` and `to` are what stands after the prefix. */
static int turn(const struct journal *j, const char *from, const char *to) {
    char old[32], new[32];
    if (!journal_name(j->prefix, from, old) || !journal_name(j->prefix, to, new))
        return -EINVAL;
    return renameat(j->dir, old, j->dir, new) ? -errno : 0;
}

static int end_journal(const struct journal *j, const char *which) {
    char name[32];
    if (!j->prefix || !journal_name(j->prefix, which, name))
        return 0;
    return unlinkat(j->dir, name, 0) && errno != ENOENT ? -errno : 0;
}

/* --- preparing ----------------------------------------------------------------------------------
 */

int change_open(struct change *c, int dir, const char *name, mode_t mode, uid_t uid, gid_t gid) {
    int at = dir_number(c, dir);
    int error = at < 0 ? at : begin(c, at);
    if (error)
        return error;
    struct change_file *f = add_step(c, REPLACE, at, name);
    int fd = f ? file_new(dir, f->tmp, mode, uid, gid) : -errno;
    if (fd >= 0)
        f->fd = fd;
    else if (f)
        remove_step(c);
    return fd;
}

int change_write(struct change *c, int dir, const char *name, struct span data, mode_t mode,
                 uid_t uid, gid_t gid) {
    int fd = change_open(c, dir, name, mode, uid, gid);
    return fd < 0 ? fd : fd_write(fd, data);
}

int change_remove(struct change *c, int dir, const char *name) {
    int at = dir_number(c, dir);
    int error = at < 0 ? at : begin(c, 0);
    return error ? error : add_step(c, REMOVE, at, name) ? 0 : -errno;
}

int change_tree(struct change *c, int dir, struct span place, const char *name, uid_t uid,
                gid_t gid) {
    struct buf path = {0};
    bool made;
    int at = dir_number(c, dir);
    int error = at < 0 ? at : begin(c, at);
    while (place.len && place.data[place.len - 1] == '/')
        place.len--;
    buf_span(&path, place);
    buf_fmt(&path, "%s%s", place.len ? "/" : "", name);
    struct change_file *f = !error && buf_c(&path) ? add_step(c, ADD_TREE, at, path.data) : NULL;
    if (!f && !error)
        error = path.failed ? -ENOMEM : -errno;
    buf_free(&path);
    if (!f)
        return error;
    int fd = dir_make(dir, f->tmp, uid, gid, &made);
    if (fd >= 0 && made)
        return f->fd = fd;
    fd_close(fd);
    remove_step(c);
    return fd < 0 ? fd : -EEXIST;
}

int change_tree_dir(struct change *c, int dir, const char *name, uid_t uid, gid_t gid) {
    bool made;
    int fd = dir_make(dir, name, uid, gid, &made);
    int error = sync_later(c, fd);
    return error ? error : fd;
}

int change_tree_file(struct change *c, int dir, const char *name, struct span data, uid_t uid,
                     gid_t gid) {
    int fd = file_new(dir, name, 0600, uid, gid);
    int error = sync_later(c, fd);
    return error ? error : fd_write(fd, data);
}

int change_drop_tree(struct change *c, int dir, const char *name) {
    int at = dir_number(c, dir);
    int error = at < 0 ? at : begin(c, 0);
    return error ? error : add_step(c, DROP_TREE, at, name) ? 0 : -errno;
}

/* --- doing it -----------------------------------------------------------------------------------
 */

/* Closes a directory in which something was put, once it is synced. */
static int leave_place(struct change *c, int fd) {
    struct stat st;
    if (fd < 0)
        return 0;
    int error = fstat(fd, &st) ? -errno : 0;
    bool is_dir = !error && first_of(c, &st) < c->dir_count; /* which is synced as such */
    if (!error && !is_dir && c->open_count < PLACES_OPEN)
        return sync_later(c, fd);
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
    int fd = journal_name(prefix_of(c), PLACE, tmp) ? dir_open(dir, ".", false) : -EINVAL;
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
    int error = identify(place, name, &there);
    if (!error && is_there(&there))
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
        error = again ? identify(dir, f->tmp, &tmp) : 0;
        if (error || (again && !is_there(&tmp))) /* it is there already */
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

/* One step of a file. `again`: it may have been done, or what it was to replace is another now. */
static int put_file(struct change *c, struct change_file *f, bool again, bool first) {
    int dir = c->dirs[f->dir].fd;
    struct identity now, tmp;
    if (dir < 0)
        return 0;
    if (again) {
        int error = identify(dir, f->name, &now);
        if (!error && f->step == REPLACE)
            error = identify(dir, f->tmp, &tmp);
        if (error || (f->step == REPLACE && !is_there(&tmp)))
            return error;
        if (!same(&now, &f->old))
            return first && f->step == REPLACE ? STALE : 0;
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
            if ((f->step == REPLACE || f->step == REMOVE) && is_named(n, f->name))
                error = put_file(c, f, again, n == names);
        }
    return error;
}

/* Sets the trees aside that go. */
static int put_aside(struct change *c, bool again) {
    for (size_t i = 0; i < c->count; i++) {
        struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        struct identity now;
        if (f->step != DROP_TREE || dir < 0)
            continue;
        int error = again ? identify(dir, f->name, &now) : 0;
        if (!error && (!again || same(&now, &f->old)) && renameat(dir, f->name, dir, f->tmp) &&
            errno != ENOENT)
            error = -errno;
        if (error)
            return error;
    }
    return 0;
}

static int put_all(struct change *c, bool again) {
    int error = put_trees(c, again);
    if (!error)
        error = put_files(c, again);
    return error ? error : put_aside(c, again);
}

/* The second wave: the directories in which something has changed, which may be the same by several
 * names; the journal's own is the first. */
static int sync_dirs(struct change *c, size_t from) {
    int error = 0;
    for (size_t i = from; i < c->dir_count && !error; i++) {
        struct stat st = {.st_dev = c->dirs[i].device, .st_ino = c->dirs[i].inode};
        if (c->dirs[i].fd >= 0 && first_of(c, &st) == i)
            error = fd_sync(c->dirs[i].fd);
    }
    return error;
}

static int sync_open(struct change *c) {
    int error = 0;
    for (size_t i = 0; i < c->open_count && !error; i++)
        error = fd_sync(c->open[i]);
    close_open(c);
    return error;
}

/* Removes what was set aside; -ENOTEMPTY where it can't. On one file system it is gone before the
 * journal is. */
static int clear_aside(const struct change *c) {
    bool scattered = is_scattered(c);
    int error = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        if (f->step != DROP_TREE || dir < 0)
            continue;
        int here = tree_remove(dir, f->tmp);
        if (!here && scattered)
            here = fd_sync(dir);
        if (here && here != -ENOENT)
            error = -ENOTEMPTY;
    }
    return error;
}

/* The first wave. Before the first is waited for, all are on their way to the disk, so that the
 * file system takes them together instead of one after the other. */
static int sync_new(struct change *c, bool told) {
    int error = 0;
    for (size_t i = 0; i < c->open_count; i++)
        (void)sync_file_range(c->open[i], 0, 0, SYNC_FILE_RANGE_WRITE);
    for (size_t i = 0; i < c->count; i++)
        if (c->files[i].fd >= 0)
            (void)sync_file_range(c->files[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    if (told && fsync(c->fd))
        error = -errno;
    for (size_t i = 0; i < c->count && !error; i++)
        if (c->files[i].fd >= 0)
            error = fd_sync(c->files[i].fd);
    return error ? error : sync_open(c);
}

/* The same of a part: the whole will. */
static int hand_over(struct change *c) {
    int error = 0;
    for (size_t i = 0; i < c->open_count; i++) {
        int here = sync_later(c->whole, c->open[i]);
        error = error ? error : here;
    }
    c->open_count = 0;
    for (size_t i = 0; i < c->count; i++) {
        int here = c->files[i].fd < 0 ? 0 : sync_later(c->whole, c->files[i].fd);
        c->files[i].fd = -1;
        error = error ? error : here;
    }
    return error;
}

/* Before the rename nothing has changed, after it everything has. On several file systems what is
 * renamed in one must not be seen before what is in another. */
static int decide(struct change *c) {
    bool scattered = is_scattered(c);
    int error = scattered ? sync_dirs(c, 1) : 0;
    if (!error)
        error = turn(&c->journal, BEGUN, READY);
    c->decided = !error;
    return !error && scattered ? fd_sync(c->journal.dir) : error;
}

static int open_below(int dir, struct span path) {
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

/* Removes the directory that was made for a tree to go to. */
static void remove_place(int dir, const struct change_file *f) {
    size_t len = place_len(f);
    const char *slash = memrchr(f->name, '/', len);
    size_t above = slash ? (size_t)(slash - f->name) : 0, from = slash ? above + 1 : 0;
    char *name = span_dup((struct span){f->name + from, len - from});
    int in = name ? open_below(dir, (struct span){f->name, above}) : -1;
    if (in >= 0)
        (void)unlinkat(in, name, AT_REMOVEDIR);
    fd_close(in);
    free(name);
}

/* Takes trees back from where they were put: no file has been replaced yet. */
static void take_back(struct change *c) {
    for (size_t i = 0; i < c->count; i++) {
        struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        const char *name;
        struct identity now;
        int place = f->step == ADD_TREE && dir >= 0 ? open_place(c, dir, f, false, &name) : -1;
        if (place >= 0 && !identify(place, name, &now) && same(&now, &f->old))
            (void)renameat(place, name, dir, f->tmp);
        fd_close(place);
        if (f->made)
            remove_place(dir, f);
    }
}

/* In a tree that nobody sees yet. */
static int make_part(struct change *c) {
    int error = hand_over(c);
    if (!error)
        error = put_all(c, false);
    change_free(c);
    return error;
}

int change_make(struct change *c) {
    bool several = c->count > 1 || (c->count && c->files[0].step >= ADD_TREE);
    bool told = c->begun && several;
    if (c->whole)
        return make_part(c);
    int error = told ? tell(c) : 0;
    if (!error)
        error = sync_new(c, told);
    if (!error && told)
        error = decide(c);
    if (!error)
        error = put_all(c, false);
    bool too_late = c->moved && told;
    if (error && too_late)
        error = put_all(c, true);
    if (error && !too_late) {
        change_drop(c);
        return error;
    }
    if (!error)
        error = sync_dirs(c, 0);
    if (!error)
        error = sync_open(c);
    if (!error)
        error = clear_aside(c);
    if (c->begun && (!error || !told)) {
        int ended = end_journal(&c->journal, told ? READY : BEGUN);
        error = error ? error : ended;
    }
    change_free(c);
    return error;
}

void change_drop(struct change *c) {
    if (c->decided) {
        take_back(c);
        (void)turn(&c->journal, READY, BEGUN);
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct change_file *f = &c->files[i];
        int dir = c->dirs[f->dir].fd;
        if (f->step == ADD_TREE)
            (void)tree_remove(dir, f->tmp);
        else if (f->step == REPLACE)
            (void)unlinkat(dir, f->tmp, 0);
    }
    if (c->begun)
        (void)end_journal(&c->journal, BEGUN);
    change_free(c);
}

/* --- after a crash ------------------------------------------------------------------------------
 *
 * What a journal says is not believed: it may lie in a directory of the mail user's while we are
 * root. It names no files but those that a change under its lock may replace, and directories that
 * are still the ones they were, below its own where it is not root's. */

static bool take_number(struct span *line, unsigned long long *out) {
    struct span digits;
    *out = 0;
    if (!span_field(line, ' ', &digits) || !digits.len || digits.len > 20)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return false;
        *out = *out * 10 + (unsigned long long)(digits.data[i] - '0');
    }
    return true;
}

static bool take_identity(struct span *line, struct identity *out) {
    return take_number(line, &out->ino) && take_number(line, &out->size) &&
           take_number(line, &out->sec) && take_number(line, &out->nsec);
}

/* 0, -EBADMSG for what no change has written, or -errno. */
static int load_dir(struct change *c, struct span line) {
    struct identity told, now;
    if (!take_identity(&line, &told))
        return -EBADMSG;
    bool outside = line.len && line.data[0] == '/';
    if (!is_dir_path(&c->journal, line) || c->dir_count > DIRS_MAX)
        return -EBADMSG;
    char *path = span_dup(line);
    int fd = !path ? -ENOMEM : outside ? walk_dir(AT_FDCWD, path) : -1;
    if (path && !outside)
        fd = open_below(c->journal.dir, line);
    int error = fd >= 0 ? identify(fd, "", &now) : is_gone(fd) ? 0 : fd;
    if (!error && fd >= 0 && !same(&told, &now)) {
        fd_close(fd);
        fd = -1;
    }
    if (!error)
        error = change_in(c, fd >= 0 ? fd : -1, path, true);
    if (error)
        fd_close(fd);
    free(path);
    return error;
}

static int load_step(struct change *c, enum step step, struct span line) {
    unsigned long long dir;
    struct identity old;
    if (!take_number(&line, &dir) || !take_identity(&line, &old) || dir >= c->dir_count)
        return -EBADMSG;
    char *name = span_dup(line);
    struct change_file *f = name ? add_step(c, step, (int)dir, name) : NULL;
    int error = f ? 0 : name && errno == EINVAL ? -EBADMSG : -ENOMEM;
    const struct journal_name *n = f && step <= REMOVE ? find_name(&c->journal, name) : NULL;
    struct buf lock = {0};
    if (f)
        f->old = old;
    if (n && n->has_lock && c->dirs[dir].fd >= 0) {
        buf_fmt(&lock, "%s.lock", name);
        error = buf_c(&lock) ? lock_file(c->dirs[dir].fd, lock.data, &f->lock) : -ENOMEM;
    }
    buf_free(&lock);
    free(name);
    return error;
}

static int load_line(struct change *c, struct span line) {
    struct span word;
    if (!span_field(&line, ' ', &word))
        return -EBADMSG;
    if (span_is(word, "in"))
        return load_dir(c, line);
    for (int i = 0; i < STEPS; i++)
        if (span_is(word, words[i]))
            return load_step(c, (enum step)i, line);
    return -EBADMSG;
}

/* Reads the journal of that name: 1, 0 where there is none, -EBADMSG, or -errno. The change has
 * what could be read in every case. */
static int load(struct change *c, const char *which) {
    char name[32];
    struct stat st;
    struct buf text = {0};
    if (!journal_name(c->journal.prefix, which, name))
        return -EINVAL;
    int fd = file_open(c->journal.dir, name, &st);
    if (fd == -ENOENT)
        return 0;
    if (fd == -ELOOP || fd == -EISDIR)
        return -EBADMSG;
    int error = fd < 0                     ? fd
                : st.st_size > JOURNAL_MAX ? -EBADMSG
                                           : fd_read_sized(fd, st.st_size, &text);
    fd_close(fd);
    struct span rest = {text.data, text.len}, line;
    if (!error)
        error = c->dir_count ? 0 : add_dir(c, c->journal.dir, NULL, false);
    while (!error && span_field(&rest, '\0', &line))
        error = load_line(c, line);
    buf_free(&text);
    return error ? error : 1;
}

bool change_is_pending(int dir, const char *prefix) {
    char name[32];
    struct stat st;
    return journal_name(prefix, READY, name) && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_journal(const char *rest) {
    return !strcmp(rest, BEGUN) || !strcmp(rest, READY);
}

/* 0 for an error that would be the same at the next try. */
static int past_mending(int error) {
    return is_gone(error) || error == -EPERM || error == -EACCES || error == -ENOTEMPTY ? 0 : error;
}

/* Removes what begins with the prefix, save the journal. What we may not remove is left. */
static int sweep_dir(int dir, const char *prefix, bool own) {
    size_t len = strlen(prefix);
    struct dirent *entry;
    int fd = dir_open(dir, ".", false), error = 0;
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        fd_close(fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    while (!error && (entry = dir_next(list, &error)))
        if (strncmp(entry->d_name, prefix, len) == 0 && !(own && is_journal(entry->d_name + len)))
            error = past_mending(tree_remove(dir, entry->d_name));
    closedir(list);
    return error;
}

static int sweep_known(const struct journal *j, const struct known_dir *known) {
    struct buf path = {0};
    if (!known->base)
        return 0;
    buf_fmt(&path, "%s/%s", known->base, known->name);
    int dir = buf_c(&path) ? walk_dir(AT_FDCWD, path.data) : -ENOMEM;
    int error = dir < 0 ? past_mending(dir) : sweep_dir(dir, j->prefix, false);
    fd_close(dir);
    buf_free(&path);
    return error;
}

static int sweep(const struct change *c) {
    const struct journal *j = &c->journal;
    int error = sweep_dir(j->dir, j->prefix, true);
    for (size_t i = 1; i < c->dir_count && !error; i++)
        if (c->dirs[i].fd >= 0)
            error = sweep_dir(c->dirs[i].fd, j->prefix, false);
    for (int i = 0; i < 2 && !error; i++)
        error = sweep_known(j, &j->known[i]);
    return error;
}

/* Does what was decided; 1, or 0 where others have changed the first of the files since. */
static int redo(struct change *c) {
    /* Who was killed may not have come to it. */
    int error = is_scattered(c) ? fd_sync(c->journal.dir) : 0;
    if (!error)
        error = put_all(c, true);
    if (error == STALE) {
        take_back(c);
        return 0;
    }
    if (!error)
        error = sync_dirs(c, 0);
    if (!error)
        error = sync_open(c);
    return error ? error : 1;
}

/* Whatever else of that name stands there is in the way of the next journal. */
static int clear_name(const struct journal *j, const char *which) {
    char name[32];
    int error = journal_name(j->prefix, which, name) ? tree_remove(j->dir, name) : -EINVAL;
    return error == -ENOENT ? 0 : error;
}

int change_recover(const struct journal *j) {
    struct change c = change_of(*j);
    struct stat st;
    char begun[32];
    int done = 0, error = 0;
    bool pending = change_is_pending(j->dir, j->prefix);
    if (!journal_name(j->prefix, BEGUN, begun))
        return -EINVAL;
    if (!pending && fstatat(j->dir, begun, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -errno;
    if (pending) {
        error = load(&c, READY);
        if (error > 0)
            error = done = redo(&c);
        if (error == -EBADMSG)
            error = clear_name(j, READY);
        else if (error >= 0) {
            error = clear_name(j, BEGUN);
            if (!error)
                error = turn(j, READY, BEGUN);
        }
    } else {
        error = load(&c, BEGUN);
        if (error == -EBADMSG || error == -EACCES || error > 0)
            error = 0;
    }
    if (!error)
        error = sweep(&c);
    if (!error)
        error = clear_name(j, BEGUN);
    change_free(&c);
    return error ? error : done > 0;
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
