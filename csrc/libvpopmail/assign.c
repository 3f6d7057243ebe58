#include "assign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdb.h"
#include "error.h"
#include "include/vpopmail.h"
#include "linefile.h"
#include "qmail.h"
#include "walk.h"

#define ASSIGN_FIELDS 6
#define PREFIX ".tmp:"
#define LOCK "assign.lock"

/* What is changed under the lock, in QMAIL/users, QMAIL/control, the directory in which the domains
 * are counted, and a domain's own that was there before it. */
static const struct journal_name names[] = {
    {"assign", false},
    {"cdb", false},
    {"virtualdomains", true},
    {"rcpthosts", true},
    {"morercpthosts", true},
    {"morercpthosts.cdb", false},
    {"locals", true},
    {".dir-control", false},
    {"vpasswd", false},
    {"vpasswd.cdb", false},
    {".qmail-default", false},
    {".dir_control_free", true},
    {NULL, false},
};

/* Splits NAME:a:b:c:d:e:f: into its name and six fields; false for any other form. */
static bool split(struct span line, struct span *name, struct span fields[ASSIGN_FIELDS]) {
    if (!span_field(&line, ':', name) || name->len < 1)
        return false;
    for (int i = 0; i < ASSIGN_FIELDS; i++) {
        const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
        if (!colon)
            return false;
        size_t len = (size_t)(colon - line.data);
        fields[i] = (struct span){line.data, len};
        line = (struct span){colon + 1, line.len - len - 1};
    }
    return true;
}

bool assign_parse(struct span line, struct assign_line *out) {
    struct span name, f[ASSIGN_FIELDS];
    if (!split(line, &name, f) || name.data[0] != '+' || name.len < 3 ||
        name.data[name.len - 1] != '-')
        return false;
    name = (struct span){name.data + 1, name.len - 2};
    *out = (struct assign_line){name, f[0], f[1], f[2], f[3]};
    return true;
}

/* --- looking up ---------------------------------------------------------------------------------
 */

void domain_free(struct domain *d) {
    free(d->name);
    free(d->path);
    *d = (struct domain){0};
}

/* The value: real domain, uid, gid, path, dash and extension, NUL between. */
bool assign_record(struct span value, struct domain_record *out) {
    struct span uid, gid;
    return span_field(&value, '\0', &out->name) && span_field(&value, '\0', &uid) &&
           span_field(&value, '\0', &gid) && span_field(&value, '\0', &out->path) && value.len &&
           span_id(uid, &out->uid) && span_id(gid, &out->gid) && out->path.len &&
           out->path.data[0] == '/';
}

static int from_record(struct span value, struct domain *out) {
    struct domain_record r;
    if (!assign_record(value, &r))
        return VA_CANNOT_READ_ASSIGN;
    *out = (struct domain){span_dup(r.name), span_dup(r.path), r.uid, r.gid};
    if (out->name && out->path)
        return 1;
    domain_free(out);
    return VA_MEMORY_ALLOC_ERR;
}

int assign_find(const struct home *home, const char *name, struct domain *out) {
    assign_repair(home);
    struct buf key = {0}, value = {0}, path = {0};
    struct stat st;
    *out = (struct domain){0};
    buf_fmt(&path, "%s/users/cdb", home->qmail);
    buf_fmt(&key, "!%s-", name);
    int found = VA_MEMORY_ALLOC_ERR;
    int fd = -1;
    if (buf_c(&key) && buf_c(&path))
        fd = walk_file(AT_FDCWD, path.data, &st);
    if (fd >= 0) {
        found = cdb_find(fd, (struct span){key.data, key.len}, &value);
        if (found > 0)
            found = from_record((struct span){value.data, value.len}, out);
        else if (found < 0)
            found = error_code(found, VA_CANNOT_READ_ASSIGN);
        fd_close(fd);
    } else if (buf_c(&key) && path.data) {
        found = fd == -ENOENT || fd == -ENOTDIR ? 0 : VA_CANNOT_READ_ASSIGN;
    }
    buf_free(&path);
    buf_free(&key);
    buf_free(&value);
    return found;
}

int domain_dir(const struct domain *d) {
    return walk_dir(AT_FDCWD, d->path);
}

/* --- changing -----------------------------------------------------------------------------------
 */

/* users/cdb as qmail-newu makes it, save that a malformed line is passed over. */
static int compile(struct span text, int fd) {
    struct cdb_maker m;
    bool seen[256] = {false};
    struct buf key = {0}, value = {0}, wild = {0};
    struct span line, name, f[ASSIGN_FIELDS];
    cdb_begin(&m, fd);
    while (span_line(&text, &line) && !span_is(line, ".")) {
        if (!split(line, &name, f) || (name.data[0] != '+' && name.data[0] != '='))
            continue;
        bool is_wild = name.data[0] == '+';
        buf_clear(&key);
        buf_char(&key, '!');
        buf_lower(&key, (struct span){name.data + 1, name.len - 1});
        if (!is_wild)
            buf_char(&key, '\0');
        else if (name.len > 1 && !key.failed && !seen[(unsigned char)key.data[key.len - 1]]) {
            seen[(unsigned char)key.data[key.len - 1]] = true;
            buf_char(&wild, key.data[key.len - 1]);
        }
        /* The fields with NULs between. */
        size_t len = (size_t)(f[ASSIGN_FIELDS - 1].data - f[0].data) + f[ASSIGN_FIELDS - 1].len;
        buf_clear(&value);
        buf_add(&value, f[0].data, len);
        for (int i = 1; i < ASSIGN_FIELDS && !value.failed; i++)
            value.data[f[i].data - f[0].data - 1] = '\0';
        cdb_add(&m, (struct span){key.data, key.len}, (struct span){value.data, value.len});
    }
    cdb_add(&m, (struct span){"", 0}, (struct span){wild.data, wild.len});
    int error = cdb_end(&m);
    if (key.failed || value.failed || wild.failed)
        error = -ENOMEM;
    buf_free(&key);
    buf_free(&value);
    buf_free(&wild);
    return error;
}

int assign_read(const struct home *home, struct buf *text) {
    assign_repair(home);
    int users = home_dir(home->qmail, "users");
    int error = users < 0 ? users : file_read_linked(users, "assign", text);
    fd_close(users);
    if (error == -ENOENT)
        error = 0;
    return error ? error_code(error, VA_CANNOT_READ_ASSIGN) : VA_SUCCESS;
}

static struct journal journal_of(const struct home *home, int users) {
    return (struct journal){.dir = users,
                            .prefix = PREFIX,
                            .names = names,
                            .anywhere = true,
                            .uid = KEEP_OWNER,
                            .known = {{home->path, DOMAINS_DIR}, {home->qmail, "control"}}};
}

struct change assign_change(const struct assign *a) {
    return change_of(journal_of(a->home, a->users));
}

/* With the lock held. */
static int recover(const struct home *home, int users) {
    struct journal journal = journal_of(home, users);
    int done = change_recover(&journal);
    if (done > 0)
        qmail_reread(home);
    return done < 0 ? done : 0;
}

void assign_repair(const struct home *home) {
    struct lock lock = LOCK_NONE;
    struct stat st;
    struct buf path = {0};
    buf_fmt(&path, "%s/users/" PREFIX "ready", home->qmail);
    bool pending = buf_c(&path) && lstat(path.data, &st) == 0;
    buf_free(&path);
    if (!pending)
        return;
    int users = home_dir(home->qmail, "users");
    if (users >= 0 && !lock_file_now(users, LOCK, &lock))
        (void)recover(home, users);
    lock_release(&lock);
    fd_close(users);
}

int assign_begin(const struct home *home, struct assign *a) {
    *a = (struct assign){.home = home, .users = home_dir(home->qmail, "users"), .lock = LOCK_NONE};
    int error = a->users < 0 ? a->users : lock_file(a->users, LOCK, &a->lock);
    if (!error)
        error = recover(home, a->users);
    if (error)
        return error_code(error, VA_COULD_NOT_UPDATE_FILE);
    error = file_read_linked(a->users, "assign", &a->text);
    if (error && error != -ENOENT)
        return error_code(error, VA_CANNOT_READ_ASSIGN);
    return VA_SUCCESS;
}

void assign_end(struct assign *a) {
    lock_release(&a->lock);
    fd_close(a->users);
    buf_free(&a->text);
}

static int ready(struct assign *a, struct change *c, const struct buf *text) {
    struct span new_text = {text->data, text->len};
    int error = change_write(c, a->users, "assign", new_text, 0644, KEEP_OWNER, 0);
    int fd = error ? error : change_open(c, a->users, "cdb", 0644, KEEP_OWNER, 0);
    error = fd < 0 ? fd : compile(new_text, fd);
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

int assign_add(struct assign *a, struct change *c, const char *name, const struct domain *d) {
    struct buf line = {0}, text = {0};
    buf_fmt(&line, "+%s-:%s:%u:%u:%s:-::", name, d->name, (unsigned)d->uid, (unsigned)d->gid,
            d->path);
    int code = VA_MEMORY_ALLOC_ERR;
    if (buf_c(&line) && linefile_add((struct span){a->text.data, a->text.len},
                                     (struct span){line.data, line.len}, true, &text) == 0)
        code = ready(a, c, &text);
    buf_free(&line);
    buf_free(&text);
    return code;
}

struct dropped {
    const char *name, *real;
};

static bool is_dropped(struct span line, const void *arg) {
    const struct dropped *which = arg;
    struct assign_line l;
    if (!assign_parse(line, &l))
        return false;
    return which->real ? span_is(l.real, which->real) : span_is(l.name, which->name);
}

int assign_drop(struct assign *a, struct change *c, const char *name, const char *real) {
    struct buf text = {0};
    struct dropped which = {name, real};
    int code = VA_MEMORY_ALLOC_ERR;
    if (linefile_drop((struct span){a->text.data, a->text.len}, is_dropped, &which, &text) >= 0)
        code = ready(a, c, &text);
    buf_free(&text);
    return code;
}
