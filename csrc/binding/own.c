/* Compiled with the bundled library's headers and all of its source; of what that makes only the
 * functions of own.h are seen where the real library is linked. */
#pragma GCC visibility push(default)
#include "own.h"
#pragma GCC visibility pop

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bulk.h"
#include "cage.h"
#include "error.h"
#include "include/vauth.h"
#include "maildir.h"
#include "names.h"
#include "password.h"
#include "qmail.h"
#include "user.h"

int own_begin(const char *home, const char *qmail) {
    return vpopmail_set_home(home, qmail);
}

/* --- between processes --------------------------------------------------------------------------
 */

static struct lock domains_lock = {-1, false}, users_lock = {-1, false};

static int wait_for(int dir, const char *path, const char *below, struct lock *lock) {
    int error = lock_dir(dir, lock);
    struct buf words = {0};
    if (error != -EAGAIN)
        return error == -ENOMEM ? VA_MEMORY_ALLOC_ERR : VA_SUCCESS;
    buf_fmt(&words, "%s%s: another process holds its lock and does not let go\n", path, below);
    cage_say(words.data, words.len);
    buf_free(&words);
    return VA_COULD_NOT_UPDATE_FILE;
}

int own_lock_domains(void) {
    struct home home = {0};
    int code = home_hold(&home);
    int dir = code == VA_SUCCESS ? home_dir(home.path, DOMAINS_DIR) : -1;
    if (dir >= 0)
        code = wait_for(dir, home.path, "/" DOMAINS_DIR, &domains_lock);
    fd_close(dir);
    home_release(&home);
    return code;
}

/* Locks the domain's directory where there is one; whether it was deleted meanwhile. */
static bool try_users(const struct session *s, int *code) {
    struct stat st;
    *code = VA_SUCCESS;
    if (s->store.dir >= 0)
        *code = wait_for(s->store.dir, s->domain.path, "", &users_lock);
    bool deleted = s->store.dir >= 0 && fstat(s->store.dir, &st) == 0 && st.st_nlink == 0;
    if (deleted)
        lock_release(&users_lock);
    return deleted;
}

int own_lock_users(const char *domain) {
    bool all = domains_lock.fd >= 0, again = true;
    int code = VA_SUCCESS;
    while (again && code == VA_SUCCESS) {
        struct session s;
        bool found = session_begin(&s, "", domain) > 0;
        again = found && try_users(&s, &code);
        /* One that is missing is not to come during the call either. */
        if (!found && domains_lock.fd < 0) {
            code = own_lock_domains();
            again = domains_lock.fd >= 0;
        }
        session_end(&s);
        if (found && !again && !all)
            lock_release(&domains_lock);
    }
    return code;
}

void own_unlock(void) {
    lock_release(&users_lock);
    lock_release(&domains_lock);
}

/* --- instead of a call --------------------------------------------------------------------------
 */

void own_take_time(const char *password, const char *setting) {
    (void)password_matches(password, setting, false); /* a setting is no hash */
}

int own_alias(const char *alias, const char *domain, char **data, size_t *size) {
    return vpopmail_alias(alias, domain, data, size);
}

int own_aliases(const char *domain, char **data, size_t *size) {
    return vpopmail_aliases(domain, data, size);
}

int own_delete_aliases(const char *domain) {
    return valias_delete_domain((char *)domain);
}

void own_reread_qmail(void) {
    struct home home = {0};
    if (home_hold(&home) == VA_SUCCESS)
        qmail_reread(&home);
    home_release(&home);
}

/* --- many users ---------------------------------------------------------------------------------
 */

struct own_bulk {
    struct vpopmail_bulk *rows;
};

int own_bulk_open(const char *domain, bool has_policy, struct own_bulk **out) {
    struct own_bulk *b = calloc(1, sizeof *b);
    *out = NULL;
    int code = b ? vpopmail_bulk_open(domain, &b->rows) : VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS) {
        if (!has_policy)
            bulk_allow_any_password(b->rows);
        *out = b;
    } else {
        free(b);
    }
    return code;
}

int own_bulk_take(struct own_bulk *b, const char *rows, size_t count) {
    return vpopmail_bulk_take(b->rows, rows, count);
}

int own_bulk_check(struct own_bulk *b, bool in_cdb) {
    return bulk_check_beside(b->rows, in_cdb);
}

size_t own_bulk_count(const struct own_bulk *b) {
    return bulk_count(b->rows);
}

struct own_row own_bulk_row(const struct own_bulk *b, size_t at) {
    struct bulk_row r = bulk_row(b->rows, at);
    return (struct own_row){r.name, r.password, r.hash, r.gecos, r.quota, r.kind, r.flags};
}

void own_bulk_refuse(struct own_bulk *b, size_t at, int code, const char *text) {
    bulk_refuse(b->rows, at, code, text);
}

bool own_bulk_is_refused(const struct own_bulk *b) {
    return bulk_is_refused(b->rows);
}

int own_bulk_refused(const struct own_bulk *b, char **data, size_t *size) {
    return vpopmail_bulk_refused(b->rows, data, size);
}

void own_bulk_restore(const struct own_bulk *b) {
    (void)bulk_restore(b->rows);
}

void own_bulk_close(struct own_bulk *b) {
    vpopmail_bulk_close(b->rows);
    free(b);
}

/* --- after a call -------------------------------------------------------------------------------
 */

void own_tidy(const char *dir) {
    struct buf name = {0};
    int fd = home_dir(dir, DOMAINS_DIR);
    buf_fmt(&name, ".%ld", (long)getpid());
    if (fd >= 0 && buf_c(&name))
        (void)unlinkat(fd, name.data, 0);
    buf_free(&name);
    fd_close(fd);
}

/* Syncs a file that is there, and gives it a mode (0: as it is). */
static void settle(int dir, const char *name, mode_t mode) {
    struct stat st;
    int fd = file_open(dir, name, &st);
    if (fd < 0)
        return;
    if (mode && (st.st_mode & 07777) != mode)
        (void)fchmod(fd, mode);
    (void)fsync(fd);
    fd_close(fd);
}

static void settle_all(int dir, const char *const *names, mode_t mode) {
    if (dir < 0)
        return;
    for (; *names; names++)
        settle(dir, *names, mode);
    (void)fd_sync(dir);
    fd_close(dir);
}

void own_settle_domains(void) {
    static const char *const users[] = {"assign", "cdb", NULL};
    static const char *const control[] = {"rcpthosts",      "morercpthosts", "morercpthosts.cdb",
                                          "virtualdomains", "locals",        NULL};
    static const char *const domains[] = {".dir-control", NULL};
    struct home home = {0};
    if (home_hold(&home) == VA_SUCCESS) {
        settle_all(home_dir(home.path, DOMAINS_DIR), domains, 0);
        settle_all(home_dir(home.qmail, "users"), users, 0644);
        settle_all(home_dir(home.qmail, "control"), control, 0644);
    }
    home_release(&home);
}

void own_settle_users(const char *domain) {
    static const char *const names[] = {"vpasswd", "vpasswd.cdb", ".dir-control",
                                        ".dir_control_free", NULL};
    struct session s;
    if (session_begin(&s, "", domain) > 0 && s.store.dir >= 0)
        settle_all(dir_open(s.store.dir, ".", false), names, 0);
    session_end(&s);
}
