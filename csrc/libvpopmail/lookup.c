/* What there is: domains, users, the default domain, a user's last sign-in and mail. Records are as
 * csrc/binding/binding.h tells them.
 *
 * Nothing here changes anything, save that vset_lastauth() notes a sign-in. Order of writes, under
 * the lock of the user's directory: the new lastauth beside the old one, in whose place it is put.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "include/vauth.h"
#include "maildir.h"
#include "stream.h"
#include "user.h"

#define CHUNK 65536

/* A field that holds a NUL would pass for two. */
static bool is_text(struct span s) {
    return !s.len || !memchr(s.data, '\0', s.len);
}

static void put(struct buf *out, struct span field) {
    buf_span(out, field);
    buf_char(out, '\0');
}

static void put_number(struct buf *out, unsigned int value) {
    buf_fmt(out, "%u", value);
    buf_char(out, '\0');
}

/* Hands the bytes over to the caller. */
static int give(struct buf *out, int code, char **data, size_t *size) {
    *data = code == VA_SUCCESS ? buf_c(out) : NULL;
    *size = *data ? out->len : 0;
    if (code == VA_SUCCESS && !*data)
        code = VA_MEMORY_ALLOC_ERR;
    if (code != VA_SUCCESS)
        buf_free(out);
    return code;
}

/* --- domains ------------------------------------------------------------------------------------
 */

int vpopmail_domain(const char *domain, char **data, size_t *size) {
    struct home home = {0};
    struct domain d = {0};
    struct buf out = {0};
    char *name = lower_dup(domain);
    int code = name ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS) {
        int found = assign_find(&home, name, &d);
        code = found > 0 ? VA_SUCCESS : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    }
    if (code == VA_SUCCESS) {
        put(&out, span_of(name));
        put(&out, span_of(d.name));
        put_number(&out, d.uid);
        put_number(&out, d.gid);
        put(&out, span_of(d.path));
    }
    domain_free(&d);
    free(name);
    home_release(&home);
    return give(&out, code, data, size);
}

int vpopmail_domains(char **data, size_t *size) {
    struct home home = {0};
    struct buf text = {0}, out = {0};
    int code = home_hold(&home);
    if (code == VA_SUCCESS)
        code = assign_read(&home, &text);
    struct span rest = {text.data, text.len}, line;
    struct assign_line l;
    unsigned int uid, gid;
    while (code == VA_SUCCESS && span_line(&rest, &line)) {
        if (!is_text(line) || !assign_parse(line, &l) || !span_id(l.uid, &uid) ||
            !span_id(l.gid, &gid))
            continue;
        put(&out, l.name);
        put(&out, l.real);
        put_number(&out, uid);
        put_number(&out, gid);
        put(&out, l.path);
    }
    buf_free(&text);
    home_release(&home);
    return give(&out, code, data, size);
}

int vpopmail_default_domain(char **data, size_t *size) {
    struct home home = {0};
    struct buf text = {0}, out = {0};
    int code = home_hold(&home);
    int etc = code == VA_SUCCESS ? home_dir(home.path, "etc") : -1;
    struct span rest = {0}, line;
    if (etc >= 0 && file_read_linked(etc, "defaultdomain", &text) == 0)
        rest = (struct span){text.data, text.len};
    if (span_line(&rest, &line) && is_text(line))
        buf_span(&out, line);
    fd_close(etc);
    buf_free(&text);
    home_release(&home);
    return give(&out, code, data, size);
}

/* --- users --------------------------------------------------------------------------------------
 */

static int begin(struct session *s, const char *user, const char *domain) {
    int found = session_begin(s, user, domain);
    if (found <= 0)
        return found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (s->store.dir < 0)
        return error_code(s->store.dir, geteuid() == 0 ? VA_BAD_D_DIR : VA_BAD_UID);
    return session_may_read(s) ? VA_SUCCESS : VA_BAD_UID;
}

static int find(struct session *s, const char *user, const char *domain, struct account *a) {
    int code = begin(s, user, domain);
    int found = code == VA_SUCCESS ? store_find(&s->store, s->user, a) : 0;
    if (code == VA_SUCCESS && found <= 0)
        code = found ? error_code(found, VA_COULD_NOT_UPDATE_FILE) : VA_USER_DOES_NOT_EXIST;
    if (code == VA_SUCCESS && !is_text((struct span){a->text.data, a->text.len}))
        code = VA_USER_DOES_NOT_EXIST;
    return code;
}

/* The flags that the domain's limits set for all. */
static unsigned int domain_flags(const struct session *s) {
    struct limits limits;
    return limits_read(&s->home, &s->store, &limits) == VA_SUCCESS ? limits.flags : 0;
}

static void put_user(struct buf *out, const struct account *a, const char *domain,
                     unsigned int flags) {
    put(out, a->name);
    put(out, span_of(domain));
    put(out, a->hash);
    put_number(out, a->kind);
    put_number(out, a->flags);
    put_number(out, a->flags & V_OVERRIDE ? a->flags : a->flags | flags);
    put(out, a->gecos);
    put(out, a->dir);
    put(out, a->quota);
}

int vpopmail_user(const char *user, const char *domain, char **data, size_t *size) {
    struct session s;
    struct account a = {0};
    struct buf out = {0};
    int code = find(&s, user, domain, &a);
    if (code == VA_SUCCESS)
        put_user(&out, &a, s.domain.name, domain_flags(&s));
    account_free(&a);
    session_end(&s);
    return give(&out, code, data, size);
}

/* A file that is replaced, not changed, stays what it was for the one who has it open. */
struct vpopmail_users {
    int fd;
    unsigned int flags;
    char *domain;
    struct buf text; /* what was read and not yet given */
};

void vpopmail_users_close(struct vpopmail_users *list) {
    if (!list)
        return;
    fd_close(list->fd);
    free(list->domain);
    buf_free(&list->text);
    free(list);
}

int vpopmail_users_open(const char *domain, struct vpopmail_users **out) {
    struct session s;
    int code = begin(&s, "", domain);
    *out = code == VA_SUCCESS ? calloc(1, sizeof **out) : NULL;
    if (*out) {
        (*out)->flags = domain_flags(&s);
        (*out)->domain = strdup(s.domain.name);
        (*out)->fd = store_open(&s.store);
    }
    if (code == VA_SUCCESS && (!*out || !(*out)->domain))
        code = VA_MEMORY_ALLOC_ERR;
    else if (code == VA_SUCCESS && (*out)->fd < 0 && (*out)->fd != -ENOENT)
        code = error_code((*out)->fd, VA_COULD_NOT_UPDATE_FILE);
    session_end(&s);
    if (code != VA_SUCCESS) {
        vpopmail_users_close(*out);
        *out = NULL;
    }
    return code;
}

/* Reads on until there is at least one whole line, or the end; 0 or -errno. */
static int read_on(struct vpopmail_users *list, bool *end) {
    char *block = malloc(CHUNK);
    ssize_t n = block ? list->fd < 0 ? 0 : read(list->fd, block, CHUNK) : -1;
    while (n > 0) {
        buf_add(&list->text, block, (size_t)n);
        if (memchr(block, '\n', (size_t)n) || list->text.failed || list->text.len > LINE_LARGEST)
            break;
        n = read(list->fd, block, CHUNK);
    }
    int error = n < 0 ? -errno : list->text.failed ? -ENOMEM : 0;
    if (!error && list->text.len > LINE_LARGEST + CHUNK)
        error = -EFBIG;
    if (block)
        explicit_bzero(block, CHUNK);
    free(block);
    *end = n == 0;
    return error;
}

/* Takes the lines that are whole off the text. */
static void take_lines(struct vpopmail_users *list, bool end, struct buf *out) {
    const char *last = list->text.len ? memrchr(list->text.data, '\n', list->text.len) : NULL;
    size_t whole = end ? list->text.len : last ? (size_t)(last + 1 - list->text.data) : 0;
    struct span rest = {list->text.data, whole}, line;
    while (span_line(&rest, &line)) {
        struct account a = {0};
        if (is_text(line) && account_parse(&a, line))
            put_user(out, &a, list->domain, list->flags);
        account_free(&a);
    }
    struct buf left = {0};
    if (whole < list->text.len)
        buf_add(&left, list->text.data + whole, list->text.len - whole);
    buf_free(&list->text);
    list->text = left;
}

int vpopmail_users_next(struct vpopmail_users *list, char **data, size_t *size) {
    struct buf out = {0};
    bool end = false;
    int error = 0;
    while (!error && !end && !out.len && !out.failed) {
        error = read_on(list, &end);
        if (!error)
            take_lines(list, end, &out);
    }
    return give(&out, error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS, data, size);
}

/* --- one user's directory -----------------------------------------------------------------------
 */

/* lastauth holds the address of the last sign-in; its time is the file's. */
static int read_last_auth(int user, struct buf *out) {
    struct buf text = {0};
    struct stat st;
    int fd = user < 0 ? user : file_open(user, "lastauth", &st);
    int error = fd < 0 ? fd : fd_read(fd, &text);
    struct span rest = {text.data, text.len}, line;
    if (!error && span_line(&rest, &line) && line.len && is_text(line) &&
        !span_is(line, "0.0.0.0")) {
        buf_fmt(out, "%lld", (long long)st.st_mtime);
        buf_char(out, '\0');
        put(out, line);
    }
    fd_close(fd);
    buf_free(&text);
    return error == -ENOENT ? 0 : error;
}

int vpopmail_last_auth(const char *user, const char *domain, char **data, size_t *size) {
    struct session s;
    struct account a = {0};
    struct buf out = {0};
    int code = find(&s, user, domain, &a);
    if (code == VA_SUCCESS) {
        int fd = maildir_open(&s.store, s.domain.path, a.dir);
        int error = read_last_auth(fd, &out);
        code = error ? error_code(error, VA_BAD_U_DIR2) : VA_SUCCESS;
        fd_close(fd);
    }
    account_free(&a);
    session_end(&s);
    return give(&out, code, data, size);
}

int vset_lastauth(char *user, char *domain, char *remoteip) {
    struct session s;
    struct account a = {0};
    struct lock lock = LOCK_NONE;
    if (!user || !domain || !remoteip)
        return VA_NULL_POINTER;
    if (strchr(remoteip, '\n'))
        return VA_BAD_CHAR;
    int code = find(&s, user, domain, &a);
    if (code == VA_SUCCESS) {
        int fd = maildir_open(&s.store, s.domain.path, a.dir);
        int error = fd < 0 ? fd : lock_dir(fd, &lock);
        if (!error)
            error = file_write(fd, "lastauth", span_of(remoteip), 0600, s.store.uid, s.store.gid);
        lock_release(&lock);
        code = error ? error_code(error, VA_BAD_U_DIR2) : VA_SUCCESS;
        fd_close(fd);
    }
    account_free(&a);
    session_end(&s);
    return code;
}

int vpopmail_quota_usage(const char *user, const char *domain, unsigned long long *bytes,
                         unsigned long long *messages) {
    struct session s;
    struct account a = {0};
    *bytes = *messages = 0;
    int code = find(&s, user, domain, &a);
    if (code == VA_SUCCESS) {
        int error = maildir_usage(&s.store, s.domain.path, a.dir, bytes, messages);
        if (error && error != -ENOENT) /* no maildir, no mail */
            code = error_code(error, VA_BAD_U_DIR2);
    }
    account_free(&a);
    session_end(&s);
    return code;
}
