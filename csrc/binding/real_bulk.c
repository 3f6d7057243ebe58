/* Many users with a real libvpopmail, which has no such thing: our own library reads and checks
 * them all, then the real one adds one after the other. Until the end those that are there can be
 * deleted again, and are. */
#include "real.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "own.h"

#define APOP 2 /* as in vpasswd */

struct vpx_bulk {
    struct own_bulk *own;
    char domain[ROOM];
    size_t added; /* so many, the first ones */
    bool committed;
    pid_t pid;
#ifndef USE_CDB
    vdir_type places;
#endif
};

/* --- reading and checking -----------------------------------------------------------------------
 */

int vpx_bulk_open(const char *domain, struct vpx_bulk **out) {
    struct vpx_bulk *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return VA_MEMORY_ALLOC_ERR;
    b->pid = getpid();
    int code = strlen(domain) <= MAX_PW_DOMAIN && call_put(b->domain, domain)
                   ? own_bulk_open(domain, VPX_HAS_POLICY, &b->own)
                   : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        *out = b;
    else
        free(b);
    return code;
}

int vpx_bulk_take(struct vpx_bulk *b, const char *rows, size_t count) {
    return own_bulk_take(b->own, rows, count);
}

static void put_user(struct call *c, const struct vpx_bulk *b, const struct own_row *row) {
    (void)(call_put(c->user, row->name) && call_put(c->domain, b->domain));
}

/* What only the library knows. */
static int check_row(struct call *c, const struct own_row *row) {
    if (strlen(row->name) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(row->gecos) > MAX_PW_GECOS)
        return VA_GECOS_TOO_LONG;
    if (BREAKS_LINE(row->password))
        return VA_BAD_CHAR;
    put_user(c, c->other, row);
    return !IN_CDB && vauth_getpw(c->user, c->domain) ? VA_USERNAME_EXISTS : VA_SUCCESS;
}

static void check(struct call *c) {
    struct vpx_bulk *b = c->other;
    c->code = own_check_user("", c->domain, VA_COULD_NOT_UPDATE_FILE, IN_CDB);
    for (size_t i = 0; i < own_bulk_count(b->own) && c->code == VA_SUCCESS; i++) {
        struct own_row row = own_bulk_row(b->own, i);
        int code = check_row(c, &row);
        if (code != VA_SUCCESS)
            own_bulk_refuse(b->own, i, code, verror(code));
    }
#ifndef USE_CDB
    struct place p;
    (void)call_put(c->domain, b->domain);
    if (c->code == VA_SUCCESS && call_find_domain(c, &p))
        (void)vread_dir_control(&b->places, c->domain, p.uid, p.gid);
#endif
}

int vpx_bulk_check(struct vpx_bulk *b) {
    struct call c = {.other = b};
    (void)call_put(c.domain, b->domain);
    int code = call_run(check, &c);
    return code == VA_SUCCESS ? own_bulk_check(b->own, IN_CDB) : code;
}

int vpx_bulk_refused(struct vpx_bulk *b, struct vpx_bytes *out) {
    return own_bulk_refused(b->own, &out->data, &out->size);
}

/* --- adding -------------------------------------------------------------------------------------
 */

/* A password that nobody knows, and that any policy takes: as much of each kind. */
static bool make_password(char *out, size_t len) {
    static const char *const kinds[] = {"abcdefghijkmnpqr", "ABCDEFGHJKLMNPQR", "0123456789",
                                        "!#$%&()*+,-./;<="};
    unsigned char random[64];
    if (len > sizeof random || getrandom(random, len, 0) != (ssize_t)len)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = kinds[i % 4][random[i] % strlen(kinds[i % 4])];
    out[len] = '\0';
    explicit_bzero(random, sizeof random);
    return true;
}
#if MAX_PW_NAME > 32
#define PASSWORD_LENGTH 40
#else
#define PASSWORD_LENGTH 16 /* before 5.6 it is kept as it is given, with MySQL in so much room */
#endif

static int add_row(struct call *c, struct vpx_bulk *b, const struct own_row *row) {
    put_user(c, b, row);
    c->number = row->kind == APOP;
    if (!call_put(c->more, row->gecos))
        return VA_GECOS_TOO_LONG;
    if (row->hash ? !make_password(c->text, PASSWORD_LENGTH) : !call_put(c->text, row->password))
        return row->hash ? VA_CRYPT_FAILED : VA_PASSWD_TOO_LONG;
    call_add_user(c);
    b->added += c->code == VA_SUCCESS;
    put_user(c, b, row);
    if (c->code == VA_SUCCESS && row->quota) {
        (void)call_put(c->text, row->quota);
        call_set_quota(c);
        put_user(c, b, row);
    }
    if (c->code == VA_SUCCESS && (row->flags || row->hash))
        call_set_record(c, row->flags, row->hash);
    return c->code;
}

static void add(struct call *c) {
    struct vpx_bulk *b = c->other;
    size_t at = b->added;
    struct own_row row = own_bulk_row(b->own, at);
    int code = add_row(c, b, &row);
    if (code != VA_SUCCESS)
        own_bulk_refuse(b->own, at, code, verror(code));
    c->code = VA_SUCCESS;
}

int vpx_bulk_make(struct vpx_bulk *b, size_t first, size_t count) {
    int code = VA_SUCCESS;
    for (size_t i = 0; i < count && code == VA_SUCCESS && !own_bulk_is_refused(b->own); i++) {
        struct call c = {.changes_users = true, .other = b};
        (void)call_put(c.domain, b->domain);
        code = first + i == b->added ? call_run(add, &c) : VA_COULD_NOT_UPDATE_FILE;
    }
    return code;
}

int vpx_bulk_commit(struct vpx_bulk *b) {
    b->committed = !own_bulk_is_refused(b->own);
    return VA_SUCCESS;
}

/* --- the end ------------------------------------------------------------------------------------
 */

static void delete_last(struct call *c) {
    struct vpx_bulk *b = c->other;
    struct own_row row = own_bulk_row(b->own, b->added);
    put_user(c, b, &row);
    call_del_user(c);
}

/* Where the next user goes to is as it was, unless others have changed the count. */
#ifdef USE_CDB
static void restore(const struct vpx_bulk *b) {
    own_bulk_restore(b->own);
}
#else
static void write_places(struct call *c) {
    const struct vpx_bulk *b = c->other;
    vdir_type now, before = b->places;
    struct place p;
    if (call_find_domain(c, &p) && vread_dir_control(&now, c->domain, p.uid, p.gid) == 0 &&
        now.cur_users == before.cur_users)
        (void)vwrite_dir_control(&before, c->domain, p.uid, p.gid);
}

static void restore(struct vpx_bulk *b) {
    struct call c = {.changes_users = true, .other = b};
    (void)call_put(c.domain, b->domain);
    (void)call_run(write_places, &c);
}
#endif

void vpx_bulk_close(struct vpx_bulk *b) {
    if (!b || b->pid != getpid()) /* a child's copy */
        return;
    bool undo = !b->committed && b->added > 0;
    while (undo && b->added > 0) {
        struct call c = {.changes_users = true, .other = b};
        (void)call_put(c.domain, b->domain);
        b->added--;
        (void)call_run(delete_last, &c);
    }
    if (undo)
        restore(b);
    own_bulk_close(b->own);
    free(b);
}
