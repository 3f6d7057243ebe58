/* Between Python and a real libvpopmail. Each call goes to the cage with copies of its arguments
 * that the library may write over, is checked there before the library sees it, and brings back
 * copies of the results. */
#include "real.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cage.h"
#include "imports.h"
#include "own.h"

#if defined AUTH_MODULE
#elif defined USE_CDB
#define AUTH_MODULE "cdb"
#elif defined USE_MYSQL
#define AUTH_MODULE "mysql"
#elif defined USE_POSTGRES
#define AUTH_MODULE "pgsql"
#elif defined USE_LDAP
#define AUTH_MODULE "ldap"
#elif defined USE_ORACLE
#define AUTH_MODULE "oracle"
#elif defined USE_SYBASE
#define AUTH_MODULE "sybase"
#elif defined USE_SQLITE
#define AUTH_MODULE "sqlite"
#else
#define AUTH_MODULE "passwd"
#endif

/* The password-policy codes; the library keeps one text for all of them. */
#define IS_POLICY(code) ((code) <= -69 && (code) >= -74)

#define IS_PARSE_ERROR(code) ((code) == VA_PARSE_ERROR || ((code) <= -45 && (code) >= -54))

static _Thread_local char policy[ROOM];
static bool caught;

/* --- calling ------------------------------------------------------------------------------------
 */

bool call_put(char *to, const char *argument) {
    size_t size = strlen(argument) + 1;
    if (size > ROOM)
        return false;
    memcpy(to, argument, size);
    return true;
}

/* Connects where the library has a server and is not connected, or not any more: many of its
 * functions take it for granted that it is. */
static int connect_server(void) {
#if defined USE_CDB && !defined VPX_SHARED
    return VA_SUCCESS;
#else
    static bool failed;
    if (failed || cage_lost_connection())
        vclose();
    int code = vauth_open(1);
#ifdef VPX_SHARED
    if (code == VA_SUCCESS && strcmp(vauth_module_name(), AUTH_MODULE) != 0) {
        static const char other[] =
            VPX_AUTH_MODULE " is no longer " AUTH_MODULE ": build vpopmail_ext again\n";
        cage_say(other, strlen(other));
        code = VA_NO_AUTH_CONNECTION;
    }
#endif
    failed = code != VA_SUCCESS;
    /* The codes of its configuration file say more; any other does not say what it is about. */
    return !failed || IS_PARSE_ERROR(code) ? code : VA_NO_AUTH_CONNECTION;
#endif
}

/* The library remembers the last domain that it has found, until it looks for one that is not
 * there; another process may have deleted or moved it meanwhile. */
static bool has_domain(const char *name) {
    char domain[ROOM], dir[ROOM];
    uid_t uid;
    gid_t gid;
    return call_put(domain, name) && own_check_domain(domain) == VA_SUCCESS &&
           vget_assign(domain, dir, sizeof dir - 1, &uid, &gid);
}

static void forget_domain(void) {
    (void)has_domain(".");
}

static void perform(void *argument) {
    struct call *c = argument;
    c->code = c->changes_domains ? own_lock_domains() : VA_SUCCESS;
    if (c->code == VA_SUCCESS && c->changes_users)
        c->code = own_lock_users(c->domain);
    if (c->code == VA_SUCCESS && !c->asks_nobody) {
        forget_domain();
        c->code = connect_server();
    }
    if (c->code == VA_SUCCESS)
        c->work(c);
}

int call_run(void (*work)(struct call *c), struct call *c) {
    c->work = work;
    int result = caught ? cage_run(perform, c) : CAGE_REFUSED;
    int code = result == CAGE_REFUSED  ? VPX_NO_CAGE
               : result == CAGE_EXITED ? VA_NO_AUTH_CONNECTION
                                       : c->code;
    if (IS_POLICY(code))
        memcpy(policy, c->policy, sizeof policy);
    explicit_bzero(c, sizeof *c);
    return code;
}

void call_answer(struct call *c, int code) {
    c->code = code;
    if (IS_POLICY(code)) {
        const char *text = verror(code);
        strncpy(c->policy, text ? text : "", sizeof c->policy - 1);
    }
}

/* --- changing -----------------------------------------------------------------------------------
 */

static void add_domain(struct call *c) {
    int code = own_check_add_domain(c->domain, c->text, c->uid, c->gid);
    char dir[ROOM];
    if (code == VA_SUCCESS && snprintf(dir, sizeof dir, "%s%s", c->text, DOMAINS_BELOW) >= ROOM)
        code = VA_DIR_TOO_LONG;
    if (code == VA_SUCCESS)
        code = vadddomain(c->domain, dir, c->uid, c->gid);
    call_answer(c, code);
    own_tidy(c->text);
    own_settle_domains();
}

int vpx_add_domain(const char *domain, const char *dir, unsigned int uid, unsigned int gid) {
    struct call c = {.changes_domains = true, .uid = uid, .gid = gid};
    if (!call_put(c.domain, domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    if (!call_put(c.text, dir))
        return VA_DIR_TOO_LONG;
    return call_run(add_domain, &c);
}

static void del_domain(struct call *c) {
    char name[ROOM];
    (void)call_put(name, c->domain);
    int code = own_check_del_domain(c->domain);
    if (code == VA_SUCCESS)
        code = vdeldomain(c->domain);
    forget_domain();
    if (code == VA_SUCCESS && has_domain(name)) /* it may not write, and does not say so */
        code = VA_COULD_NOT_UPDATE_FILE;
    call_answer(c, code);
    own_settle_domains();
}

int vpx_del_domain(const char *domain) {
    struct call c = {.changes_domains = true, .changes_users = true};
    if (strlen(domain) > MAX_PW_DOMAIN || !call_put(c.domain, domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    return call_run(del_domain, &c);
}

static void add_alias_domain(struct call *c) {
    int code = own_check_alias_domain(c->text, c->domain);
    if (code == VA_SUCCESS)
        code = vaddaliasdomain(c->text, c->domain);
    call_answer(c, code);
    own_settle_domains();
}

int vpx_add_alias_domain(const char *alias_domain, const char *real_domain) {
    struct call c = {.changes_domains = true};
    if (!call_put(c.text, alias_domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    if (!call_put(c.domain, real_domain))
        return VA_DOMAIN_DOES_NOT_EXIST;
    return call_run(add_alias_domain, &c);
}

/* What the library makes new hashes with, and how long they are. */
#if defined(SHA512_PASSWORDS)
#define NEW_HASH "$6$........$"
#define HASH_SIZE 106
#elif defined(MD5_PASSWORDS)
#define NEW_HASH "$1$........$"
#define HASH_SIZE 34
#else
#define NEW_HASH ".."
#define HASH_SIZE 13
#endif

/* What a password takes that is kept as it is given. */
static size_t clear_size(const char *password) {
#ifdef CLEAR_PASS
    return password ? strlen(password) + 1 : 1;
#else
    (void)password;
    return 0;
#endif
}

static size_t line_size(const struct vqpasswd *pw) {
    char numbers[32];
    int size = snprintf(numbers, sizeof numbers, "::1:%u:::", (unsigned)pw->pw_gid);
    return (size_t)size + strlen(pw->pw_name) + strlen(pw->pw_passwd) + strlen(pw->pw_gecos) +
           strlen(pw->pw_dir) + strlen(pw->pw_shell) + clear_size(pw->pw_clear_passwd);
}

bool call_line_fits(const struct vqpasswd *pw) {
    return !IN_CDB || line_size(pw) <= LONGEST_LINE;
}

/* Whether a new user's line fits, where its directory and quota are as long as they may be. */
static bool new_line_fits(const struct call *c) {
    static char none[] = "";
    struct call at = {0};
    struct place p;
    struct vqpasswd pw = {none, none, 0, 0, 0, none, none, none, none};
    (void)call_put(at.domain, c->domain);
    if (!IN_CDB || !call_find_domain(&at, &p))
        return true;
    size_t size = line_size(&pw) - clear_size("") + clear_size(c->text) + strlen(c->user) +
                  HASH_SIZE + strlen(c->more) + strlen(p.dir) + strlen("/0/0/0/") +
                  strlen(c->user) + MAX_PW_QUOTA;
    return size <= LONGEST_LINE;
}

/* Whether a user's line fits with another password or, where that is NULL, any quota. */
static bool changed_line_fits(const struct call *c, const char *password) {
    struct call at = {0};
    (void)(call_put(at.user, c->user) && call_put(at.domain, c->domain));
    struct vqpasswd *pw = IN_CDB ? vauth_getpw(at.user, at.domain) : NULL;
    if (!pw)
        return true;
    size_t size = line_size(pw);
    if (password)
        size += HASH_SIZE - strlen(pw->pw_passwd) + clear_size(password) -
                clear_size(pw->pw_clear_passwd);
    else
        size += MAX_PW_QUOTA - strlen(pw->pw_shell);
    return size <= LONGEST_LINE;
}

void call_add_user(struct call *c) {
    int code = BREAKS_LINE(c->text)
                   ? VA_BAD_CHAR
                   : own_check_add_user(c->user, c->domain, c->text, c->more, IN_CDB);
    if (code == VA_SUCCESS && !new_line_fits(c))
        code = VA_PASSWD_TOO_LONG;
    if (code == VA_SUCCESS)
        code = vadduser(c->user, c->domain, c->text, c->more, c->number);
    call_answer(c, code);
    own_settle_users(c->domain);
}

int vpx_add_user(const char *user, const char *domain, const char *password, const char *gecos,
                 int apop) {
    struct call c = {.changes_users = true, .number = apop};
    if (!call_put(c.user, user))
        return VA_USER_NAME_TOO_LONG;
    if (!call_put(c.domain, domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    if (!call_put(c.more, gecos))
        return VA_GECOS_TOO_LONG;
    if (!call_put(c.text, password))
        return VA_PASSWD_TOO_LONG;
    return call_run(call_add_user, &c);
}

void call_del_user(struct call *c) {
    int code = c->user[0] ? own_check_user(c->user, c->domain, VA_USER_DOES_NOT_EXIST, IN_CDB)
                          : VA_ILLEGAL_USERNAME;
    if (code == VA_SUCCESS)
        code = vdeluser(c->user, c->domain);
    call_answer(c, code);
    own_settle_users(c->domain);
}

int vpx_del_user(const char *user, const char *domain) {
    struct call c = {.changes_users = true};
    if (!call_put(c.domain, domain))
        return VA_DOMAIN_DOES_NOT_EXIST;
    if (!call_put(c.user, user))
        return VA_USER_DOES_NOT_EXIST;
    return call_run(call_del_user, &c);
}

static void passwd(struct call *c) {
    int code = BREAKS_LINE(c->text)
                   ? VA_BAD_CHAR
                   : own_check_user(c->user, c->domain, VA_ILLEGAL_USERNAME, IN_CDB);
    if (code == VA_SUCCESS && !changed_line_fits(c, c->text))
        code = VA_PASSWD_TOO_LONG;
    if (code == VA_SUCCESS)
        code = vpasswd(c->user, c->domain, c->text, c->number);
    call_answer(c, code);
    own_settle_users(c->domain);
}

/* Names and a value that a buffer of the library's is to hold: 0 or the code of what is too long.
 */
static int check_lengths(const char *user, const char *domain, const char *value, size_t max,
                         int too_long) {
    if (strlen(user) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(user) == 1)
        return VA_ILLEGAL_USERNAME;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    return strlen(value) > max ? too_long : VA_SUCCESS;
}

int vpx_passwd(const char *user, const char *domain, const char *password, int apop) {
    struct call c = {.changes_users = true, .number = apop};
    int code = check_lengths(user, domain, password, MAX_PW_PASS, VA_PASSWD_TOO_LONG);
    if (code != VA_SUCCESS)
        return code;
    (void)(call_put(c.user, user) && call_put(c.domain, domain) && call_put(c.text, password));
    return call_run(passwd, &c);
}

void call_set_quota(struct call *c) {
    int code = own_check_user(c->user, c->domain, VA_USER_DOES_NOT_EXIST, IN_CDB);
    if (code == VA_SUCCESS && !changed_line_fits(c, NULL))
        code = VA_QUOTA_TOO_LONG;
    if (code == VA_SUCCESS)
        code = vsetuserquota(c->user, c->domain, c->text);
    call_answer(c, code);
    own_settle_users(c->domain);
}

int vpx_set_user_quota(const char *user, const char *domain, const char *quota) {
    struct call c = {.changes_users = true};
    int code = check_lengths(user, domain, quota, MAX_PW_QUOTA, VA_QUOTA_TOO_LONG);
    if (code != VA_SUCCESS)
        return code;
    (void)(call_put(c.user, user) && call_put(c.domain, domain) && call_put(c.text, quota));
    return call_run(call_set_quota, &c);
}

/* --- authentication -----------------------------------------------------------------------------
 */

void call_take_time(const struct call *c, const struct vqpasswd *user) {
    bool locked = !user || !user->pw_passwd || strchr("*!", user->pw_passwd[0]); /* also "" */
    if (c->equal_time && locked)
        own_take_time(c->text, NEW_HASH);
}

static void auth_user(struct call *c) {
    /* Also of one that the library has no room for: to look for it leaves a lock. */
    bool known = !IN_CDB || own_find_user(c->user, c->domain) > 0;
    known = known && strlen(c->user) <= MAX_PW_NAME;
    c->code = known && vauth_user(c->user, c->domain, c->text, c->more) != NULL;
    if (c->code == 0 && c->equal_time)
        call_take_time(c, known ? vauth_getpw(c->user, c->domain) : NULL);
}

int vpx_auth_user(const char *user, const char *domain, const char *password, int equal_time) {
    struct call c = {.equal_time = equal_time};
    if (!user[0] || !domain[0] || strlen(domain) > MAX_PW_DOMAIN)
        return 0;
    if (!call_put(c.user, user) || !call_put(c.domain, domain) || !call_put(c.text, password))
        return 0;
    int code = call_run(auth_user, &c);
    return code == VPX_NO_CAGE ? code : code == 1;
}

int vpx_auth_many(const char *credentials, size_t count, int equal_time, char *matches) {
    for (size_t i = 0; i < count; i++) {
        const char *domain = credentials + strlen(credentials) + 1;
        const char *password = domain + strlen(domain) + 1;
        int match = vpx_auth_user(credentials, domain, password, equal_time);
        if (match == VPX_NO_CAGE)
            return match;
        matches[i] = (char)match;
        credentials = password + strlen(password) + 1;
    }
    return VA_SUCCESS;
}

/* --- aliases ------------------------------------------------------------------------------------
 */

static void alias_add(struct call *c) {
    int code = own_check_alias(c->user, c->domain, c->text);
    if (code == VA_SUCCESS)
        code = valias_insert(c->user, c->domain, c->text);
    call_answer(c, code);
}

int vpx_alias_add(const char *alias, const char *domain, const char *line) {
    struct call c = {.changes_users = true};
    if (!call_put(c.user, alias))
        return VA_USER_NAME_TOO_LONG;
    if (!call_put(c.domain, domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    if (!call_put(c.text, line))
        return VA_ALIAS_LINE_TOO_LONG;
    return call_run(alias_add, &c);
}

static void alias_del(struct call *c) {
    int code = own_check_alias(c->user, c->domain, "");
    if (code == VA_SUCCESS)
        code = valias_delete(c->user, c->domain);
    call_answer(c, code);
}

int vpx_alias_del(const char *alias, const char *domain) {
    struct call c = {.changes_users = true};
    if (!call_put(c.user, alias))
        return VA_USER_NAME_TOO_LONG;
    if (!call_put(c.domain, domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    return call_run(alias_del, &c);
}

void append(struct vpx_bytes *out, const char *mark, const char *text) {
    size_t first = strlen(mark), second = strlen(text) + 1;
    char *grown = realloc(out->data, out->size + first + second);
    if (!grown)
        return;
    out->data = grown;
    memcpy(out->data + out->size, mark, first);
    memcpy(out->data + out->size + first, text, second);
    out->size += first + second;
}

#ifdef VALIAS
static void alias_get(struct call *c) {
    for (char *line = valias_select(c->user, c->domain); line; line = valias_select_next())
        append(c->out, "", line);
}

static void alias_get_all(struct call *c) {
    char last[ROOM] = "";
    for (char *line = valias_select_all(c->user, c->domain); line;
         line = valias_select_all_next(c->user)) {
        if (!c->out->size || strcmp(last, c->user) != 0)
            append(c->out, "A", c->user);
        (void)call_put(last, c->user);
        append(c->out, "L", line);
    }
}

static void alias_del_domain(struct call *c) {
    call_answer(c, valias_delete_domain(c->domain));
}
#else
/* The library's own list ends at the first alias without lines. */
static void alias_get(struct call *c) {
    c->code = own_alias(c->user, c->domain, &c->out->data, &c->out->size);
}

static void alias_get_all(struct call *c) {
    c->code = own_aliases(c->domain, &c->out->data, &c->out->size);
}

static void alias_del_domain(struct call *c) {
    c->code = own_delete_aliases(c->domain);
}
#endif

int vpx_alias_get(const char *alias, const char *domain, struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    if (strlen(alias) > MAX_PW_NAME || strlen(domain) > MAX_PW_DOMAIN)
        return VA_SUCCESS;
    (void)(call_put(c.user, alias) && call_put(c.domain, domain));
    return call_run(alias_get, &c);
}

int vpx_alias_get_all(const char *domain, struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_SUCCESS;
    (void)call_put(c.domain, domain);
    return call_run(alias_get_all, &c);
}

int vpx_alias_del_domain(const char *domain) {
    struct call c = {0};
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_ILLEGAL_USERNAME;
    (void)call_put(c.domain, domain);
    return call_run(alias_del_domain, &c);
}

/* --- around it ----------------------------------------------------------------------------------
 */

void vpx_free(struct vpx_bytes *bytes) {
    if (bytes->data)
        explicit_bzero(bytes->data, bytes->size);
    free(bytes->data);
    *bytes = (struct vpx_bytes){NULL, 0};
}

static int copy_text(const char *text, struct vpx_bytes *out) {
    *out = (struct vpx_bytes){NULL, 0};
    append(out, "", text);
    if (out->size)
        out->size--;
    return out->data ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
}

static void error_text(struct call *c) {
    const char *text = verror(c->number);
    c->code = copy_text(text ? text : "", c->out);
}

int vpx_error(int code, struct vpx_bytes *out) {
    struct call c = {.out = out, .number = code, .asks_nobody = true};
    return IS_POLICY(code) ? copy_text(policy, out) : call_run(error_text, &c);
}

int vpx_configure(const char *home, const char *qmail) {
    caught = imports_are_caught();
    own_set_longest_line(LONGEST_LINE);
    cage_on_fork(vclose);
    cage_after_each(own_unlock);
    bool same = (!home || !strcmp(home, VPOPMAILDIR)) && (!qmail || !strcmp(qmail, QMAILDIR));
    return same && own_begin(VPOPMAILDIR, QMAILDIR) == VA_SUCCESS ? 0 : -1;
}

/* Whose the domains are: vpopmail 5.5 looks that up when it runs. */
static void find_ids(struct vpx_library *out) {
#ifdef VPX_SHARED
    struct passwd entry, *found = NULL;
    char *names = NULL;
    int error = ERANGE;
    for (size_t size = 1024; error == ERANGE; size *= 2) {
        free(names);
        names = malloc(size);
        error = names ? getpwnam_r(VPOPUSER, &entry, names, size, &found) : ENOMEM;
    }
    out->uid = found ? found->pw_uid : (unsigned)-1;
    out->gid = found ? found->pw_gid : (unsigned)-1;
    free(names);
#else
    out->uid = VPOPMAILUID;
    out->gid = VPOPMAILGID;
#endif
}

void vpx_library(struct vpx_library *out) {
    *out = (struct vpx_library){.bundled = 0,
#ifdef VALIAS
                                .has_valias = 1,
#endif
                                .has_policy = VPX_HAS_POLICY,
#ifdef CLEAR_PASS
                                .clear_passwords = 1,
#endif
                                .max_user = MAX_PW_NAME,
                                .max_gecos = MAX_PW_GECOS,
                                .version = VERSION,
                                .auth_module = AUTH_MODULE,
                                .path = VPX_LIBRARY,
                                .simd = "off"};
    find_ids(out);
}

int vpx_home(struct vpx_bytes *out) {
    return copy_text(VPOPMAILDIR, out);
}

int vpx_qmail(struct vpx_bytes *out) {
    return copy_text(QMAILDIR, out);
}

static void settle(struct call *c) {
    (void)c;
    own_settle_domains();
}

int vpx_settle(void) {
    struct call c = {.asks_nobody = true};
    return call_run(settle, &c);
}

static void end(void *argument) {
    (void)argument;
    vclose();
}

void vpx_close(void) {
    cage_close(end, NULL);
}

int vpx_has_words(void) {
    return cage_has_words();
}

void vpx_words(struct vpx_bytes *out) {
    cage_words(&out->data, &out->size);
}
