/* Authentication and look-ups of accounts: vauth_user, vauth_getpw, vauth_getall; and vauth_setpw.
 *
 * Order of writes of vauth_setpw, which alone changes anything, under the domain's lock and told of
 * in its journal (change.h): vpasswd, then its cdb. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "crypt_kernel.h"
#include "error.h"
#include "include/vauth.h"
#include "names.h"
#include "password.h"
#include "stream.h"
#include "thread.h"
#include "user.h"

static bool find(const struct session *s, int found, struct account *a) {
    return found > 0 && s->store.dir >= 0 && session_may_read(s) &&
           store_find(&s->store, s->user, a) > 0;
}

static bool find_in_files(const char *user, const char *domain, struct account *a) {
    struct session s;
    int found = session_begin(&s, user, domain);
    bool there = find(&s, found, a);
    if (found >= 0)
        cache_note(&s.home,
                   found > 0 && s.store.dir >= 0 && session_may_read(&s) ? &s.domain : NULL);
    session_end(&s);
    return there;
}

/* --- signing in ---------------------------------------------------------------------------------
 */

static bool find_account(bool *holds_cache, const char *user, const char *domain,
                         struct account *a) {
    if (!user[0] || !domain[0])
        return false;
    *holds_cache = *holds_cache || cache_enter();
    int found = *holds_cache ? cache_find(user, domain, a) : -1;
    if (found >= 0)
        return found;
    if (*holds_cache)
        cache_leave();
    *holds_cache = false;
    return find_in_files(user, domain, a);
}

/* Adds a user's hash, and a NUL; nothing for nobody's. */
static void look_up(bool *holds_cache, const char *user, const char *domain, struct buf *hashes) {
    struct account a = {0};
    if (find_account(holds_cache, user, domain, &a) && a.hash.len) {
        buf_span(hashes, a.hash);
        buf_char(hashes, '\0');
    }
    account_free(&a);
}

int vpopmail_authenticate(const char *user, const char *domain, const char *password,
                          int equal_time) {
    struct buf hash = {0};
    bool holds_cache = false;
    if (!user || !domain || !password)
        return 0;
    look_up(&holds_cache, user, domain, &hash);
    if (holds_cache)
        cache_leave();
    bool match = !hash.failed && password_matches(password, hash.len ? hash.data : "", equal_time);
    buf_free(&hash);
    return match;
}

/* Looks all of them up and fills in the passwords and where their hashes are, after an empty one.
 */
static void look_up_many(const char *credentials, struct password_check *checks, size_t count,
                         struct buf *hashes) {
    bool holds_cache = false;
    buf_char(hashes, '\0');
    for (size_t i = 0; i < count; i++) {
        const char *user = credentials;
        const char *domain = user + strlen(user) + 1;
        const char *password = domain + strlen(domain) + 1;
        size_t before = hashes->len;
        look_up(&holds_cache, user, domain, hashes);
        checks[i].password = password;
        checks[i].stored = hashes->len > before ? before : 0;
        credentials = password + strlen(password) + 1;
    }
    if (holds_cache)
        cache_leave();
}

int vpopmail_authenticate_many(const char *credentials, size_t count, int equal_time,
                               char *matches) {
    struct password_check *checks = calloc(count ? count : 1, sizeof *checks);
    struct buf hashes = {0};
    if (checks)
        look_up_many(credentials, checks, count, &hashes);
    bool good =
        checks && !hashes.failed && password_check_many(hashes.data, checks, count, equal_time);
    for (size_t i = 0; i < count; i++)
        matches[i] = good && checks[i].matches;
    free(checks);
    buf_free(&hashes);
    return good ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
}

const char *vpopmail_simd(void) {
    return crypt_simd_name();
}

/* --- looking up ---------------------------------------------------------------------------------
 */

/* Fills a vqpasswd from an account, whose text it cuts into strings. */
static void expose(struct account *a, const struct limits *limits, struct vqpasswd *pw) {
    struct span parts[] = {a->name, a->hash, a->gecos, a->dir, a->quota};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        a->text.data[(parts[i].data - a->text.data) + (ptrdiff_t)parts[i].len] = '\0';
    gid_t flags = a->flags & V_OVERRIDE ? a->flags : a->flags | limits->flags;
    *pw = (struct vqpasswd){
        .pw_name = (char *)a->name.data,
        .pw_passwd = (char *)a->hash.data,
        .pw_uid = a->kind,
        .pw_gid = a->flags,
        .pw_flags = flags,
        .pw_gecos = (char *)a->gecos.data,
        .pw_dir = (char *)a->dir.data,
        .pw_shell = (char *)a->quota.data,
        .pw_clear_passwd = (char *)"",
    };
}

struct vqpasswd *vauth_getpw(char *user, char *domain) {
    struct per_thread *t = per_thread();
    struct vqpasswd *result = NULL;
    struct limits limits;
    struct session s;
    if (!t || !user || !domain)
        return NULL;
    account_free(&t->account);
    int found = session_begin(&s, user, domain);
    if (find(&s, found, &t->account)) {
        if (limits_read(&s.home, &s.store, &limits) != VA_SUCCESS)
            limits = (struct limits){0};
        expose(&t->account, &limits, &t->pw);
        result = &t->pw;
    }
    session_end(&s);
    return result;
}

struct vqpasswd *vauth_user(char *user, char *domain, char *password, char *apop) {
    (void)apop;
    struct vqpasswd *pw = password ? vauth_getpw(user, domain) : NULL;
    return pw && password_matches(password, pw->pw_passwd, false) ? pw : NULL;
}

/* --- all users ----------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b) {
    struct span left = *(const struct span *)a, right = *(const struct span *)b, name_a, name_b;
    (void)span_field(&left, ':', &name_a);
    (void)span_field(&right, ':', &name_b);
    return span_cmp(name_a, name_b);
}

static void read_lines(const struct store *store, struct buf *text) {
    struct lines in = {.fd = store_open(store)};
    struct span line;
    int more = 0;
    while (in.fd >= 0 && (more = lines_next(&in, &line)) > 0) {
        buf_span(text, line);
        buf_char(text, '\n');
    }
    if (more < 0 || text->failed) /* rather none than some */
        buf_free(text);
    lines_free(&in);
    fd_close(in.fd);
}

static void sort_lines(struct buf *text) {
    struct span rest = {text->data, text->len}, *lines = NULL;
    struct buf sorted = {0};
    size_t count = 0, room = 1;
    for (size_t i = 0; i < text->len; i++)
        room += text->data[i] == '\n';
    lines = malloc(room * sizeof *lines);
    while (lines && count < room && span_line(&rest, &lines[count]))
        if (lines[count].len)
            count++;
    if (lines)
        qsort(lines, count, sizeof *lines, by_name);
    for (size_t i = 0; i < count; i++) {
        buf_span(&sorted, lines[i]);
        buf_char(&sorted, '\n');
    }
    free(lines);
    buf_free(text);
    *text = sorted;
}

static void load_all(struct per_thread *t, const char *domain, bool sorted) {
    struct session s;
    buf_free(&t->all);
    int found = session_begin(&s, "", domain);
    if (found > 0 && s.store.dir >= 0 && session_may_read(&s))
        read_lines(&s.store, &t->all);
    session_end(&s);
    if (sorted)
        sort_lines(&t->all);
    t->all_rest = (struct span){t->all.data, t->all.len};
}

struct vqpasswd *vauth_getall(char *domain, int first, int sortit) {
    struct per_thread *t = per_thread();
    struct limits none = {0};
    struct span line;
    if (!t || (first && !domain))
        return NULL;
    if (first)
        load_all(t, domain, sortit != 0);
    while (span_line(&t->all_rest, &line)) {
        account_free(&t->all_account);
        if (account_parse(&t->all_account, line)) {
            expose(&t->all_account, &none, &t->all_pw);
            return &t->all_pw;
        }
    }
    return NULL;
}

/* --- changing one -------------------------------------------------------------------------------
 */

static int set_account(const struct session *s, const struct account *a) {
    struct lock lock = LOCK_NONE;
    struct change c = store_change(&s->store);
    int error = store_lock(&s->store, &lock);
    if (!error)
        error = store_replace(&s->store, &c, a);
    if (!error)
        error = change_make(&c);
    change_drop(&c);
    lock_release(&lock);
    return error ? error_code(error,
                              error == -ENOENT ? VA_USER_DOES_NOT_EXIST : VA_COULD_NOT_UPDATE_FILE)
                 : VA_SUCCESS;
}

int vauth_setpw(struct vqpasswd *pw, char *domain) {
    struct session s;
    struct account a = {0};
    if (!pw || !domain || !pw->pw_name || !pw->pw_passwd || !pw->pw_gecos || !pw->pw_dir ||
        !pw->pw_shell)
        return VA_NULL_POINTER;
    if (name_breaks_line(pw->pw_name) || name_breaks_line(pw->pw_passwd) ||
        name_breaks_line(pw->pw_gecos) || name_breaks_line(pw->pw_dir) ||
        name_breaks_line(pw->pw_shell))
        return VA_BAD_CHAR;
    if (strlen(pw->pw_passwd) > MAX_PW_PASS)
        return VA_PASSWD_TOO_LONG;
    int found = session_begin(&s, pw->pw_name, domain);
    int code = found > 0 ? VA_SUCCESS : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS && s.store.dir < 0)
        code = VA_BAD_D_DIR;
    if (code == VA_SUCCESS)
        code = account_make(&a, span_of(s.user), span_of(pw->pw_passwd), (unsigned)pw->pw_uid,
                            (unsigned)pw->pw_gid, span_of(pw->pw_gecos), span_of(pw->pw_dir),
                            span_of(pw->pw_shell))
                   ? set_account(&s, &a)
                   : VA_MEMORY_ALLOC_ERR;
    account_free(&a);
    session_end(&s);
    return code;
}

int vauth_open(int will_update) {
    (void)will_update; /* there is no server to connect to */
    return VA_SUCCESS;
}

void vclose(void) {
    per_thread_free();
}
