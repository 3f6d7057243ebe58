/* vpasswd: a line a user, `name:hash:kind:flags:gecos:dir:quota`; vpasswd.cdb: name → the rest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdb.h"
#include "store.h"

#define TEXT "vpasswd"
#define CDB "vpasswd.cdb"
#define LOCK ".vpasswd.lock"
#define MODE 0600
#define FIELDS 6 /* after the name */

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

static int find(const struct store *s, const char *name, bool locked, struct account *out) {
    struct buf value = {0};
    *out = (struct account){0};
    int fd = file_open(s->dir, CDB, NULL);
    if (fd == -ENOENT) {
        int error = rebuild_if_missing(s, locked);
        fd = error ? error : file_open(s->dir, CDB, NULL);
    }
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int found = cdb_find(fd, span_of(name), &value);
    fd_close(fd);
    if (found > 0) {
        buf_fmt(&out->text, "%s:", name);
        buf_span(&out->text, (struct span){value.data, value.len});
        if (!buf_c(&out->text))
            found = -ENOMEM;
        else if (!parse_text(out))
            found = 0;
    }
    if (found <= 0)
        account_free(out);
    buf_free(&value);
    return found;
}

int store_find(const struct store *s, const char *name, struct account *out) {
    return find(s, name, false, out);
}

int store_find_locked(const struct store *s, const char *name, struct account *out) {
    return find(s, name, true, out);
}

int store_open(const struct store *s) {
    return file_open(s->dir, TEXT, NULL);
}

int store_list(const struct store *s, struct buf *text) {
    int error = file_read(s->dir, TEXT, text);
    return error == -ENOENT ? 0 : error;
}

/* --- changing -----------------------------------------------------------------------------------
 */

int store_lock(const struct store *s, struct lock *lock) {
    return lock_file(s->dir, LOCK, lock);
}

static int compile(struct span text, struct cdb_maker *m) {
    struct span line, name;
    cdb_begin(m);
    while (span_line(&text, &line)) {
        struct span rest = line;
        if (span_field(&rest, ':', &name) && name.len && name.len < line.len)
            cdb_add(m, name, rest);
    }
    return cdb_finish(m);
}

static int put_cdb(const struct store *s, struct change *c, struct span text) {
    struct cdb_maker m;
    int error = compile(text, &m);
    if (!error)
        error = change_write(c, s->dir, CDB, (struct span){m.out.data, m.out.len}, MODE, s->uid,
                             s->gid);
    cdb_free(&m);
    return error;
}

static int put(const struct store *s, struct change *c, const struct buf *text) {
    struct span all = {text->data, text->len};
    int error = text->failed ? -ENOMEM : change_write(c, s->dir, TEXT, all, MODE, s->uid, s->gid);
    return error ? error : put_cdb(s, c, all);
}

int store_rebuild(const struct store *s) {
    struct buf text = {0};
    struct change c = {0};
    int error = file_read(s->dir, TEXT, &text);
    if (!error)
        error = put_cdb(s, &c, (struct span){text.data, text.len});
    if (!error)
        error = change_make(&c);
    change_drop(&c);
    buf_free(&text);
    return error == -ENOENT ? 0 : error;
}

static void put_line(struct buf *out, struct span line) {
    buf_span(out, line);
    buf_char(out, '\n');
}

/* A copy of the file in which `name` has this line (none: it is taken out), and whether it was
 * there. */
static int edit(const struct store *s, struct change *c, struct span name, const struct span *with,
                bool add) {
    struct buf text = {0}, out = {0};
    int error = store_list(s, &text);
    struct span rest = {text.data, text.len}, line;
    bool there = false, placed = false;
    while (!error && span_line(&rest, &line)) {
        struct span fields = line, its_name = {line.data, 0};
        (void)span_field(&fields, ':', &its_name);
        int order = span_cmp(its_name, name);
        there = there || order == 0;
        if (add && !placed && order > 0) {
            put_line(&out, *with);
            placed = true;
        }
        if (order != 0)
            put_line(&out, line);
        else if (with)
            put_line(&out, *with);
    }
    if (!error && add && !placed)
        put_line(&out, *with);
    if (!error && there == add)
        error = add ? -EEXIST : -ENOENT;
    if (!error)
        error = put(s, c, &out);
    buf_free(&text);
    buf_free(&out);
    return error;
}

int store_add(const struct store *s, struct change *c, const struct account *a) {
    struct span line = {a->text.data, a->text.len};
    return edit(s, c, a->name, &line, true);
}

int store_replace(const struct store *s, struct change *c, const struct account *a) {
    struct span line = {a->text.data, a->text.len};
    return edit(s, c, a->name, &line, false);
}

int store_remove(const struct store *s, struct change *c, struct span name) {
    return edit(s, c, name, NULL, false);
}
