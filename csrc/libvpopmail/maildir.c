#include "maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/vpopmail.h"
#include "walk.h"

/* --- the user's directory -----------------------------------------------------------------------
 */

static void size_text(struct span quota, unsigned long long bytes, unsigned long long count,
                      struct buf *out) {
    buf_span(out, quota);
    buf_fmt(out, "\n%llu %llu\n", bytes, count);
}

/* Fills a new user's directory. */
static int fill(struct change *c, int user, const struct store *s, struct span quota) {
    static const char *const parts[] = {"cur", "new", "tmp"};
    struct buf text = {0};
    int error = change_tree_file(c, user, "lastauth", span_of("0.0.0.0"), s->uid, s->gid);
    int maildir = error ? error : change_tree_dir(c, user, "Maildir", s->uid, s->gid);
    error = maildir < 0 ? maildir : 0;
    for (int i = 0; i < 3 && !error; i++) {
        int part = change_tree_dir(c, maildir, parts[i], s->uid, s->gid);
        error = part < 0 ? part : 0;
    }
    if (!error && quota.len && !span_is(quota, NOQUOTA)) {
        size_text(quota, 0, 0, &text);
        struct span data = {text.data, text.len};
        error = text.failed ? -ENOMEM
                            : change_tree_file(c, maildir, "maildirsize", data, s->uid, s->gid);
        buf_free(&text);
    }
    return error;
}

bool maildir_is_file(const char *name) {
    static const char *const files[] = {"vpasswd",           "vpasswd.cdb",
                                        ".vpasswd.lock",     ".dir-control",
                                        ".dir_control_free", ".dir_control_free.lock",
                                        ".qmailadmin-limits"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strcmp(name, files[i]))
            return true;
    return false;
}

int place_open(const struct store *s, struct span place, bool make) {
    int fd = dir_open(s->dir, ".", false);
    struct span step;
    while (fd >= 0 && span_field(&place, '/', &step)) {
        bool made;
        char *name = step.len ? span_dup(step) : NULL;
        if (!step.len)
            continue;
        int next = !name  ? -ENOMEM
                   : make ? dir_make(fd, name, s->uid, s->gid, &made)
                          : dir_open(fd, name, false);
        free(name);
        fd_close(fd);
        fd = next;
    }
    return fd;
}

int place_remove(const struct store *s, struct span place) {
    const char *slash = place.len ? memrchr(place.data, '/', place.len) : NULL;
    size_t before = slash ? (size_t)(slash - place.data) : 0, after = slash ? before + 1 : 0;
    char *name = span_dup((struct span){place.data + after, place.len - after});
    int in = name ? place_open(s, (struct span){place.data, before}, false) : -ENOMEM;
    int error = in < 0 ? in : unlinkat(in, name, AT_REMOVEDIR) ? -errno : 0;
    fd_close(in);
    free(name);
    return error;
}

/* 0 where nothing stands at PLACE/NAME. */
static int check_free(const struct store *s, struct span place, const char *name) {
    struct stat st;
    if (!place.len && maildir_is_file(name))
        return -EEXIST;
    int in = place_open(s, place, false);
    if (in < 0)
        return in == -ENOENT ? 0 : in;
    int error = fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? -EEXIST
                : errno == ENOENT                                ? 0
                                                                 : -errno;
    fd_close(in);
    return error;
}

int maildir_make(const struct store *s, struct change *c, struct span place, const char *name,
                 struct span quota) {
    int error = check_free(s, place, name);
    int user = error ? error : change_tree(c, s->dir, place, name, s->uid, s->gid);
    return user < 0 ? user : fill(c, user, s, quota);
}

/* A path's part below the domain's directory; false where it lies elsewhere or steps back. */
static bool below(const char *domain_path, struct span path, struct span *part) {
    size_t len = strlen(domain_path);
    if (path.len <= len + 1 || memcmp(path.data, domain_path, len) != 0 || path.data[len] != '/')
        return false;
    *part = (struct span){path.data + len + 1, path.len - len - 1};
    while (part->len && part->data[0] == '/')
        *part = (struct span){part->data + 1, part->len - 1};
    struct span rest = *part, step;
    while (span_field(&rest, '/', &step))
        if (span_is(step, "..") || span_is(step, "."))
            return false;
    return true;
}

/* The same as a journal has it, in which no step is empty. */
static void put_below(struct buf *out, struct span part) {
    struct span step;
    while (span_field(&part, '/', &step)) {
        if (step.len && out->len)
            buf_char(out, '/');
        buf_span(out, step);
    }
}

struct span maildir_place(const char *domain_path, struct span path) {
    struct span part, none = {"", 0};
    if (!below(domain_path, path, &part))
        return none;
    const char *slash = memrchr(part.data, '/', part.len);
    size_t before = slash ? (size_t)(slash - part.data) : 0;
    while (before && part.data[before - 1] == '/')
        before--;
    return before ? (struct span){part.data, before} : none;
}

/* Opens the directory that a user's directory stands in. Below the domain's no link is followed; a
 * path elsewhere is left to the check of the owner. */
static int open_parent(const struct store *s, const char *domain_path, struct span path,
                       struct span *name, bool *inside) {
    struct span part;
    *inside = below(domain_path, path, &part);
    if (!*inside) {
        if (!path.len || path.data[0] != '/')
            return -ELOOP;
        part = path;
    }
    const char *slash = memrchr(part.data, '/', part.len);
    size_t before = slash ? (size_t)(slash - part.data) : 0;
    *name = slash ? (struct span){slash + 1, part.len - before - 1} : part;
    if (!name->len || span_is(*name, "..") || span_is(*name, "."))
        return -ELOOP;
    if (!*inside) {
        char *parent = before ? span_dup((struct span){part.data, before}) : strdup("/");
        int fd = parent ? walk_dir(AT_FDCWD, parent) : -ENOMEM;
        free(parent);
        return fd;
    }
    return place_open(s, (struct span){part.data, before}, false);
}

/* Whether NAME is a directory that the domain's owner has. */
static int check_owner(const struct store *s, int parent, const char *name, bool inside) {
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW))
        return -errno;
    return S_ISDIR(st.st_mode) && (inside || st.st_uid == s->uid) ? 0 : -ELOOP;
}

/* Finds a user's directory by its path: the open directory that it stands in, and its name. */
static int locate(const struct store *s, const char *domain_path, struct span path, char **name) {
    struct span last;
    bool inside;
    *name = NULL;
    int parent = open_parent(s, domain_path, path, &last, &inside);
    if (parent < 0)
        return parent;
    *name = span_dup(last);
    int error = *name ? check_owner(s, parent, *name, inside) : -ENOMEM;
    if (!error)
        return parent;
    fd_close(parent);
    return error;
}

int maildir_check(const struct store *s, const char *domain_path, struct span path) {
    char *name;
    struct span part;
    int parent = locate(s, domain_path, path, &name);
    int error = parent < 0                        ? parent
                : below(domain_path, path, &part) ? 0
                                                  : tree_check(parent, name, s->uid);
    free(name);
    fd_close(parent);
    return error;
}

int maildir_open(const struct store *s, const char *domain_path, struct span path) {
    char *name;
    int parent = locate(s, domain_path, path, &name);
    int fd = parent < 0 ? parent : dir_open(parent, name, false);
    free(name);
    fd_close(parent);
    return fd;
}

int maildir_drop(const struct store *s, struct change *c, const char *domain_path,
                 struct span path) {
    char *name;
    struct span part;
    struct buf place = {0};
    int parent = locate(s, domain_path, path, &name), error = 0;
    if (parent < 0)
        return parent;
    if (below(domain_path, path, &part)) {
        put_below(&place, maildir_place(domain_path, path));
    } else {
        size_t before = (size_t)((const char *)memrchr(path.data, '/', path.len) - path.data);
        buf_add(&place, path.data, before ? before : 1);
    }
    bool own = !place.len; /* it stands in the domain's directory itself */
    /* The tree goes when all else has changed: whether it can is to be known before. */
    if (!own && faccessat(parent, ".", W_OK | X_OK, AT_EACCESS))
        error = -errno;
    if (!error)
        error = !buf_c(&place) ? -ENOMEM : own ? 0 : change_in(c, parent, place.data, true);
    if (error || own)
        fd_close(parent);
    if (!error)
        error = change_drop_tree(c, own ? s->dir : parent, name);
    buf_free(&place);
    free(name);
    return error;
}

/* --- the quota ----------------------------------------------------------------------------------
 */

/* The size that a message's name tells (…,S=1234…), else the file's; one that has just gone has
 * none, and a link has none: its file may lie where the mail user can't look. */
static int message_size(int dir, const char *name, unsigned long long *size) {
    const char *told = NULL;
    struct stat st = {0};
    for (const char *p = strstr(name, ",S="); p; p = strstr(p + 1, ",S="))
        told = p;
    if (!told && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && errno != ENOENT)
        return -errno;
    *size = told                  ? strtoull(told + 3, NULL, 10)
            : S_ISLNK(st.st_mode) ? 0
                                  : (unsigned long long)st.st_size;
    return 0;
}

static bool is_trashed(const char *name) {
    const char *flags = strstr(name, ":2,");
    return flags && strchr(flags, 'T');
}

/* Opens a directory to be listed: 0, with no list where there is none, or -errno. */
static int list_open(int in, const char *name, DIR **list) {
    int fd = dir_open(in, name, false);
    *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (*list)
        return 0;
    fd_close(fd);
    return fd >= 0 ? -ENOMEM : is_gone(fd) ? 0 : fd;
}

static int count_part(int folder, const char *part, unsigned long long *bytes,
                      unsigned long long *count) {
    struct dirent *entry;
    DIR *list;
    int error = list_open(folder, part, &list);
    while (list && !error && (entry = dir_next(list, &error))) {
        unsigned long long size = 0;
        if (entry->d_name[0] == '.' || is_trashed(entry->d_name))
            continue;
        error = message_size(dirfd(list), entry->d_name, &size);
        *bytes += size;
        ++*count;
    }
    if (list)
        closedir(list);
    return error;
}

static int count_folder(int folder, unsigned long long *bytes, unsigned long long *count) {
    int error = count_part(folder, "cur", bytes, count);
    return error ? error : count_part(folder, "new", bytes, count);
}

/* -ENOENT for a maildir that has no cur: vpopmail writes no maildirsize there. */
static int count_all(int maildir, unsigned long long *bytes, unsigned long long *count) {
    struct dirent *entry;
    DIR *list;
    if (faccessat(maildir, "cur", F_OK, AT_SYMLINK_NOFOLLOW))
        return -errno;
    int error = list_open(maildir, ".", &list);
    if (!error && list)
        error = count_folder(maildir, bytes, count);
    while (list && !error && (entry = dir_next(list, &error))) {
        if (entry->d_name[0] != '.' || !strcmp(entry->d_name, ".Trash"))
            continue;
        int folder = dir_open(maildir, entry->d_name, false);
        error = folder >= 0 ? count_folder(folder, bytes, count) : is_gone(folder) ? 0 : folder;
        fd_close(folder);
    }
    if (list)
        closedir(list);
    return error;
}

static int open_mail(const struct store *s, const char *domain_path, struct span path) {
    int user = maildir_open(s, domain_path, path);
    int maildir = user < 0 ? user : dir_open(user, "Maildir", false);
    fd_close(user);
    return maildir;
}

int maildir_usage(const struct store *s, const char *domain_path, struct span path,
                  unsigned long long *bytes, unsigned long long *count) {
    int maildir = open_mail(s, domain_path, path);
    *bytes = *count = 0;
    int error = maildir < 0 ? maildir : count_all(maildir, bytes, count);
    fd_close(maildir);
    return error;
}

/* Declares a user's Maildir to the change; one that lies elsewhere must be the domain owner's. */
static int declare(const struct store *s, struct change *c, int maildir, const char *domain_path,
                   struct span path) {
    struct span part;
    struct stat st;
    struct buf text = {0};
    if (below(domain_path, path, &part)) {
        put_below(&text, part);
    } else {
        if (fstat(maildir, &st))
            return -errno;
        if (st.st_uid != s->uid)
            return -ELOOP;
        buf_span(&text, path);
    }
    buf_str(&text, "/Maildir");
    int error = buf_c(&text) ? change_in(c, maildir, text.data, true) : -ENOMEM;
    buf_free(&text);
    return error;
}

int maildir_size(const struct store *s, struct change *c, const char *domain_path, struct span path,
                 struct span quota) {
    unsigned long long bytes = 0, count = 0;
    struct buf text = {0};
    bool goes = !quota.len || span_is(quota, NOQUOTA);
    int maildir = open_mail(s, domain_path, path);
    int error = maildir < 0 ? maildir : goes ? 0 : count_all(maildir, &bytes, &count);
    if (error) {
        fd_close(maildir);
        return error;
    }
    size_text(quota, bytes, count, &text);
    struct span data = {text.data, text.len};
    error = text.failed ? -ENOMEM : declare(s, c, maildir, domain_path, path);
    if (error)
        fd_close(maildir);
    else
        error = goes ? change_remove(c, maildir, "maildirsize")
                     : change_write(c, maildir, "maildirsize", data, 0600, s->uid, s->gid);
    buf_free(&text);
    return error;
}

void quota_text(unsigned long long bytes, unsigned long long messages, struct buf *out) {
    if (bytes)
        buf_fmt(out, "%lluS", bytes);
    if (messages)
        buf_fmt(out, "%s%lluC", bytes ? "," : "", messages);
}

static bool ends_in(const char *text, size_t len, char letter) {
    return len && ascii_lower(text[len - 1]) == letter;
}

/* A size: digits, then at the very end M or K, then B, then S, each at most once. */
static unsigned long long quota_bytes(const char *part) {
    size_t len = strlen(part);
    unsigned long long value = (unsigned long long)strtoll(part, NULL, 10);
    if (ends_in(part, len, 's'))
        len--;
    if (ends_in(part, len, 'b'))
        len--;
    if (ends_in(part, len, 'm'))
        return value * 1048576;
    return ends_in(part, len, 'k') ? value * 1024 : value;
}

int quota_parse(const char *spelling, struct buf *out) {
    unsigned long long bytes = 0, messages = 0;
    if (!strcmp(spelling, NOQUOTA)) {
        buf_str(out, NOQUOTA);
        return out->failed ? VA_MEMORY_ALLOC_ERR : VA_SUCCESS;
    }
    struct span rest = span_of(spelling), part;
    while (span_field(&rest, ',', &part)) {
        if (!part.len)
            continue;
        char *text = span_dup(part);
        if (!text)
            return VA_MEMORY_ALLOC_ERR;
        if (text[part.len - 1] == 'C')
            messages = (unsigned long long)strtoll(text, NULL, 10);
        else
            bytes = quota_bytes(text);
        free(text);
    }
    quota_text(bytes, messages, out);
    if (out->failed)
        return VA_MEMORY_ALLOC_ERR;
    return out->len > MAX_PW_QUOTA ? VA_QUOTA_TOO_LONG : VA_SUCCESS;
}
