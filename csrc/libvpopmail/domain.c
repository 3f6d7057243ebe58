/* Domains: vadddomain, vaddaliasdomain, vdeldomain, and look-ups of them.
 *
 * Order of writes, all under assign's lock and told of in its journal (change.h). Adding: the tree,
 * with the postmaster in it where there is to be one, then assign, users/cdb, the control files and
 * the count, so a domain that qmail knows has its directory. Deleting: the same files, then the
 * tree. The catch-all is an alias, and written as one is (alias.c). */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alias.h"
#include "control.h"
#include "error.h"
#include "include/vpopmail.h"
#include "names.h"
#include "qmail.h"
#include "thread.h"
#include "user.h"
#include "walk.h"

int NoMakeIndex, OptimizeAddDomain;

/* --- counting -----------------------------------------------------------------------------------
 */

/* Whether a directory is not there, or not for us. */
static bool is_none(int error) {
    return is_gone(error) || error == -EACCES;
}

/* Whether getpwuid_r() says that there is no such user, in one of its ways. */
static bool is_lasting(int error) {
    return error != ENOMEM && error != ERANGE && error != EIO && error != EMFILE &&
           error != ENFILE && error != EINTR;
}

/* Opens the directory whose .dir-control counts the domains of a uid: vpopmail's own domains/, else
 * that in the user's home; -ENOENT where nothing counts them. */
static int counting_dir(const struct home *home, uid_t uid, struct buf *path) {
    uid_t own;
    gid_t group;
    int known = home_ids(home, &own, &group);
    if (known && known != -ENOENT && known != -ENOTDIR)
        return known;
    if (uid == own) {
        buf_fmt(path, "%s/" DOMAINS_DIR, home->path);
        return home_dir(home->path, DOMAINS_DIR);
    }
    struct passwd entry, *found = NULL;
    size_t room = 4096;
    char *text = NULL;
    int error;
    do {
        free(text);
        text = malloc(room *= 2);
        error = text ? getpwuid_r(uid, &entry, text, room, &found) : ENOMEM;
    } while (error == ERANGE && room < 1 << 20);
    int in = found ? walk_dir(AT_FDCWD, found->pw_dir) : is_lasting(error) ? -ENOENT : -error;
    int fd = in < 0 ? in : dir_open(in, DOMAINS_DIR, false);
    if (fd >= 0)
        buf_fmt(path, "%s/" DOMAINS_DIR, found->pw_dir);
    fd_close(in);
    free(text);
    return is_none(fd) ? -ENOENT : fd;
}

/* --- adding -------------------------------------------------------------------------------------
 */

/* A change of a domain that has a directory. */
struct tree {
    struct change change;
    struct dir_place place;      /* for a new one */
    struct dir_place postmaster; /* his, in it */
    struct lock lock;            /* the domain's, for him */
};
#define TREE_OF(CHANGE)                                                                            \
    ((struct tree){CHANGE, .place = DIR_PLACE_NONE, .postmaster = DIR_PLACE_NONE,                  \
                   .lock = LOCK_NONE})

static void tree_end(struct tree *t) {
    change_drop(&t->change);
    dir_place_end(&t->place);
    dir_place_end(&t->postmaster);
    lock_release(&t->lock);
}

/* Declares a directory to the change, which closes it. */
static int declare(struct tree *t, int fd, struct buf *path) {
    int error = !buf_c(path) ? -ENOMEM : change_in(&t->change, fd, path->data, true);
    if (error)
        fd_close(fd);
    return error;
}

/* Where the domains are counted; -ENOENT where they are not. */
static int declare_counting(const struct home *home, uid_t uid, struct tree *t) {
    struct buf path = {0};
    int fd = counting_dir(home, uid, &path);
    int error = fd >= 0 ? declare(t, fd, &path) : fd;
    buf_free(&path);
    return error ? error : fd;
}

static int open_domains(int base, uid_t uid, gid_t gid) {
    bool made;
    int fd = dir_make_whole(base, DOMAINS_DIR, base, ".tmp:" DOMAINS_DIR, uid, gid, &made);
    if (fd >= 0 && made)
        (void)fd_sync(base);
    return fd == -ELOOP ? walk_dir(base, DOMAINS_DIR) : fd;
}

/* Opens PLACE/NAME where a directory is there before the domain; -ENOENT. */
static int open_there(int domains, struct span place, const char *name) {
    struct span step;
    int fd = dir_open(domains, ".", false);
    while (fd >= 0 && span_field(&place, '/', &step)) {
        char *at = span_dup(step);
        int next = !at ? -ENOMEM : dir_open(fd, step.len ? at : ".", false);
        free(at);
        fd_close(fd);
        fd = next;
    }
    int found = fd < 0 ? fd : dir_open(fd, name, false);
    fd_close(fd);
    return found;
}

/* The mode that .qmail-default has, or is to have. */
static int default_mode(int dir, mode_t *mode) {
    struct stat st = {0};
    if (fstatat(dir, ".qmail-default", &st, AT_SYMLINK_NOFOLLOW) && errno != ENOENT)
        return -errno;
    *mode = S_ISREG(st.st_mode) ? st.st_mode & 0777 : 0600;
    return 0;
}

/* What .qmail-default has: the catch-all is an address, a user of the domain, or NULL for none. */
static int default_text(const struct home *home, const struct domain *d, const char *catchall,
                        struct buf *out) {
    if (catchall && name_breaks_line(catchall))
        return VA_BAD_CHAR;
    buf_fmt(out, "| %s/bin/vdelivermail '' ", home->path);
    if (catchall && !strchr(catchall, '@'))
        buf_fmt(out, "%s/", d->path);
    buf_fmt(out, "%s\n", catchall ? catchall : "delete");
    return out->failed ? VA_MEMORY_ALLOC_ERR : VA_SUCCESS;
}

/* Takes over a directory that is there already. */
static int take_tree(int fd, const struct domain *d, struct tree *t) {
    struct buf path = {0};
    int error = tree_chown(fd, d->uid, d->gid);
    buf_str(&path, d->path);
    if (error)
        fd_close(fd);
    else
        error = declare(t, fd, &path);
    buf_free(&path);
    return error ? error : fd;
}

/* Readies the postmaster: in a new directory (part: what is changed in it) or another one. */
static int add_postmaster(const struct home *home, const struct domain *d, int fd,
                          const struct vpopmail_postmaster *p, struct change *part, struct tree *t,
                          const char **step) {
    static char user[] = "postmaster", gecos[] = "Postmaster";
    struct session s = {.home = *home, .domain = *d, .store = {fd, d->uid, d->gid}, .user = user};
    int error = store_lock(&s.store, &t->lock);
    if (error)
        return error_code(error, VA_COULD_NOT_UPDATE_FILE);
    fd_give(t->lock.fd, d->uid, d->gid);
    int code = user_ready(&s, p->password, gecos, p->quota, part ? part : &t->change,
                          &t->postmaster, step);
    if (code == VA_SUCCESS && part && (error = change_make(part)))
        code = error_code(error, VA_COULD_NOT_UPDATE_FILE);
    return code;
}

/* Readies what is in the domain's directory: mail for no user goes by .qmail-default. */
static int fill_tree(const struct home *home, const struct domain *d, int fd, bool is_new,
                     const struct vpopmail_postmaster *p, struct tree *t, const char **step) {
    struct change part = change_part(&t->change);
    struct buf text = {0};
    mode_t mode = 0;
    int code = p ? add_postmaster(home, d, fd, p, is_new ? &part : NULL, t, step) : VA_SUCCESS;
    change_drop(&part);
    if (code == VA_SUCCESS && p)
        *step = p->catchall ? "catchall" : NULL;
    if (code == VA_SUCCESS)
        code = default_text(home, d, p ? p->catchall : NULL, &text);
    struct span data = {text.data, text.len};
    int error = code == VA_SUCCESS && !is_new ? default_mode(fd, &mode) : 0;
    if (code == VA_SUCCESS && !error)
        error = is_new ? change_tree_file(&t->change, fd, ".qmail-default", data, d->uid, d->gid)
                       : change_write(&t->change, fd, ".qmail-default", data, mode, d->uid, d->gid);
    buf_free(&text);
    return error ? error_code(error, VA_COULD_NOT_OPEN_QMAIL_DEFAULT) : code;
}

/* The directory that the domain's is to stand in, and its path. */
static int enter_domains(int base, const char *dir, const struct domain *d, struct tree *t) {
    struct buf path = {0};
    int fd = open_domains(base, d->uid, d->gid);
    buf_fmt(&path, "%s/" DOMAINS_DIR, dir);
    int error = fd < 0 ? fd : declare(t, fd, &path);
    buf_free(&path);
    return error ? error : fd;
}

static int grow_tree(const struct home *home, int base, const char *dir, struct domain *d,
                     const struct vpopmail_postmaster *p, struct tree *t, const char **step) {
    struct buf path = {0};
    int domains = enter_domains(base, dir, d, t);
    if (domains < 0)
        return error_code(domains, VA_CAN_NOT_MAKE_DOMAINS_DIR);
    int counting = declare_counting(home, d->uid, t);
    int error = counting < 0 && counting != -ENOENT ? counting : 0;
    if (counting >= 0)
        error = dir_control_add(counting, d->uid, d->gid, false, &t->change, &t->place);
    struct span place = {t->place.path.data, t->place.path.len};
    buf_fmt(&path, "%s/" DOMAINS_DIR "/", dir);
    buf_span(&path, place);
    buf_str(&path, d->name);
    d->path = buf_c(&path);
    if (!error && !d->path)
        error = -ENOMEM;
    int there = error ? error : open_there(domains, place, d->name);
    bool is_new = there == -ENOENT;
    int fd = is_new       ? change_tree(&t->change, domains, place, d->name, d->uid, d->gid)
             : there >= 0 ? take_tree(there, d, t)
                          : there;
    return fd < 0 ? error_code(fd, VA_COULD_NOT_MAKE_DOMAIN_DIR)
                  : fill_tree(home, d, fd, is_new, p, t, step);
}

/* Writes the lines of a domain or alias domain into assign and the control files, together with
 * what the change holds already. */
static int announce(const struct home *home, struct assign *a, struct change *c, const char *name,
                    const struct domain *d) {
    struct control control;
    int code = control_begin(home, &control, c);
    if (code == VA_SUCCESS)
        code = assign_add(a, c, name, d);
    if (code == VA_SUCCESS)
        code = control_add(&control, c, name);
    if (code == VA_SUCCESS && change_make(c))
        code = VA_COULD_NOT_UPDATE_FILE;
    change_drop(c);
    control_end(&control);
    return code;
}

/* Whether assign itself, which is locked, has the domain: another process may have been faster. */
static bool is_assigned(const struct assign *a, const char *name) {
    struct span rest = {a->text.data, a->text.len}, line;
    struct assign_line l;
    size_t len = strlen(name);
    while (span_line(&rest, &line))
        if (line.len > len && memcmp(line.data + 1, name, len) == 0 && assign_parse(line, &l) &&
            span_is(l.name, name))
            return true;
    return false;
}

static int check_new(const struct home *home, const char *name) {
    struct domain found;
    int there = assign_find(home, name, &found);
    domain_free(&found);
    return there > 0 ? VA_DOMAIN_ALREADY_EXISTS : there;
}

static int add_domain(const struct home *home, struct domain *d, const char *dir,
                      const struct vpopmail_postmaster *p, const char **step) {
    struct assign a = {.home = home, .users = -1, .lock = LOCK_NONE};
    struct tree t = TREE_OF(assign_change(&a));
    int code = check_new(home, d->name);
    if (code != VA_SUCCESS)
        return code;
    if (name_breaks_line(dir))
        return VA_BAD_CHAR;
    int base = dir[0] == '/' ? walk_dir(AT_FDCWD, dir) : -ENOENT;
    if (base < 0)
        return error_code(base, VA_BAD_V_DIR);
    code = strlen(dir) > MAX_PW_DIR ? VA_DIR_TOO_LONG : assign_begin(home, &a);
    if (code == VA_SUCCESS && is_assigned(&a, d->name))
        code = VA_DOMAIN_ALREADY_EXISTS;
    t.change = assign_change(&a);
    if (code == VA_SUCCESS)
        code = grow_tree(home, base, dir, d, p, &t, step);
    if (code == VA_SUCCESS)
        *step = NULL;
    if (code == VA_SUCCESS)
        code = announce(home, &a, &t.change, d->name, d);
    tree_end(&t);
    fd_close(base);
    assign_end(&a);
    return code;
}

int vpopmail_add_domain(const char *domain, const char *dir, uid_t uid, gid_t gid,
                        const struct vpopmail_postmaster *postmaster, const char **step) {
    *step = NULL;
    if (!domain || !dir || (postmaster && !postmaster->password))
        return VA_NULL_POINTER;
    int code = name_check_domain(domain);
    if (code != VA_SUCCESS)
        return code;
    struct home home = {0};
    struct domain d = {.name = lower_dup(domain), .uid = uid, .gid = gid};
    code = home_hold(&home);
    if (code == VA_SUCCESS && !d.name)
        code = VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS)
        code = add_domain(&home, &d, dir, postmaster, step);
    if (code == VA_SUCCESS)
        qmail_reread(&home);
    domain_free(&d);
    home_release(&home);
    return code;
}

int vadddomain(char *domain, char *dir, uid_t uid, gid_t gid) {
    const char *step;
    return vpopmail_add_domain(domain, dir, uid, gid, NULL, &step);
}

static int add_alias(const struct home *home, const char *alias, const char *real) {
    struct assign a = {.home = home, .users = -1, .lock = LOCK_NONE};
    struct domain d = {0};
    int code = check_new(home, alias);
    int found = code == VA_SUCCESS ? assign_find(home, real, &d) : 0;
    if (code == VA_SUCCESS && found <= 0)
        code = found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        code = assign_begin(home, &a);
    if (code == VA_SUCCESS && is_assigned(&a, alias))
        code = VA_DOMAIN_ALREADY_EXISTS;
    if (code == VA_SUCCESS && !is_assigned(&a, d.name))
        code = VA_DOMAIN_DOES_NOT_EXIST;
    struct change c = assign_change(&a);
    if (code == VA_SUCCESS)
        code = announce(home, &a, &c, alias, &d);
    domain_free(&d);
    assign_end(&a);
    return code;
}

int vaddaliasdomain(char *alias_domain, char *real_domain) {
    if (!alias_domain || !real_domain)
        return VA_NULL_POINTER;
    int code = name_check_alias_domain(alias_domain);
    if (code == VA_SUCCESS && !name_has_domain_chars(real_domain))
        code = VA_INVALID_DOMAIN_NAME;
    if (code != VA_SUCCESS)
        return code;
    struct home home = {0};
    char *alias = lower_dup(alias_domain), *real = lower_dup(real_domain);
    code = home_hold(&home);
    if (code == VA_SUCCESS)
        code = alias && real ? add_alias(&home, alias, real) : VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS)
        qmail_reread(&home);
    free(alias);
    free(real);
    home_release(&home);
    return code;
}

/* --- deleting -----------------------------------------------------------------------------------
 */

/* The names of a domain and of all its alias domains, one a line. */
static int names_of(const struct buf *assign, const char *real, bool aliases_only,
                    struct buf *out) {
    struct span rest = {assign->data, assign->len}, line;
    struct assign_line l;
    while (span_line(&rest, &line))
        if (assign_parse(line, &l) && span_is(l.real, real) &&
            !(aliases_only && span_is(l.name, real))) {
            buf_span(out, l.name);
            buf_char(out, '\n');
        }
    return out->failed ? VA_MEMORY_ALLOC_ERR : VA_SUCCESS;
}

/* Opens the directory that a domain's stands in; refused (-ELOOP) where what stands there may be
 * somebody else's: its parent is reached by a link that is not the owner's, or it is no directory.
 */
static int open_tree(const struct domain *d, char **name) {
    const char *slash = strrchr(d->path, '/');
    struct stat st;
    *name = strdup(slash + 1);
    char *parent =
        span_dup((struct span){d->path, slash > d->path ? (size_t)(slash - d->path) : 1});
    struct domain in = {.path = parent, .uid = d->uid};
    int fd = parent && *name ? domain_dir(&in) : -ENOMEM;
    free(parent);
    if (fd < 0)
        return fd;
    int error = 0;
    if (fstatat(fd, *name, &st, AT_SYMLINK_NOFOLLOW))
        error = errno == ENOENT ? 0 : -errno;
    else if (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
        error = -ELOOP;
    if (error)
        fd_close(fd);
    return error ? error : fd;
}

/* 0, VA_BAD_D_DIR where all but the domain's directory has gone, or another code. */
static int retract(const struct home *home, struct assign *a, struct change *c, const char *name,
                   const char *real) {
    struct control control;
    struct buf wanted = {0};
    int code = control_begin(home, &control, c);
    if (code == VA_SUCCESS && real)
        code = names_of(&a->text, real, false, &wanted);
    else
        buf_fmt(&wanted, "%s\n", name);
    if (code == VA_SUCCESS && wanted.failed)
        code = VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS)
        code = assign_drop(a, c, name, real);
    if (code == VA_SUCCESS)
        code = control_drop(&control, c, &wanted);
    int error = code == VA_SUCCESS ? change_make(c) : 0;
    if (error)
        code = error == -ENOTEMPTY ? VA_BAD_D_DIR : VA_COULD_NOT_UPDATE_FILE;
    change_drop(c);
    control_end(&control);
    buf_free(&wanted);
    return code;
}

static int delete_alias(const struct home *home, struct assign *a, const char *name) {
    struct change c = assign_change(a);
    return retract(home, a, &c, name, NULL);
}

/* Readies that the domain's directory goes. */
static int drop_tree(const struct domain *d, struct tree *t) {
    char *name = NULL;
    struct buf path = {0};
    int in = open_tree(d, &name);
    int error = in < 0 && in != -ENOENT && in != -ENOTDIR ? in : 0; /* or there is none */
    if (in >= 0) {
        size_t len = (size_t)(strrchr(d->path, '/') - d->path);
        buf_add(&path, d->path, len ? len : 1);
        error = declare(t, in, &path);
    }
    if (in >= 0 && !error)
        error = change_drop_tree(&t->change, in, name);
    buf_free(&path);
    free(name);
    return error;
}

static int delete_real(const struct home *home, struct assign *a, const struct domain *d) {
    struct tree t = TREE_OF(assign_change(a));
    struct span none = {"", 0};
    int error = drop_tree(d, &t);
    int counting = error ? error : declare_counting(home, d->uid, &t);
    if (counting < 0 && counting != -ENOENT)
        error = counting;
    if (counting >= 0)
        error = dir_control_drop(counting, d->uid, d->gid, none, &t.change, &t.place);
    int code = error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
    if (code == VA_SUCCESS)
        code = retract(home, a, &t.change, d->name, d->name);
    tree_end(&t);
    return code;
}

int vdeldomain(char *domain) {
    if (!domain)
        return VA_NULL_POINTER;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    struct home home = {0};
    struct domain d = {0};
    struct assign a = {.home = &home, .users = -1, .lock = LOCK_NONE};
    char *name = lower_dup(domain);
    int code = name ? home_hold(&home) : VA_MEMORY_ALLOC_ERR;
    int found = code == VA_SUCCESS ? assign_find(&home, name, &d) : 0;
    if (code == VA_SUCCESS && found <= 0)
        code = found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        code = assign_begin(&home, &a);
    if (code == VA_SUCCESS && !is_assigned(&a, name))
        code = VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        code = strcmp(d.name, name) ? delete_alias(&home, &a, name) : delete_real(&home, &a, &d);
    assign_end(&a);
    if (code == VA_SUCCESS)
        qmail_reread(&home);
    domain_free(&d);
    free(name);
    home_release(&home);
    return code;
}

/* --- looking up ---------------------------------------------------------------------------------
 */

/* Finds a domain by the name that a caller gave, in any case. */
static int find(const char *domain, struct domain *d) {
    struct home home = {0};
    char *name = lower_dup(domain);
    int code = home_hold(&home);
    if (code == VA_SUCCESS)
        code = name ? assign_find(&home, name, d) : VA_MEMORY_ALLOC_ERR;
    free(name);
    home_release(&home);
    return code;
}

char *vget_assign(char *domain, char *dir, int dir_len, uid_t *uid, gid_t *gid) {
    struct per_thread *t = per_thread();
    struct domain d = {0};
    char *path = NULL;
    if (dir && dir_len > 0)
        dir[0] = '\0';
    if (t && domain && find(domain, &d) > 0) {
        buf_clear(&t->assign_dir);
        buf_str(&t->assign_dir, d.path);
        path = buf_c(&t->assign_dir);
        if (path && dir && dir_len > 0 && strlen(path) < (size_t)dir_len)
            strcpy(dir, path);
        if (uid)
            *uid = d.uid;
        if (gid)
            *gid = d.gid;
    }
    domain_free(&d);
    return path;
}

char *vpopmail_real_domain(const char *domain) {
    struct domain d = {0};
    char *name = NULL;
    if (domain && find(domain, &d) > 0) {
        name = d.name;
        d.name = NULL;
    }
    domain_free(&d);
    return name;
}

static bool has_assign(const struct home *home) {
    int users = home_dir(home->qmail, "users");
    bool has = users >= 0 && faccessat(users, "assign", F_OK, 0) == 0;
    fd_close(users);
    return has;
}

int vpopmail_alias_domains(const char *domain, char **names) {
    struct home home = {0};
    struct buf text = {0}, out = {0};
    char *real = lower_dup(domain);
    int code = real ? home_hold(&home) : VA_MEMORY_ALLOC_ERR, count = 0;
    if (code == VA_SUCCESS)
        code = has_assign(&home) ? assign_read(&home, &text) : VA_CANNOT_READ_ASSIGN;
    if (code == VA_SUCCESS)
        code = names_of(&text, real, true, &out);
    for (size_t i = 0; i < out.len; i++)
        count += out.data[i] == '\n';
    *names = code == VA_SUCCESS ? buf_c(&out) : NULL;
    if (!*names)
        buf_free(&out);
    buf_free(&text);
    free(real);
    home_release(&home);
    return code == VA_SUCCESS ? count : code;
}

domain_entry *get_domain_entries(const char *match_real) {
    struct per_thread *t = per_thread();
    if (!t)
        return NULL;
    if (match_real) {
        struct home home = {0};
        buf_clear(&t->entries);
        buf_clear(&t->match_real);
        buf_str(&t->match_real, match_real);
        if (home_hold(&home) != VA_SUCCESS || assign_read(&home, &t->entries) != VA_SUCCESS)
            buf_clear(&t->entries);
        home_release(&home);
        t->entries_rest = (struct span){t->entries.data, t->entries.len};
    }
    struct span line, wanted = {t->match_real.data, t->match_real.len};
    struct assign_line l;
    unsigned int uid, gid;
    while (span_line(&t->entries_rest, &line)) {
        if (!assign_parse(line, &l) || !span_id(l.uid, &uid) || !span_id(l.gid, &gid) ||
            (wanted.len && span_cmp(wanted, l.real) != 0))
            continue;
        buf_clear(&t->entry_text);
        buf_span(&t->entry_text, l.name);
        buf_char(&t->entry_text, '\0');
        buf_span(&t->entry_text, l.real);
        buf_char(&t->entry_text, '\0');
        buf_span(&t->entry_text, l.path);
        char *text = buf_c(&t->entry_text);
        if (!text)
            return NULL;
        t->entry = (domain_entry){text, text + l.name.len + 1, (int)uid, (int)gid,
                                  text + l.name.len + l.real.len + 2};
        return &t->entry;
    }
    return NULL;
}

int vpopmail_set_catchall(const char *domain, const char *catchall) {
    struct home home = {0};
    struct domain d = {0};
    struct lock lock = LOCK_NONE;
    struct buf text = {0};
    mode_t mode = 0;
    if (name_breaks_line(catchall))
        return VA_BAD_CHAR;
    int found = find(domain, &d);
    int code = found > 0 ? home_hold(&home) : found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        code = default_text(&home, &d, catchall, &text);
    struct store store = {code == VA_SUCCESS ? domain_dir(&d) : -1, d.uid, d.gid};
    if (code == VA_SUCCESS &&
        (store.dir < 0 || aliases_lock(&store, &lock) || default_mode(store.dir, &mode) ||
         aliases_write(&store, ".qmail-default", (struct span){text.data, text.len}, mode)))
        code = VA_COULD_NOT_OPEN_QMAIL_DEFAULT;
    lock_release(&lock);
    fd_close(store.dir);
    buf_free(&text);
    domain_free(&d);
    home_release(&home);
    return code;
}
