/* vpasswd: a line a user, `name:hash:kind:flags:gecos:dir:quota`; vpasswd.cdb: name → the rest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adding.h"
#include "cdb.h"
#include "store.h"

#define TEXT "vpasswd"
#define CDB "vpasswd.cdb"
#define LOCK ".vpasswd.lock"
#define MODE 0600
#define PREFIX ".tmp:"
#define FIELDS 6 /* after the name */

/* What is changed under the lock; maildirsize in users' directories. */
static const struct journal_name names[] = {{TEXT, false},           {CDB, false},
                                            {".dir-control", false}, {".dir_control_free", true},
                                            {"maildirsize", false},  {NULL, false}};

void account_free(struct account *a) {
    buf_free(&a->text);
    *a = (struct account){0};
}

static bool parse_text(struct account *a) {
    struct span rest = {a->text.data, a->text.len}, f[FIELDS];
    if (!span_field(&rest, ':', &a->name))
        return false;
    for (int i = 0; i < FIELDS; i++) {
        if (i < FIELDS - 1 && !memchr(rest.data, ':', rest.len))
            return false;
        f[i] = (struct span){rest.data, 0};
        (void)span_field(&rest, ':', &f[i]);
    }
    a->hash = f[0];
    a->gecos = f[3];
    a->dir = f[4];
    a->quota = f[5];
    return span_id(f[1], &a->kind) && span_id(f[2], &a->flags);
}

bool account_parse(struct account *a, struct span line) {
    *a = (struct account){0};
    buf_span(&a->text, line);
    return buf_c(&a->text) && line.len && parse_text(a);
}

bool account_make(struct account *a, struct span name, struct span hash, unsigned int kind,
                  unsigned int flags, struct span gecos, struct span dir, struct span quota) {
    *a = (struct account){0};
    buf_span(&a->text, name);
    buf_char(&a->text, ':');
    buf_span(&a->text, hash);
    buf_fmt(&a->text, ":%u:%u:", kind, flags);
    buf_span(&a->text, gecos);
    buf_char(&a->text, ':');
    buf_span(&a->text, dir);
    buf_char(&a->text, ':');
    buf_span(&a->text, quota);
    return buf_c(&a->text) && parse_text(a);
}

/* --- looking up ---------------------------------------------------------------------------------
 */

static int rebuild_if_missing(const struct store *s, bool locked) {
    struct lock lock = LOCK_NONE;
    int error = locked ? 0 : store_lock(s, &lock);
    if (!error && faccessat(s->dir, CDB, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        error = store_rebuild(s);
    lock_release(&lock);
    return error;
}

/* The account of a record; 1, 0 for one that is not sound, or -ENOMEM. */
static int from_record(struct span name, struct span value, struct account *out) {
    *out = (struct account){0};
    buf_span(&out->text, name);
    buf_char(&out->text, ':');
    buf_span(&out->text, value);
    int found = buf_c(&out->text) ? parse_text(out) : -ENOMEM;
    if (found <= 0)
        account_free(out);
    return found;
}

static int open_cdb(const struct store *s, bool locked) {
    int fd = file_open(s->dir, CDB, NULL);
    if (fd == -ENOENT) {
        int error = rebuild_if_missing(s, locked);
        fd = error ? error : file_open(s->dir, CDB, NULL);
    }
    return fd;
}

int store_open_cdb(const struct store *s) {
    return open_cdb(s, false);
}

int store_find_at(int fd, const char *name, struct account *out) {
    struct buf value = {0};
    *out = (struct account){0};
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int found = cdb_find(fd, span_of(name), &value);
    if (found > 0)
        found = from_record(span_of(name), (struct span){value.data, value.len}, out);
    buf_free(&value);
    return found;
}

static int find(const struct store *s, const char *name, bool locked, struct account *out) {
    int fd = open_cdb(s, locked), found = store_find_at(fd, name, out);
    fd_close(fd);
    return found;
}

int store_find(const struct store *s, const char *name, struct account *out) {
    return find(s, name, false, out);
}

int store_find_in(struct span file, struct span name, struct account *out) {
    struct span value;
    int found = cdb_find_in(file, name, &value);
    return found > 0 ? from_record(name, value, out) : found;
}

int store_find_locked(const struct store *s, const char *name, struct account *out) {
    return find(s, name, true, out);
}

int store_open(const struct store *s) {
    return file_open(s->dir, TEXT, NULL);
}

/* --- changing -----------------------------------------------------------------------------------
 */

static struct journal journal_of(const struct store *s) {
    return (struct journal){
        .dir = s->dir, .prefix = PREFIX, .names = names, .uid = s->uid, .gid = s->gid};
}

struct change store_change(const struct store *s) {
    return change_of(journal_of(s));
}

int store_lock(const struct store *s, struct lock *lock) {
    struct journal journal = journal_of(s);
    int error = lock_file(s->dir, LOCK, lock);
    if (error)
        return error;
    error = change_recover(&journal);
    if (error >= 0)
        error = adding_clear(s);
    if (error < 0)
        lock_release(lock);
    return error < 0 ? error : 0;
}

bool store_is_pending(const struct store *s) {
    return change_is_pending(s->dir, PREFIX);
}

void store_repair(const struct store *s) {
    struct journal journal = journal_of(s);
    struct lock lock = LOCK_NONE;
    if (store_is_pending(s) && !lock_file_now(s->dir, LOCK, &lock))
        (void)change_recover(&journal);
    lock_release(&lock);
}

/* The files as they are to be, written side by side in one pass over the old vpasswd. */
struct copies {
    struct writer text; /* .fd -1: the cdb alone */
    struct cdb_maker cdb;
};

struct span store_name(struct span line) {
    struct span name = {line.data, 0};
    (void)span_field(&line, ':', &name);
    return name;
}

static void put_line(struct copies *out, struct span name, struct span line) {
    if (name.len && name.len < line.len)
        cdb_add(&out->cdb, name, (struct span){line.data + name.len + 1, line.len - name.len - 1});
    if (out->text.fd < 0)
        return;
    char *to = writer_room(&out->text, line.len + 1);
    if (to) {
        memcpy(to, line.data, line.len);
        to[line.len] = '\n';
    }
}

static int copies_begin(const struct store *s, struct change *c, struct copies *out,
                        bool cdb_only) {
    *out = (struct copies){.text = {.fd = -1}};
    int fd = cdb_only ? 0 : change_open(c, s->dir, TEXT, MODE, s->uid, s->gid);
    if (!cdb_only)
        out->text.fd = fd;
    if (fd >= 0)
        fd = change_open(c, s->dir, CDB, MODE, s->uid, s->gid);
    if (fd >= 0)
        cdb_begin(&out->cdb, fd);
    return fd < 0 ? fd : 0;
}

static int copies_end(struct copies *out) {
    int error = out->text.fd < 0 ? 0 : writer_end(&out->text), cdb_error = cdb_end(&out->cdb);
    return error ? error : cdb_error;
}

int store_rebuild(const struct store *s) {
    struct change c = store_change(s);
    struct copies out;
    struct lines in = {.fd = file_open(s->dir, TEXT, NULL)};
    struct span line;
    if (in.fd < 0)
        return in.fd == -ENOENT ? 0 : in.fd;
    int error = copies_begin(s, &c, &out, true), more = error;
    if (!error) {
        while ((more = lines_next(&in, &line)) > 0)
            put_line(&out, store_name(line), line);
        error = copies_end(&out);
    }
    if (more < 0)
        error = more;
    if (!error)
        error = change_make(&c);
    change_drop(&c);
    lines_free(&in);
    fd_close(in.fd);
    return error;
}

/* What is to happen to lines of users: those of `with`, in order of their names, take the place of
 * the lines of the same names or, to be added, stand before the first of a greater name; without
 * any, the line of `name` goes. */
struct edit {
    struct span name;
    const struct span *with;
    size_t count, placed;
    bool add;
    bool there; /* a line of such a name */
};

static void put_next(struct edit *e, struct copies *out) {
    struct span line = e->with[e->placed++];
    put_line(out, store_name(line), line);
}

static int compare_name(const void *name, const void *line) {
    return span_cmp(*(const struct span *)name, store_name(*(const struct span *)line));
}

static bool concerns(const struct edit *e, struct span name) {
    if (!e->count)
        return span_cmp(name, e->name) == 0;
    return bsearch(&name, e->with, e->count, sizeof *e->with, compare_name) != NULL;
}

static void pass_on(struct edit *e, struct copies *out, struct span line) {
    struct span name = store_name(line);
    bool concerned = concerns(e, name);
    while (e->add && e->placed < e->count && compare_name(&name, &e->with[e->placed]) > 0)
        put_next(e, out);
    if (concerned && e->count && !e->add) {
        e->placed = 0;
        put_next(e, out);
    } else if (!concerned || e->add) {
        put_line(out, name, line);
    }
    e->there = e->there || concerned;
}

static int edit(const struct store *s, struct change *c, struct edit *e) {
    struct copies out;
    struct lines in = {.fd = file_open(s->dir, TEXT, NULL)};
    struct span line;
    int more = 0;
    if (in.fd < 0 && in.fd != -ENOENT)
        return in.fd;
    in.ended = in.fd < 0;
    int error = copies_begin(s, c, &out, false);
    if (!error) {
        while ((more = lines_next(&in, &line)) > 0)
            pass_on(e, &out, line);
        while (e->add && e->placed < e->count)
            put_next(e, &out);
        error = copies_end(&out);
    }
    if (more < 0)
        error = more;
    if (!error && e->there == e->add)
        error = e->add ? -EEXIST : -ENOENT;
    lines_free(&in);
    fd_close(in.fd);
    return error;
}

int store_add(const struct store *s, struct change *c, const struct account *a) {
    struct span line = {a->text.data, a->text.len};
    return store_add_many(s, c, &line, 1);
}

int store_add_many(const struct store *s, struct change *c, const struct span *lines,
                   size_t count) {
    return edit(s, c, &(struct edit){.with = lines, .count = count, .add = true});
}

int store_replace(const struct store *s, struct change *c, const struct account *a) {
    struct span line = {a->text.data, a->text.len};
    return edit(s, c, &(struct edit){.with = &line, .count = 1});
}

int store_remove(const struct store *s, struct change *c, struct span name) {
    return edit(s, c, &(struct edit){.name = name});
}
