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

#include "cage.h"
#include "error.h"
#include "include/vauth.h"
#include "maildir.h"
#include "names.h"
#include "qmail.h"
#include "user.h"

/* The longest line of users/assign that the real library writes and reads whole. */
#define ASSIGN_LINE_MAX 298
/* The longest line of vpasswd, whose fields have their own limits. */
#define VPASSWD_LINE_MAX 600
/* What the directory that a domain is hashed into adds to its path. */
#define HASH_MAX 6

int own_begin(const char *home, const char *qmail) {
    return vpopmail_set_home(home, qmail);
}

/* --- before a call ------------------------------------------------------------------------------
 */

static int check_line(const char *name, const char *real, unsigned uid, unsigned gid,
                      const char *path, size_t more) {
    struct buf line = {0};
    buf_fmt(&line, "+%s-:%s:%u:%u:%s:-::", name, real, uid, gid, path);
    int code = line.failed                         ? VA_MEMORY_ALLOC_ERR
               : line.len + more > ASSIGN_LINE_MAX ? VA_DOMAIN_NAME_TOO_LONG
                                                   : VA_SUCCESS;
    buf_free(&line);
    return code;
}

int own_check_add_domain(const char *domain, const char *dir, unsigned uid, unsigned gid) {
    struct home home = {0};
    struct domain found = {0};
    struct buf path = {0};
    int code = name_check_domain(domain);
    char *name = lower_dup(domain);
    if (code == VA_SUCCESS)
        code = name ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS && assign_find(&home, name, &found) > 0)
        code = VA_DOMAIN_ALREADY_EXISTS;
    if (code == VA_SUCCESS && name_breaks_line(dir))
        code = VA_BAD_CHAR;
    if (code == VA_SUCCESS && (dir[0] != '/' || access(dir, F_OK)))
        code = VA_BAD_V_DIR;
    if (code == VA_SUCCESS && strlen(dir) > MAX_PW_DIR)
        code = VA_DIR_TOO_LONG;
    buf_fmt(&path, "%s/" DOMAINS_DIR "/%s", dir, domain);
    if (code == VA_SUCCESS)
        code = buf_c(&path) ? check_line(domain, domain, uid, gid, path.data, HASH_MAX)
                            : VA_MEMORY_ALLOC_ERR;
    buf_free(&path);
    domain_free(&found);
    home_release(&home);
    free(name);
    return code;
}

int own_check_alias_domain(const char *alias_domain, const char *real_domain) {
    struct home home = {0};
    struct domain found = {0};
    int code = name_check_alias_domain(alias_domain);
    if (code == VA_SUCCESS && !name_has_domain_chars(real_domain))
        code = VA_INVALID_DOMAIN_NAME;
    char *real = lower_dup(real_domain);
    if (code == VA_SUCCESS)
        code = real ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS && assign_find(&home, real, &found) > 0)
        code = check_line(alias_domain, found.name, found.uid, found.gid, found.path, 0);
    domain_free(&found);
    home_release(&home);
    free(real);
    return code;
}

int own_check_add_user(const char *user, const char *domain, const char *password,
                       const char *gecos) {
    return user_check_new(user, domain, password, gecos);
}

/* Where a domain's directory is refused to root, so is the call. */
static int check_domain(const struct session *s) {
    return s->store.dir < 0 ? error_code(s->store.dir, VA_SUCCESS) : VA_SUCCESS;
}

int own_check_alias(const char *alias, const char *domain, const char *line) {
    struct session s;
    struct buf file = {0};
    struct stat st;
    if (strlen(alias) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    if (strlen(line) >= MAX_ALIAS_LINE)
        return VA_ALIAS_LINE_TOO_LONG;
    if (strchr(alias, '/'))
        return VA_ILLEGAL_USERNAME;
    int found = session_begin(&s, "", domain);
    int code = found > 0 ? check_domain(&s) : found ? found : VA_ILLEGAL_USERNAME;
    buf_str(&file, ".qmail-");
    for (const char *p = alias; *p; p++)
        buf_char(&file, *p == '.' ? ':' : *p);
    if (code == VA_SUCCESS && !buf_c(&file))
        code = VA_MEMORY_ALLOC_ERR;
    /* Only what file_open() takes is the domain's own to be written to. */
    if (code == VA_SUCCESS && line[0]) {
        int fd = file_open(s.store.dir, file.data, &st);
        code = fd == -ELOOP ? VA_ILLEGAL_USERNAME : VA_SUCCESS;
        fd_close(fd);
    }
    buf_free(&file);
    session_end(&s);
    return code;
}

int own_check_user(const char *user, const char *domain) {
    struct session s;
    struct account a = {0};
    int found = session_begin(&s, user, domain), code = VA_SUCCESS;
    if (found > 0)
        code = check_domain(&s);
    if (found > 0 && code == VA_SUCCESS && s.store.dir >= 0 &&
        store_find(&s.store, s.user, &a) > 0 &&
        maildir_check(&s.store, s.domain.path, a.dir) == -ELOOP)
        code = VA_ILLEGAL_USERNAME;
    account_free(&a);
    session_end(&s);
    return code;
}

/* The number of the first line that is not sound; 0 for none. */
static unsigned long unsound_line(const struct buf *text) {
    struct span rest = {text->data, text->len}, line;
    struct account a = {0};
    unsigned long number = 0;
    bool sound = true;
    while (sound && span_line(&rest, &line)) {
        number++;
        sound = line.len <= VPASSWD_LINE_MAX && !memchr(line.data, '\0', line.len) &&
                account_parse(&a, line) && a.name.len > 0;
        account_free(&a);
    }
    return sound ? 0 : number;
}

int own_check_store(const char *domain) {
    struct session s;
    struct buf text = {0}, words = {0};
    unsigned long number = 0;
    int code = VA_SUCCESS;
    if (session_begin(&s, "", domain) > 0 && s.store.dir >= 0 && store_list(&s.store, &text) == 0)
        number = unsound_line(&text);
    if (number) {
        buf_fmt(&words, "%s/vpasswd: line %lu is malformed; correct or delete it\n", s.domain.path,
                number);
        cage_say(words.data, words.len);
        code = VA_COULD_NOT_UPDATE_FILE;
    }
    buf_free(&text);
    buf_free(&words);
    session_end(&s);
    return code;
}

bool own_knows_user(const char *user, const char *domain) {
    struct session s;
    struct account a = {0};
    int found = session_begin(&s, user, domain);
    bool knows = found > 0 && s.store.dir >= 0 && store_find(&s.store, s.user, &a) > 0;
    account_free(&a);
    session_end(&s);
    return knows;
}

/* --- instead of a call --------------------------------------------------------------------------
 */

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
    (void)dir_sync(dir);
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
