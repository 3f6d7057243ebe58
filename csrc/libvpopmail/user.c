/* Users: vadduser, vdeluser, vpasswd, vsetuserquota, vpopmail_set_flags, vmkpasswd.
 *
 * Order of writes, all under the domain's lock and told of in its journal (change.h). Adding: the
 * user's directory, then vpasswd, its cdb, and the count, so an account that can sign in has its
 * directory. Deleting: vpasswd, its cdb, the count and the freed place, then the directory.
 * Changing: vpasswd, its cdb, for a quota the user's maildirsize. vmkpasswd: the cdb alone. */
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "include/vauth.h"
#include "maildir.h"
#include "names.h"
#include "password.h"

int session_begin(struct session *s, const char *user, const char *domain) {
    *s = (struct session){.store = {.dir = -1}, .user = lower_dup(user)};
    char *name = lower_dup(domain);
    int found = s->user && name ? home_hold(&s->home) : VA_MEMORY_ALLOC_ERR;
    if (found == VA_SUCCESS)
        found = assign_find(&s->home, name, &s->domain);
    if (found > 0)
        s->store = (struct store){domain_dir(&s->domain), s->domain.uid, s->domain.gid};
    if (found > 0 && s->store.dir >= 0 && session_may_read(s))
        store_repair(&s->store);
    free(name);
    return found;
}

void session_end(struct session *s) {
    fd_close(s->store.dir);
    domain_free(&s->domain);
    home_release(&s->home);
    free(s->user);
}

bool session_may_read(const struct session *s) {
    return geteuid() == 0 || geteuid() == s->domain.uid;
}

static struct span text_of(const struct buf *b) {
    return (struct span){b->data, b->len};
}

/* --- adding -------------------------------------------------------------------------------------
 */

int user_check_new(const char *user, const char *domain, const char *password, const char *gecos) {
    if (name_breaks_line(gecos))
        return VA_BAD_CHAR;
    if (strlen(user) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(user) == 1)
        return VA_ILLEGAL_USERNAME;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    if (strlen(domain) < 3)
        return VA_INVALID_DOMAIN_NAME;
    if (strlen(gecos) > MAX_PW_GECOS)
        return VA_GECOS_TOO_LONG;
    if (strlen(password) > MAX_CRYPT_PASS)
        return VA_PASSWD_TOO_LONG;
    if (!name_is_user(user))
        return VA_ILLEGAL_USERNAME;
    return name_check_domain(domain);
}

struct new_user {
    struct buf hash, quota, path;
    struct dir_place place;
    struct account account;
    const char *gecos;
    unsigned int kind;
};

static void new_user_free(struct new_user *n) {
    buf_free(&n->hash);
    buf_free(&n->quota);
    dir_place_end(&n->place);
    buf_free(&n->path);
    account_free(&n->account);
}

static int compose(const struct session *s, struct new_user *n) {
    buf_fmt(&n->path, "%s/", s->domain.path);
    buf_span(&n->path, text_of(&n->place.path));
    buf_str(&n->path, s->user);
    if (n->path.failed || n->quota.failed)
        return -ENOMEM;
    const char *gecos = n->gecos[0] ? n->gecos : s->user;
    bool made = account_make(&n->account, span_of(s->user), text_of(&n->hash), n->kind, 0,
                             span_of(gecos), text_of(&n->path), text_of(&n->quota));
    return made ? 0 : -ENOMEM;
}

/* Readies all of it, with the lock held and the name free. */
static int ready(const struct session *s, struct new_user *n, struct change *c) {
    const struct store *store = &s->store;
    int error = dir_control_add(store->dir, store->uid, store->gid, true, c, &n->place);
    if (error)
        return error_code(error, VA_COULD_NOT_UPDATE_FILE);
    error = maildir_make(store, c, text_of(&n->place.path), s->user, text_of(&n->quota));
    if (error)
        return error == -EEXIST ? VA_EXIST_U_DIR : error_code(error, VA_SUBDIR_CREATION);
    error = compose(s, n);
    if (!error)
        error = store_add(store, c, &n->account);
    return error
               ? error_code(error, error == -EEXIST ? VA_USERNAME_EXISTS : VA_COULD_NOT_UPDATE_FILE)
               : VA_SUCCESS;
}

static int settle(const struct session *s, struct new_user *n) {
    struct change c = store_change(&s->store);
    int code = ready(s, n, &c), error = 0;
    if (code == VA_SUCCESS || code == VA_EXIST_U_DIR) /* the count goes up, as vpopmail has it */
        error = change_make(&c);
    change_drop(&c);
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : code;
}

/* With the lock held: whether the name is free, 0 or a code. */
static int check_free(const struct session *s) {
    struct account other = {0};
    int found = store_find_locked(&s->store, s->user, &other);
    account_free(&other);
    return found > 0 ? VA_USERNAME_EXISTS
           : found   ? error_code(found, VA_COULD_NOT_UPDATE_FILE)
                     : VA_SUCCESS;
}

static int add_locked(const struct session *s, struct new_user *n) {
    struct lock lock = LOCK_NONE;
    int error = store_lock(&s->store, &lock);
    if (error)
        return error_code(error, VA_COULD_NOT_UPDATE_FILE);
    fd_give(lock.fd, s->store.uid, s->store.gid);
    int code = check_free(s);
    if (code == VA_SUCCESS)
        code = settle(s, n);
    lock_release(&lock);
    return code;
}

/* What does not depend on who else is there. */
static int prepare(const struct session *s, const char *password, struct new_user *n) {
    struct limits limits;
    int code = limits_read(&s->home, &s->store, &limits);
    if (code == VA_SUCCESS)
        code = password_allowed(&s->home, password);
    if (code == VA_SUCCESS && password[0]) /* without a password: no hash, nobody can sign in */
        code = password_hash(password, &n->hash);
    if (code == VA_SUCCESS)
        limits_quota(&limits, &n->quota);
    return code;
}

static int add_user(const struct session *s, const char *password, struct new_user *n) {
    struct account other = {0};
    if (s->store.dir < 0)
        return error_code(s->store.dir, VA_BAD_D_DIR);
    int found = store_find(&s->store, s->user, &other);
    account_free(&other);
    if (found)
        return found > 0 ? VA_USERNAME_EXISTS : error_code(found, VA_COULD_NOT_UPDATE_FILE);
    int code = prepare(s, password, n);
    return code == VA_SUCCESS ? add_locked(s, n) : code;
}

static int own_quota(const char *spelling, struct new_user *n) {
    buf_clear(&n->quota);
    return strlen(spelling) > MAX_PW_QUOTA ? VA_QUOTA_TOO_LONG : quota_parse(spelling, &n->quota);
}

int user_ready(const struct session *s, const char *password, const char *gecos, const char *quota,
               struct change *c, struct dir_place *place, const char **step) {
    struct new_user n = {.place = DIR_PLACE_NONE, .gecos = gecos, .kind = USE_POP};
    *step = "vadduser";
    int code = user_check_new(s->user, s->domain.name, password, gecos);
    if (code == VA_SUCCESS)
        code = check_free(s);
    if (code == VA_SUCCESS)
        code = prepare(s, password, &n);
    if (code == VA_SUCCESS && quota) {
        code = own_quota(quota, &n);
        *step = code == VA_SUCCESS ? *step : "vsetuserquota";
    }
    if (code == VA_SUCCESS)
        code = ready(s, &n, c);
    *place = n.place;
    n.place = DIR_PLACE_NONE;
    new_user_free(&n);
    return code;
}

int vadduser(char *user, char *domain, char *password, char *gecos, int apop) {
    if (!user || !domain || !password)
        return VA_NULL_POINTER;
    struct new_user n = {
        .place = DIR_PLACE_NONE, .gecos = gecos ? gecos : "", .kind = apop ? USE_APOP : USE_POP};
    int code = user_check_new(user, domain, password, n.gecos);
    if (code != VA_SUCCESS)
        return code;
    struct session s;
    int found = session_begin(&s, user, domain);
    code = found > 0 ? add_user(&s, password, &n) : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    new_user_free(&n);
    session_end(&s);
    return code;
}

/* --- deleting -----------------------------------------------------------------------------------
 */

/* Whether .qmail-default is `… vdelivermail '' RECIPIENT` and that is this user. */
static bool is_catchall(const struct session *s) {
    static const char mark[] = "vdelivermail ''";
    struct buf text = {0}, address = {0}, path = {0};
    bool is = false;
    if (file_read(s->store.dir, ".qmail-default", &text) == 0 && buf_c(&text)) {
        text.data[strcspn(text.data, "\n")] = '\0';
        char *at = strstr(text.data, mark);
        if (at) {
            at += sizeof mark - 1;
            at += strspn(at, " \t");
            at[strcspn(at, " \t\r")] = '\0';
            buf_fmt(&address, "%s@%s", s->user, s->domain.name);
            buf_fmt(&path, "%s/%s", s->domain.path, s->user);
            is = (buf_c(&address) && !strcmp(at, address.data)) ||
                 (buf_c(&path) && !strcmp(at, path.data));
        }
    }
    buf_free(&text);
    buf_free(&address);
    buf_free(&path);
    return is;
}

static int delete_account(const struct session *s, const struct account *a) {
    struct dir_place place = DIR_PLACE_NONE;
    const struct store *store = &s->store;
    struct change c = store_change(store);
    int tree = maildir_check(store, s->domain.path, a->dir);
    if (tree == -ELOOP)
        return VA_ILLEGAL_USERNAME;
    if (tree && tree != -ENOENT && tree != -ENOTDIR)
        return error_code(tree, VA_COULD_NOT_UPDATE_FILE);
    int error = dir_control_drop(store->dir, store->uid, store->gid,
                                 maildir_place(s->domain.path, a->dir), &c, &place);
    if (!error)
        error = store_remove(store, &c, a->name);
    if (!error)
        tree = maildir_drop(store, &c, s->domain.path, a->dir);
    if (tree && tree != -ENOENT && tree != -ENOTDIR && tree != -ELOOP)
        error = tree;
    if (!error)
        error = change_make(&c);
    change_drop(&c);
    dir_place_end(&place);
    if (error && error != -ENOTEMPTY)
        return error_code(error,
                          error == -ENOENT ? VA_USER_DOES_NOT_EXIST : VA_COULD_NOT_UPDATE_FILE);
    error = error ? error : tree;
    return error ? error_code(error, VA_BAD_DIR) : VA_SUCCESS;
}

/* The user as it is once the lock is held: somebody may have deleted it and added it elsewhere. */
static int delete_locked(const struct session *s) {
    struct account now = {0};
    int found = store_find_locked(&s->store, s->user, &now);
    int code = found > 0 ? delete_account(s, &now) : error_code(found, VA_USER_DOES_NOT_EXIST);
    account_free(&now);
    return code;
}

/* Finds the user and, as vpopmail does with each look-up, reads the domain's limits. */
static int find_user(const struct session *s, struct account *a, struct limits *limits, int none) {
    int found = s->store.dir < 0 ? s->store.dir : store_find(&s->store, s->user, a);
    return found <= 0 ? error_code(found, none) : limits_read(&s->home, &s->store, limits);
}

static int delete_user(const struct session *s) {
    struct account a = {0};
    struct limits limits;
    struct lock lock = LOCK_NONE;
    if (s->store.dir < 0)
        return error_code(s->store.dir, VA_BAD_D_DIR);
    int code = find_user(s, &a, &limits, VA_USER_DOES_NOT_EXIST);
    if (a.name.len) /* found: what its limits are does not matter here */
        code = VA_SUCCESS;
    if (code == VA_SUCCESS && is_catchall(s))
        code = VA_CANNOT_DELETE_CATCHALL;
    if (code == VA_SUCCESS) {
        int error = store_lock(&s->store, &lock);
        code = error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : delete_locked(s);
        lock_release(&lock);
    }
    account_free(&a);
    return code;
}

int vdeluser(char *user, char *domain) {
    if (!user || !domain)
        return VA_NULL_POINTER;
    if (!user[0])
        return VA_ILLEGAL_USERNAME;
    struct session s;
    int found = session_begin(&s, user, domain);
    int code = found > 0 ? delete_user(&s) : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    session_end(&s);
    return code;
}

/* --- changing -----------------------------------------------------------------------------------
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

/* Replaces the hash or the quota (the other is NULL) in the line as it is once the lock is held. */
static int replace_locked(const struct session *s, const struct buf *hash, const struct buf *quota,
                          int none) {
    struct account now = {0}, then = {0};
    struct change c = store_change(&s->store);
    int found = store_find_locked(&s->store, s->user, &now);
    if (found <= 0)
        return error_code(found, none);
    int error = -ENOMEM;
    if (account_make(&then, now.name, hash ? text_of(hash) : now.hash, now.kind, now.flags,
                     now.gecos, now.dir, quota ? text_of(quota) : now.quota))
        error = store_replace(&s->store, &c, &then);
    if (!error && quota) {
        error = maildir_size(&s->store, &c, s->domain.path, now.dir, then.quota);
        if (error == -ENOENT) /* no maildir, nothing to count */
            error = 0;
    }
    if (!error)
        error = change_make(&c);
    change_drop(&c);
    account_free(&now);
    account_free(&then);
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

static int replace(const struct session *s, const struct buf *hash, const struct buf *quota,
                   int none) {
    struct lock lock = LOCK_NONE;
    int error = store_lock(&s->store, &lock);
    int code =
        error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : replace_locked(s, hash, quota, none);
    lock_release(&lock);
    return code;
}

static unsigned int all_flags(const struct account *a, const struct limits *limits) {
    return a->flags & V_OVERRIDE ? a->flags : a->flags | limits->flags;
}

static int set_password(const struct session *s, const char *password) {
    struct account a = {0};
    struct limits limits;
    struct buf hash = {0};
    int code = find_user(s, &a, &limits, VA_ILLEGAL_USERNAME);
    if (code == VA_SUCCESS && all_flags(&a, &limits) & NO_PASSWD_CHNG)
        code = VA_ILLEGAL_USERNAME;
    if (code == VA_SUCCESS)
        code = password_hash(password, &hash);
    if (code == VA_SUCCESS)
        code = replace(s, &hash, NULL, VA_ILLEGAL_USERNAME);
    account_free(&a);
    buf_free(&hash);
    return code;
}

int vpasswd(char *user, char *domain, char *password, int apop) {
    (void)apop; /* vpopmail does not change how a user signs in here */
    if (!user || !domain || !password)
        return VA_NULL_POINTER;
    int code = check_lengths(user, domain, password, MAX_PW_PASS, VA_PASSWD_TOO_LONG);
    if (code != VA_SUCCESS)
        return code;
    struct session s;
    int found = session_begin(&s, user, domain);
    code = found == VA_MEMORY_ALLOC_ERR ? found : password_allowed(&s.home, password);
    if (code == VA_SUCCESS)
        code = found > 0 ? set_password(&s, password) : found ? found : VA_ILLEGAL_USERNAME;
    session_end(&s);
    return code;
}

static int set_quota(const struct session *s, const char *spelling) {
    struct account a = {0};
    struct limits limits;
    struct buf quota = {0};
    int code = find_user(s, &a, &limits, VA_USER_DOES_NOT_EXIST);
    if (a.name.len) /* found: what its limits are does not matter here */
        code = VA_SUCCESS;
    if (code == VA_SUCCESS)
        code = quota_parse(spelling, &quota);
    if (code == VA_SUCCESS)
        code = replace(s, NULL, &quota, VA_USER_DOES_NOT_EXIST);
    account_free(&a);
    buf_free(&quota);
    return code;
}

int vsetuserquota(char *user, char *domain, char *quota) {
    if (!user || !domain || !quota)
        return VA_NULL_POINTER;
    int code = check_lengths(user, domain, quota, MAX_PW_QUOTA, VA_QUOTA_TOO_LONG);
    if (code != VA_SUCCESS)
        return code;
    struct session s;
    int found = session_begin(&s, user, domain);
    code = found > 0 ? set_quota(&s, quota) : found ? found : VA_USER_DOES_NOT_EXIST;
    session_end(&s);
    return code;
}

static int set_flags(const struct session *s, unsigned int flags) {
    struct account now = {0}, then = {0};
    struct change c = store_change(&s->store);
    struct lock lock = LOCK_NONE;
    int error = store_lock(&s->store, &lock);
    int found = error ? error : store_find_locked(&s->store, s->user, &now);
    if (found <= 0)
        error = found ? found : -ENOENT;
    else if (!account_make(&then, now.name, now.hash, now.kind, flags, now.gecos, now.dir,
                           now.quota))
        error = -ENOMEM;
    if (!error)
        error = store_replace(&s->store, &c, &then);
    if (!error)
        error = change_make(&c);
    change_drop(&c);
    lock_release(&lock);
    account_free(&now);
    account_free(&then);
    return error ? error_code(error,
                              error == -ENOENT ? VA_USER_DOES_NOT_EXIST : VA_COULD_NOT_UPDATE_FILE)
                 : VA_SUCCESS;
}

int vpopmail_set_flags(const char *user, const char *domain, unsigned int flags) {
    if (!user || !domain)
        return VA_NULL_POINTER;
    struct session s;
    int found = session_begin(&s, user, domain);
    int code = found > 0 ? VA_SUCCESS : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        code = s.store.dir < 0 ? error_code(s.store.dir, VA_BAD_D_DIR) : set_flags(&s, flags);
    session_end(&s);
    return code;
}

int vmkpasswd(char *domain) {
    if (!domain)
        return VA_NULL_POINTER;
    struct session s;
    struct lock lock = LOCK_NONE;
    int found = session_begin(&s, "", domain);
    int code = found > 0 ? VA_SUCCESS : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS && s.store.dir < 0)
        code = VA_BAD_D_DIR;
    if (code == VA_SUCCESS) {
        int error = store_lock(&s.store, &lock);
        if (!error)
            error = store_rebuild(&s.store);
        code = error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
        lock_release(&lock);
    }
    session_end(&s);
    return code;
}
