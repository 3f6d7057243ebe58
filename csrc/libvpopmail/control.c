#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdb.h"
#include "error.h"
#include "include/vpopmail.h"
#include "linefile.h"

#define RCPTHOSTS_MAX 50
#define MODE 0644

enum { RCPTHOSTS, MORERCPTHOSTS, VIRTUALDOMAINS, LOCALS };

static const char *const names[] = {"rcpthosts", "morercpthosts", "virtualdomains", "locals"};
static const char *const lock_names[] = {"rcpthosts.lock", "morercpthosts.lock",
                                         "virtualdomains.lock", "locals.lock"};

int control_begin(const struct home *home, struct control *control, struct change *c) {
    *control = (struct control){.dir = home_dir(home->qmail, "control"),
                                .locks = {LOCK_NONE, LOCK_NONE, LOCK_NONE, LOCK_NONE}};
    struct buf path = {0};
    buf_fmt(&path, "%s/control", home->qmail);
    int error = control->dir < 0 ? control->dir
                : buf_c(&path)   ? change_in(c, control->dir, path.data, false)
                                 : -ENOMEM;
    buf_free(&path);
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

void control_end(struct control *control) {
    for (int i = LOCALS; i >= RCPTHOSTS; i--)
        lock_release(&control->locks[i]);
    fd_close(control->dir);
}

/* Locks and reads a file, empty where it is missing; 1 where it was there. */
static int take(struct control *control, int which, struct buf *text) {
    int error = 0;
    if (control->locks[which].fd < 0)
        error = lock_file(control->dir, lock_names[which], &control->locks[which]);
    if (error)
        return error;
    error = file_read_linked(control->dir, names[which], text);
    return error == -ENOENT ? 0 : error ? error : 1;
}

static int put(struct control *control, struct change *c, int which, const struct buf *text) {
    struct span data = {text->data, text->len};
    return change_write(c, control->dir, names[which], data, MODE, KEEP_OWNER, 0);
}

/* morercpthosts.cdb as qmail-newmrh makes it: each host in lower case, with nothing to it. */
static int put_cdb(struct control *control, struct change *c, const struct buf *text) {
    struct cdb_maker m;
    struct buf key = {0};
    struct span rest = {text->data, text->len}, host;
    int fd = change_open(c, control->dir, "morercpthosts.cdb", MODE, KEEP_OWNER, 0);
    if (fd < 0)
        return fd;
    cdb_begin(&m, fd);
    while (span_line(&rest, &host)) {
        if (!host.len || host.data[0] == '#')
            continue;
        buf_clear(&key);
        buf_lower(&key, host);
        cdb_add(&m, (struct span){key.data, key.len}, (struct span){"", 0});
    }
    int error = cdb_end(&m);
    if (key.failed)
        error = -ENOMEM;
    buf_free(&key);
    return error;
}

/* --- adding -------------------------------------------------------------------------------------
 */

static int add_line(struct control *control, struct change *c, int which, const struct buf *old,
                    const char *line) {
    struct buf text = {0};
    int error = linefile_add((struct span){old->data, old->len}, span_of(line), false, &text);
    if (!error)
        error = put(control, c, which, &text);
    if (!error && which == MORERCPTHOSTS)
        error = put_cdb(control, c, &text);
    buf_free(&text);
    return error;
}

static size_t lines_in(const struct buf *text) {
    struct span rest = {text->data, text->len}, line;
    size_t count = 0;
    while (span_line(&rest, &line))
        count++;
    return count;
}

static bool is_line(struct span line, const void *text) {
    return span_is(line, text);
}

static int add_rcpthost(struct control *control, struct change *c, const char *name) {
    struct buf text = {0};
    int which = RCPTHOSTS;
    int there = take(control, RCPTHOSTS, &text);
    if (there >= 0 && lines_in(&text) >= RCPTHOSTS_MAX) {
        which = MORERCPTHOSTS;
        buf_clear(&text);
        there = take(control, MORERCPTHOSTS, &text);
    }
    int error = there < 0 ? there : add_line(control, c, which, &text, name);
    buf_free(&text);
    return error;
}

static int add_virtualdomain(struct control *control, struct change *c, const char *name) {
    struct buf text = {0}, line = {0};
    buf_fmt(&line, "%s:%s", name, name);
    int there = buf_c(&line) ? take(control, VIRTUALDOMAINS, &text) : -ENOMEM;
    int error = there < 0 ? there : add_line(control, c, VIRTUALDOMAINS, &text, line.data);
    buf_free(&line);
    buf_free(&text);
    return error;
}

static int drop_local(struct control *control, struct change *c, const char *name) {
    struct buf text = {0}, left = {0};
    int there = take(control, LOCALS, &text);
    long dropped =
        there < 0 ? there : linefile_drop((struct span){text.data, text.len}, is_line, name, &left);
    int error = dropped < 0 ? (int)dropped : 0;
    if (!error && (dropped > 0 || there == 0))
        error = put(control, c, LOCALS, &left);
    buf_free(&text);
    buf_free(&left);
    return error;
}

int control_add(struct control *control, struct change *c, const char *name) {
    int error = add_rcpthost(control, c, name);
    if (!error)
        error = add_virtualdomain(control, c, name);
    if (!error)
        error = drop_local(control, c, name);
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

/* --- taking out ---------------------------------------------------------------------------------
 */

static bool is_host(struct span line, const void *arg) {
    const struct buf *wanted = arg;
    struct span rest = {wanted->data, wanted->len}, name;
    while (span_line(&rest, &name))
        if (span_cmp(name, line) == 0)
            return true;
    return false;
}

static bool is_virtualdomain(struct span line, const void *arg) {
    struct span name;
    return span_field(&line, ':', &name) && span_cmp(name, line) == 0 && is_host(name, arg);
}

/* What to do with morercpthosts.cdb is vpopmail's own way: it goes with a file that becomes empty
 * and is compiled anew where exactly one line went; else it stays as it was. */
static int put_left(struct control *control, struct change *c, int which, const struct buf *left,
                    long dropped) {
    if (which != MORERCPTHOSTS || left->len) {
        int error = put(control, c, which, left);
        return !error && which == MORERCPTHOSTS && dropped == 1 ? put_cdb(control, c, left) : error;
    }
    int error = change_remove(c, control->dir, names[MORERCPTHOSTS]);
    return error ? error : change_remove(c, control->dir, "morercpthosts.cdb");
}

/* Readies a file without the wanted lines; how many went, or -errno. */
static long drop_lines(struct control *control, struct change *c, int which, linefile_test *test,
                       const struct buf *wanted) {
    struct buf text = {0}, left = {0};
    int there = take(control, which, &text);
    long dropped =
        there < 0 ? there : linefile_drop((struct span){text.data, text.len}, test, wanted, &left);
    int error = 0;
    if (dropped > 0)
        error = put_left(control, c, which, &left, dropped);
    else if (dropped == 0 && there == 0) /* was missing: made */
        error = put(control, c, which, &left);
    buf_free(&text);
    buf_free(&left);
    return error ? error : dropped;
}

int control_drop(struct control *control, struct change *c, const struct buf *wanted) {
    long dropped = drop_lines(control, c, RCPTHOSTS, is_host, wanted);
    /* vpopmail looks into morercpthosts where rcpthosts has none of them. */
    if (dropped == 0) {
        if (faccessat(control->dir, names[MORERCPTHOSTS], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            dropped = drop_lines(control, c, MORERCPTHOSTS, is_host, wanted);
        else if (errno != ENOENT)
            dropped = -errno;
    }
    if (dropped >= 0)
        dropped = drop_lines(control, c, VIRTUALDOMAINS, is_virtualdomain, wanted);
    return dropped < 0 ? error_code((int)dropped, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}
