/* The journal of a change: what it says, and what is made of it after a crash. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "change_parts.h"
#include "walk.h"

#define JOURNAL_MAX (1L << 20)
#define JOURNAL_MAX_OF_MANY (64L << 20) /* where it can have any number of files */
#define DIRS_MAX 64           /* each takes a descriptor, which a journal that lies could use up */
#define OUTSIDE "maildirsize" /* the one file that is changed in an owner's directories outside */

static const char *const words[] = {"replace", "remove", "add", "drop"};
#define STEPS 4

/* --- telling files apart ------------------------------------------------------------------------
 */

int identity_read(int dir, const char *name, struct identity *out) {
    struct statx st;
    unsigned int what = STATX_INO | STATX_TYPE | STATX_SIZE | STATX_MTIME | STATX_BTIME;
    *out = (struct identity){0};
    if (statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, what, &st))
        return errno == ENOENT ? 0 : -errno;
    /* What is in a directory changes; when it was made does not. */
    bool is_dir = S_ISDIR(st.stx_mode);
    struct statx_timestamp time = is_dir && st.stx_mask & STATX_BTIME ? st.stx_btime : st.stx_mtime;
    *out = (struct identity){st.stx_ino, is_dir ? 0 : st.stx_size,
                             (unsigned long long)time.tv_sec & INT64_MAX, time.tv_nsec,
                             st.stx_attributes & STATX_ATTR_MOUNT_ROOT};
    return 0;
}

bool identity_same(const struct identity *a, const struct identity *b) {
    return a->ino == b->ino && a->size == b->size && a->sec == b->sec && a->nsec == b->nsec;
}

/* --- what it may say ----------------------------------------------------------------------------
 */

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

bool journal_takes_dir(struct span path) {
    return (path.len && path.data[0] == '/') || is_below(path);
}

bool journal_name_is(const struct journal_name *n, const char *name) {
    size_t len = strlen(n->name);
    return n->name[len - 1] == '*' ? strncmp(n->name, name, len - 1) == 0 : !strcmp(n->name, name);
}

static off_t largest(const struct journal *j) {
    for (const struct journal_name *n = j->names; n->name; n++)
        if (strchr(n->name, '*'))
            return JOURNAL_MAX_OF_MANY;
    return JOURNAL_MAX;
}

static const struct journal_name *find_name(const struct journal *j, const char *name) {
    for (const struct journal_name *n = j->names; n->name; n++)
        if (journal_name_is(n, name))
            return n;
    return NULL;
}

bool journal_allows(const struct journal *j, enum step step, const char *name, bool outside) {
    const char *slash = strrchr(name, '/');
    if (!is_below(span_of(name)) || (slash && step != ADD_TREE) || (outside && step == ADD_TREE))
        return false;
    if (step == REPLACE || step == REMOVE)
        return find_name(j, name) && !(outside && strcmp(name, OUTSIDE));
    return strncmp(slash ? slash + 1 : name, j->prefix, strlen(j->prefix)) != 0;
}

/* --- writing it ---------------------------------------------------------------------------------
 */

bool journal_file(const char *prefix, const char *end, char out[32]) {
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

static int put_dirs(struct change *c, struct buf *out) {
    for (size_t i = 1; i < c->dir_count; i++) {
        struct change_dir *d = &c->dirs[i];
        if (d->told)
            continue;
        int error = identity_read(d->fd, "", &d->id);
        if (error)
            return error;
        buf_str(out, "in");
        put_identity(out, &d->id);
        put_name(out, d->path);
        d->told = true;
    }
    return out->failed ? -ENOMEM : 0;
}

static int write_text(struct change *c, const struct buf *text) {
    if (text->failed)
        return -ENOMEM;
    return fd_write(c->fd, (struct span){text->data, text->len});
}

/* Of its own directory the journal's name tells; those that are known are looked into, if their
 * file system tells things in their order. */
int journal_begin(struct change *c, int dir) {
    char name[32];
    struct buf text = {0};
    if (!c->journal.prefix)
        return 0;
    if (!c->begun) {
        if (!journal_file(c->journal.prefix, BEGUN, name))
            return -EINVAL;
        c->fd = file_new(c->journal.dir, name, 0600, c->journal.uid, c->journal.gid);
        if (c->fd < 0)
            return c->fd;
        c->begun = true;
    }
    if (!dir || c->dirs[dir].told || (c->dirs[dir].known && !change_is_elsewhere(c, (size_t)dir)))
        return 0;
    int error = put_dirs(c, &text);
    if (!error)
        error = write_text(c, &text);
    if (!error && fsync(c->fd))
        error = -errno;
    buf_free(&text);
    return error;
}

int journal_tell(struct change *c) {
    struct buf text = {0};
    int error = put_dirs(c, &text);
    for (size_t i = 0; i < c->count && !error; i++) {
        struct change_file *f = &c->files[i];
        error = identity_read(c->dirs[f->dir].fd, f->step == ADD_TREE ? f->tmp : f->name, &f->old);
        if (!error && f->old.mounted) /* it could not be done once it is decided */
            error = -EBUSY;
        buf_fmt(&text, "%s %zu", words[f->step], f->dir);
        put_identity(&text, &f->old);
        put_name(&text, f->name);
    }
    if (!error && (off_t)text.len > largest(&c->journal)) /* it could not be read again */
        error = -EFBIG;
    if (!error)
        error = write_text(c, &text);
    buf_free(&text);
    return error;
}

int journal_turn(const struct journal *j, const char *from, const char *to) {
    char old[32], new[32];
    if (!journal_file(j->prefix, from, old) || !journal_file(j->prefix, to, new))
        return -EINVAL;
    return renameat(j->dir, old, j->dir, new) ? -errno : 0;
}

int journal_end(const struct journal *j, const char *which) {
    char name[32];
    if (!j->prefix || !journal_file(j->prefix, which, name))
        return 0;
    return unlinkat(j->dir, name, 0) && errno != ENOENT ? -errno : 0;
}

/* --- after a crash ------------------------------------------------------------------------------
 *
 * What a journal says is not believed: it may lie in a directory of the mail user's while we are
 * root. It names no files but those that a change under its lock may replace, and directories that
 * are still the ones they were: below its own, or its owner's where it is not root's. */

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
    if (!journal_takes_dir(line) || c->dir_count > DIRS_MAX)
        return -EBADMSG;
    if (outside && !c->journal.anywhere && !find_name(&c->journal, OUTSIDE))
        return -EBADMSG;
    char *path = span_dup(line);
    int fd = !path        ? -ENOMEM
             : !outside   ? change_open_below(c->journal.dir, line)
             : c->foreign ? -ELOOP
                          : walk_dir(AT_FDCWD, path);
    int error = fd >= 0               ? identity_read(fd, "", &now)
                : c->journal.anywhere ? (is_gone(fd) ? 0 : fd)
                                      : past_mending(fd);
    if (!error && fd >= 0 && !identity_same(&told, &now)) {
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

static bool is_locked(const struct change *c, const struct change_file *f) {
    const struct change_dir *in = &c->dirs[f->dir];
    for (size_t i = 0; i < c->count; i++) {
        const struct change_dir *d = &c->dirs[c->files[i].dir];
        if (c->files[i].lock.fd >= 0 && !strcmp(c->files[i].name, f->name) &&
            d->device == in->device && d->inode == in->inode)
            return true;
    }
    return false;
}

static int load_step(struct change *c, enum step step, struct span line) {
    unsigned long long dir;
    struct identity old;
    if (!take_number(&line, &dir) || !take_identity(&line, &old) || dir >= c->dir_count)
        return -EBADMSG;
    char *name = span_dup(line);
    struct change_file *f = name ? change_add_step(c, step, (int)dir, name) : NULL;
    int error = f ? 0 : name && errno == EINVAL ? -EBADMSG : -ENOMEM;
    const struct journal_name *n = f && step <= REMOVE ? find_name(&c->journal, name) : NULL;
    struct buf lock = {0};
    if (f)
        f->old = old;
    if (n && n->has_lock && is_locked(c, f))
        error = -EBADMSG;
    else if (n && n->has_lock && c->dirs[dir].fd >= 0) {
        buf_fmt(&lock, "%s.lock", name);
        error = buf_c(&lock) ? lock_file(c->dirs[dir].fd, lock.data, &f->lock) : -ENOMEM;
    }
    if (error == -EACCES && !c->journal.anywhere) /* root's, as vpopmail leaves it; ours is held */
        error = 0;
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

static bool is_owners(const struct journal *j, uid_t uid) {
    return uid == j->uid || uid == 0 || uid == geteuid();
}

/* Reads the journal of that name: 1, 0 where there is none, -EBADMSG, or -errno. The change has
 * what could be read in every case. */
static int load(struct change *c, const char *which) {
    char name[32];
    struct stat st;
    struct buf text = {0};
    if (!journal_file(c->journal.prefix, which, name))
        return -EINVAL;
    int fd = file_open(c->journal.dir, name, &st);
    if (fd == -ENOENT)
        return 0;
    if (fd == -ELOOP || fd == -EISDIR)
        return -EBADMSG;
    int error = fd < 0 ? fd : fd_read_most(fd, st.st_size, largest(&c->journal), &text);
    if (error == -EFBIG)
        error = -EBADMSG;
    fd_close(fd);
    struct span rest = {text.data, text.len}, line;
    if (!error)
        error = c->dir_count ? 0 : change_add_dir(c, c->journal.dir, NULL, false);
    if (!error)
        c->foreign = !c->journal.anywhere &&
                     !(is_owners(&c->journal, st.st_uid) && is_owners(&c->journal, c->dirs[0].uid));
    while (!error && span_field(&rest, '\0', &line))
        error = load_line(c, line);
    buf_free(&text);
    return error ? error : 1;
}

/* Whether there is a journal of that name: 1, 0, or -errno. */
static int is_there(int dir, const char *prefix, const char *which) {
    char name[32];
    struct stat st;
    if (!journal_file(prefix, which, name))
        return -EINVAL;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return errno == ENOENT ? 0 : -errno;
}

/* Where it can't be told, who looks into it will see. */
bool change_is_pending(int dir, const char *prefix) {
    return is_there(dir, prefix, READY) != 0;
}

static bool is_journal(const char *rest) {
    return !strcmp(rest, BEGUN) || !strcmp(rest, READY);
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

/* Outside nothing goes but what was to be put in place, in a directory of the owner's. */
static int sweep_outside(const struct change *c, const struct change_dir *d) {
    char tmp[32];
    if (d->uid != c->journal.uid)
        return 0;
    if (!journal_file(c->journal.prefix, OUTSIDE, tmp))
        return -EINVAL;
    return unlinkat(d->fd, tmp, 0) && errno != EISDIR ? past_mending(-errno) : 0;
}

static int sweep(const struct change *c) {
    const struct journal *j = &c->journal;
    int error = sweep_dir(j->dir, j->prefix, true);
    for (size_t i = 1; i < c->dir_count && !error; i++)
        if (c->dirs[i].fd >= 0)
            error = change_is_outside(c, i) ? sweep_outside(c, &c->dirs[i])
                                            : sweep_dir(c->dirs[i].fd, j->prefix, false);
    for (int i = 0; i < 2 && !error; i++)
        error = sweep_known(j, &j->known[i]);
    return error;
}

/* Whether nothing that a change has written meets with such an error, at any try. */
static bool is_nonsense(int error) {
    return error == -EBADMSG || error == -ENAMETOOLONG || error == -EINVAL || error == -EISDIR ||
           error == -ENOTDIR || error == -ENOTEMPTY || error == -EEXIST;
}

/* Does what was decided; 1, or 0 where others have changed the first of the files since. */
static int redo(struct change *c) {
    /* Who was killed may not have come to it. */
    int error = change_is_scattered(c) ? fd_sync(c->journal.dir) : 0;
    if (!error)
        error = change_put_all(c, true);
    if (error == STALE)
        return change_take_back(c);
    if (!error)
        error = change_sync_changed(c);
    if (!error)
        error = past_mending(change_clear_standing(c, true));
    return error ? error : 1;
}

/* Whatever else of that name stands there is in the way of the next journal. */
static int clear_name(const struct journal *j, const char *which) {
    char name[32];
    int error = journal_file(j->prefix, which, name) ? tree_remove(j->dir, name) : -EINVAL;
    return error == -ENOENT ? 0 : error;
}

int change_recover(const struct journal *j) {
    struct change c = change_of(*j);
    int done = 0, error = 0;
    int pending = is_there(j->dir, j->prefix, READY);
    int begun = pending ? pending : is_there(j->dir, j->prefix, BEGUN);
    if (begun <= 0)
        return begun;
    if (pending) {
        error = load(&c, READY);
        if (error > 0)
            error = done = redo(&c);
        if (is_nonsense(error))
            error = clear_name(j, READY);
        else if (error >= 0) {
            error = clear_name(j, BEGUN);
            if (!error)
                error = journal_turn(j, READY, BEGUN);
        }
    } else {
        error = load(&c, BEGUN);
        if (is_nonsense(error) || error == -EACCES || error > 0)
            error = 0;
    }
    if (!error)
        error = sweep(&c);
    if (!error)
        error = clear_name(j, BEGUN);
    change_free(&c);
    return error ? error : done > 0;
}
