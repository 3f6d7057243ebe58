/* The checks before a call of a real libvpopmail: what it would do wrong, or not survive, is
 * refused with the code that our own library has for it. */
#pragma GCC visibility push(default)
#include "own.h"
#pragma GCC visibility pop

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cage.h"
#include "cdb.h"
#include "dir_control.h"
#include "error.h"
#include "include/vauth.h"
#include "maildir.h"
#include "names.h"
#include "stream.h"
#include "user.h"

/* The longest line of users/assign that the real library writes and reads whole. */
#define ASSIGN_LINE_MAX 298
/* The longest line of vpasswd, whose fields have their own limits. */
#define VPASSWD_LINE_MAX 600

#define VPASSWD_CDB "vpasswd.cdb"
#define LIMITS ".qmailadmin-limits"

/* What lies at NAME is missing or a file that the domain has for itself alone. */
static int check_file(int dir, const char *name) {
    int fd = file_open(dir, name, NULL);
    fd_close(fd);
    return fd == -ELOOP    ? VA_ILLEGAL_USERNAME
           : fd == -EISDIR ? VA_COULD_NOT_UPDATE_FILE
                           : VA_SUCCESS;
}

/* --- domains ------------------------------------------------------------------------------------
 */

/* Whether qmail-newu, which gives up at the first other line, and the library's buffers take it. */
static bool is_assign_line(struct span line) {
    const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
    size_t colons = 0;
    for (size_t i = 0; i < line.len; i++)
        colons += line.data[i] == ':';
    return colon > line.data && colons > 6 && line.len <= ASSIGN_LINE_MAX &&
           !memchr(line.data, '\0', line.len);
}

static int check_assign(const struct home *home) {
    struct buf text = {0}, words = {0};
    int code = assign_read(home, &text);
    struct span rest = {text.data, text.len}, line;
    unsigned long number = 0;
    while (code == VA_SUCCESS && span_line(&rest, &line) && (!line.len || line.data[0] != '.')) {
        number++;
        if (!is_assign_line(line))
            code = VA_COULD_NOT_UPDATE_FILE;
    }
    if (code == VA_COULD_NOT_UPDATE_FILE) {
        buf_fmt(&words, "%s/users/assign: line %lu is malformed; correct or delete it\n",
                home->qmail, number);
        cage_say(words.data, words.len);
    }
    buf_free(&text);
    buf_free(&words);
    return code;
}

/* What the library would give up at when it has changed one half: 0 or a code. */
static int check_qmail(const struct home *home) {
    static const char *const names[] = {"rcpthosts", "morercpthosts", "virtualdomains", "locals"};
    int code = check_assign(home);
    int control = home_dir(home->qmail, "control");
    for (size_t i = 0; i < sizeof names / sizeof *names && code == VA_SUCCESS; i++) {
        struct stat st;
        if (control >= 0 && fstatat(control, names[i], &st, 0) == 0 && S_ISDIR(st.st_mode))
            code = VA_COULD_NOT_UPDATE_FILE;
    }
    fd_close(control);
    return code;
}

static int check_line(const char *name, const char *real, unsigned uid, unsigned gid,
                      const char *path) {
    struct buf line = {0};
    buf_fmt(&line, "+%s-:%s:%u:%u:%s:-::", name, real, uid, gid, path);
    int code = line.failed                  ? VA_MEMORY_ALLOC_ERR
               : line.len > ASSIGN_LINE_MAX ? VA_DOMAIN_NAME_TOO_LONG
                                            : VA_SUCCESS;
    buf_free(&line);
    return code;
}

/* The count of domains, and the place of the next one where this uid's are counted by it. */
static int check_count(const struct home *home, uid_t uid, struct buf *place) {
    uid_t own;
    gid_t group;
    int domains = home_dir(home->path, DOMAINS_DIR);
    if (domains < 0)
        return VA_SUCCESS;
    (void)home_ids(home, &own, &group);
    int code = check_file(domains, ".dir-control");
    if (code == VA_SUCCESS && dir_control_mend(domains, own, group))
        code = VA_COULD_NOT_UPDATE_FILE;
    if (code == VA_SUCCESS && place && uid == own && dir_control_next(domains, false, place))
        code = VA_COULD_NOT_UPDATE_FILE;
    fd_close(domains);
    return code;
}

static int is_link(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)path, (void)st, (void)at;
    return type == FTW_SL;
}

/* A directory becomes the domain's with all that is below it, and the library follows links there;
 * a file, or a link, is not what the library takes it for. */
static int check_tree_to_be(const char *path) {
    struct stat st;
    if (lstat(path, &st))
        return VA_SUCCESS;
    return S_ISDIR(st.st_mode) && nftw(path, is_link, 16, FTW_PHYS) == 0 ? VA_SUCCESS
                                                                         : VA_ILLEGAL_USERNAME;
}

static int check_new_path(const struct home *home, const char *name, const char *dir, unsigned uid,
                          unsigned gid) {
    struct buf place = {0}, path = {0};
    int code = check_count(home, uid, &place);
    buf_fmt(&path, "%s/" DOMAINS_DIR "/", dir);
    buf_span(&path, (struct span){place.data, place.len});
    buf_fmt(&path, "%s%s", place.len ? "/" : "", name);
    if (code == VA_SUCCESS && !buf_c(&path))
        code = VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS)
        code = check_line(name, name, uid, gid, path.data);
    if (code == VA_SUCCESS)
        code = check_tree_to_be(path.data);
    buf_free(&place);
    buf_free(&path);
    return code;
}

int own_check_add_domain(const char *domain, const char *dir, unsigned uid, unsigned gid) {
    struct home home = {0};
    struct domain found = {0};
    int code = name_check_domain(domain);
    char *name = lower_dup(domain);
    if (code == VA_SUCCESS)
        code = name ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    int there = code == VA_SUCCESS ? assign_find(&home, name, &found) : 0;
    if (there)
        code = there > 0 ? VA_DOMAIN_ALREADY_EXISTS : there;
    if (code == VA_SUCCESS && name_breaks_line(dir))
        code = VA_BAD_CHAR;
    if (code == VA_SUCCESS && (dir[0] != '/' || access(dir, F_OK)))
        code = VA_BAD_V_DIR;
    if (code == VA_SUCCESS && strlen(dir) > MAX_PW_DIR)
        code = VA_DIR_TOO_LONG;
    if (code == VA_SUCCESS)
        code = check_qmail(&home);
    if (code == VA_SUCCESS)
        code = check_new_path(&home, name, dir, uid, gid);
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
    int there = code == VA_SUCCESS ? assign_find(&home, real, &found) : 0;
    if (there)
        code = there > 0 ? check_line(alias_domain, found.name, found.uid, found.gid, found.path)
                         : there;
    if (there > 0 && code == VA_SUCCESS)
        code = check_qmail(&home);
    domain_free(&found);
    home_release(&home);
    free(real);
    return code;
}

/* Where the tree lies by its path, and nowhere else by a link of its owner's. */
static int check_tree(const struct domain *d) {
    const char *slash = strrchr(d->path, '/');
    struct stat st;
    struct domain in = {
        .path = span_dup((struct span){d->path, slash > d->path ? (size_t)(slash - d->path) : 1}),
        .uid = d->uid};
    int fd = in.path ? domain_dir(&in) : -ENOMEM;
    bool astray =
        fd == -ELOOP || (fd >= 0 && fstatat(fd, slash + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                         !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode));
    fd_close(fd);
    free(in.path);
    return astray ? VA_ILLEGAL_USERNAME : VA_SUCCESS;
}

int own_check_del_domain(const char *domain) {
    struct home home = {0};
    struct domain found = {0};
    char *name = lower_dup(domain);
    int code = name ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    int there = code == VA_SUCCESS ? assign_find(&home, name, &found) : 0;
    if (there < 0)
        code = there;
    if (there > 0)
        code = check_qmail(&home);
    if (there > 0 && code == VA_SUCCESS)
        code = check_count(&home, found.uid, NULL);
    if (there > 0 && code == VA_SUCCESS && !strcmp(found.name, name))
        code = check_tree(&found);
    domain_free(&found);
    home_release(&home);
    free(name);
    return code;
}

int own_check_domain(const char *domain) {
    struct home home = {0};
    struct domain found = {0};
    char *name = lower_dup(domain);
    int code = name ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    int there = code == VA_SUCCESS ? assign_find(&home, name, &found) : 0;
    domain_free(&found);
    home_release(&home);
    free(name);
    return there < 0 ? there : code;
}

/* --- users --------------------------------------------------------------------------------------
 */

/* Where a domain's directory is refused to root, so is the call. */
static int check_domain(const struct session *s) {
    return s->store.dir < 0 ? error_code(s->store.dir, VA_SUCCESS) : VA_SUCCESS;
}

static int check_files(const struct session *s) {
    static const char *const names[] = {"vpasswd",           VPASSWD_CDB,
                                        ".vpasswd.lock",     ".dir-control",
                                        ".dir_control_free", ".dir_control_free.lock"};
    int code = VA_SUCCESS;
    for (size_t i = 0; i < sizeof names / sizeof *names && code == VA_SUCCESS; i++)
        code = check_file(s->store.dir, names[i]);
    if (code == VA_SUCCESS)
        code = check_file(s->store.dir, LIMITS);
    if (code == VA_COULD_NOT_UPDATE_FILE && check_file(s->store.dir, LIMITS) == code)
        code = VA_CANNOT_READ_LIMITS;
    if (code == VA_SUCCESS && dir_control_mend(s->store.dir, s->store.uid, s->store.gid))
        code = VA_COULD_NOT_UPDATE_FILE;
    return code;
}

/* Whether the library's buffers and strings hold all of it. */
static bool is_whole(struct span line) {
    return line.len <= VPASSWD_LINE_MAX && !memchr(line.data, '\0', line.len);
}

static size_t longest_line = VPASSWD_LINE_MAX;

void own_set_longest_line(size_t size) {
    longest_line = size;
}

static bool is_sound(struct span line, struct account *a) {
    return is_whole(line) && line.len <= longest_line && account_parse(a, line) && a->name.len > 0;
}

/* The number of the first line that is not sound, 0 for none, or -errno. */
static long unsound_line(const struct store *store) {
    struct lines in = {.fd = store_open(store)};
    struct span line;
    long number = 0;
    int more = in.fd < 0 ? in.fd : 0;
    bool sound = true;
    while (in.fd >= 0 && sound && (more = lines_next(&in, &line)) > 0) {
        struct account a = {0};
        number++;
        sound = is_sound(line, &a);
        account_free(&a);
    }
    lines_free(&in);
    fd_close(in.fd);
    if (more == -EFBIG) /* the next one, which is too long to be one */
        return number + 1;
    return more < 0 ? more : sound ? 0 : number;
}

/* What we may not read the library can't read either. */
static int check_store(const struct session *s) {
    struct buf words = {0};
    long number = unsound_line(&s->store);
    if (number < 0)
        return number == -ENOENT || number == -EACCES
                   ? VA_SUCCESS
                   : error_code((int)number, VA_COULD_NOT_UPDATE_FILE);
    if (number) {
        buf_fmt(&words,
                "%s/vpasswd: line %ld is malformed, or longer than the %lu bytes that libvpopmail "
                "reads; correct or delete it\n",
                s->domain.path, number, (unsigned long)longest_line);
        cage_say(words.data, words.len);
    }
    buf_free(&words);
    return number ? VA_COULD_NOT_UPDATE_FILE : VA_SUCCESS;
}

/* The user as vpasswd.cdb has it: 1, 0 for none, -EPROTO for one that is not sound, or -errno. */
static int find_account(const struct session *s, struct account *a) {
    struct buf value = {0};
    int found = store_find(&s->store, s->user, a);
    if (found > 0 && !is_whole((struct span){a->text.data, a->text.len}))
        found = -EPROTO;
    if (found == 0) {
        int fd = file_open(s->store.dir, VPASSWD_CDB, NULL);
        if (fd >= 0 && cdb_find(fd, span_of(s->user), &value) != 0)
            found = -EPROTO;
        fd_close(fd);
    }
    buf_free(&value);
    return found;
}

/* Whether there is something to look into: else a look-up leaves nothing but a lock file. */
static bool has_store(const struct session *s) {
    struct stat st;
    return !fstatat(s->store.dir, "vpasswd", &st, AT_SYMLINK_NOFOLLOW) ||
           !fstatat(s->store.dir, VPASSWD_CDB, &st, AT_SYMLINK_NOFOLLOW);
}

static int check_account(const struct session *s, int none) {
    struct account a = {0};
    if (!has_store(s))
        return VA_SUCCESS;
    int found = find_account(s, &a);
    int code = found < 0 ? error_code(found, none) : VA_SUCCESS;
    if (found > 0) {
        int maildir = maildir_open(&s->store, s->domain.path, a.dir);
        int inner = maildir < 0 ? maildir : dir_open(maildir, "Maildir", false);
        code = inner == -ELOOP ? VA_ILLEGAL_USERNAME
               : maildir < 0   ? VA_SUCCESS
                               : check_file(maildir, "lastauth");
        fd_close(inner);
        fd_close(maildir);
    }
    account_free(&a);
    return code;
}

int own_check_user(const char *user, const char *domain, int none, bool in_cdb) {
    struct session s;
    int found = session_begin(&s, user, domain);
    int code = found > 0 ? check_domain(&s) : found;
    if (code == VA_SUCCESS && found > 0 && s.store.dir >= 0) {
        code = check_files(&s);
        if (code == VA_SUCCESS && in_cdb)
            code = check_store(&s);
        if (code == VA_SUCCESS && in_cdb && s.user[0])
            code = check_account(&s, none);
    }
    session_end(&s);
    return code;
}

int own_check_user_dir(const char *user, const char *domain) {
    struct session s;
    int found = session_begin(&s, user, domain);
    int code = found > 0 ? check_domain(&s) : found;
    if (code == VA_SUCCESS && found > 0 && s.store.dir >= 0)
        code = check_account(&s, VA_USER_DOES_NOT_EXIST);
    session_end(&s);
    return code;
}

int own_check_limits(const char *domain) {
    struct session s;
    int found = session_begin(&s, "", domain);
    int code = found > 0 ? check_domain(&s) : found;
    if (code == VA_SUCCESS && found > 0)
        code = s.store.dir >= 0 ? check_file(s.store.dir, ".qmailadmin-limits")
                                : error_code(s.store.dir, VA_BAD_UID);
    session_end(&s);
    return code;
}

/* Names that the library's work files have in the domain's directory. */
static bool is_work_file(const char *name) {
    static const char *const starts[] = {"vpasswd.bak.", ".dir-control."};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(name, starts[i], strlen(starts[i])))
            return true;
    return !strcmp(name, "cdb.tmp") || !strcmp(name, ".dir_control_free.bak");
}

/* Whether the hashed directory that the next user goes into is the domain's. */
static int check_place(const struct session *s) {
    struct buf place = {0};
    int error = dir_control_next(s->store.dir, true, &place);
    int fd = dir_open(s->store.dir, ".", false);
    struct span rest = {place.data, place.len}, step;
    while (!error && fd >= 0 && span_field(&rest, '/', &step)) {
        char *name = step.len ? span_dup(step) : NULL;
        int next = name ? dir_open(fd, name, false) : -ENOENT;
        free(name);
        fd_close(fd);
        fd = next;
    }
    buf_free(&place);
    fd_close(fd);
    return error || fd == -ELOOP ? error_code(error ? error : fd, VA_COULD_NOT_UPDATE_FILE)
                                 : VA_SUCCESS;
}

int own_check_add_user(const char *user, const char *domain, const char *password,
                       const char *gecos, bool in_cdb) {
    int code = user_check_new(user, domain, password, gecos);
    if (code == VA_SUCCESS)
        code = own_check_user(user, domain, VA_COULD_NOT_UPDATE_FILE, in_cdb);
    struct session s;
    int found = session_begin(&s, user, domain);
    if (code == VA_SUCCESS && found > 0 && s.store.dir >= 0)
        code = maildir_is_file(s.user) || is_work_file(s.user) ? VA_EXIST_U_DIR : check_place(&s);
    session_end(&s);
    return code;
}

int own_find_user(const char *user, const char *domain) {
    struct session s;
    struct account a = {0};
    int found = session_begin(&s, user, domain);
    if (found > 0) {
        found = s.store.dir >= 0 ? find_account(&s, &a) : s.store.dir;
        found = found < 0 ? error_code(found, VA_COULD_NOT_UPDATE_FILE) : found;
    }
    account_free(&a);
    session_end(&s);
    return found;
}

/* --- aliases ------------------------------------------------------------------------------------
 */

int own_check_alias(const char *alias, const char *domain, const char *line) {
    struct session s;
    struct buf file = {0};
    if (strlen(alias) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    if (strlen(line) >= MAX_ALIAS_LINE)
        return VA_ALIAS_LINE_TOO_LONG;
    if (strchr(alias, '/'))
        return VA_ILLEGAL_USERNAME;
    int found = session_begin(&s, "", domain);
    int code = found > 0 ? check_domain(&s) : VA_ILLEGAL_USERNAME;
    buf_str(&file, ".qmail-");
    for (const char *p = alias; *p; p++)
        buf_char(&file, *p == '.' ? ':' : *p);
    if (code == VA_SUCCESS && !buf_c(&file))
        code = VA_MEMORY_ALLOC_ERR;
    /* Only what file_open() takes is the domain's own to be written to. */
    if (code == VA_SUCCESS && line[0] && check_file(s.store.dir, file.data) == VA_ILLEGAL_USERNAME)
        code = VA_ILLEGAL_USERNAME;
    buf_free(&file);
    session_end(&s);
    return code;
}
