#include "maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/vpopmail.h"
#include "walk.h"

/* --- the user's directory -----------------------------------------------------------------------
 */

/* Opens PLACE below the domain's directory, made where missing. */
static int place_make(const struct store *s, struct span place) {
    int fd = dir_open(s->dir, ".", false);
    struct span step;
    while (fd >= 0 && span_field(&place, '/', &step)) {
        bool made;
        char *name = step.len ? span_dup(step) : NULL;
        if (!step.len)
            continue;
        int next = name ? dir_make(fd, name, s->uid, s->gid, &made) : -ENOMEM;
        if (next >= 0 && made)
            (void)dir_sync(fd);
        free(name);
        fd_close(fd);
        fd = next;
    }
    return fd;
}

static int write_size(int maildir, const struct store *s, struct span quota,
                      unsigned long long bytes, unsigned long long count) {
    struct buf text = {0};
    buf_span(&text, quota);
    buf_fmt(&text, "\n%llu %llu\n", bytes, count);
    int error = text.failed ? -ENOMEM
                            : file_write(maildir, "maildirsize", (struct span){text.data, text.len},
                                         0600, s->uid, s->gid);
    buf_free(&text);
    return error;
}

static int fill_maildir(int user, const struct store *s, struct span quota) {
    static const char *const parts[] = {"cur", "new", "tmp"};
    bool made;
    int error = 0;
    int maildir = dir_make(user, "Maildir", s->uid, s->gid, &made);
    if (maildir < 0)
        return maildir;
    for (int i = 0; i < 3 && !error; i++) {
        int fd = dir_make(maildir, parts[i], s->uid, s->gid, &made);
        error = fd < 0 ? fd : dir_sync(fd);
        fd_close(fd);
    }
    if (!error && !span_is(quota, NOQUOTA))
        error = write_size(maildir, s, quota, 0, 0);
    if (!error)
        error = dir_sync(maildir);
    fd_close(maildir);
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

int maildir_make(const struct store *s, struct span place, const char *name, struct span quota) {
    bool made = false;
    int in = place_make(s, place);
    if (in < 0)
        return in;
    struct stat st;
    int user =
        (!place.len && maildir_is_file(name)) || fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) == 0
            ? -EEXIST
            : dir_make(in, name, s->uid, s->gid, &made);
    int error = user < 0 ? user : made ? 0 : -EEXIST;
    if (!error)
        error = file_write(user, "lastauth", span_of("0.0.0.0"), 0600, s->uid, s->gid);
    if (!error)
        error = fill_maildir(user, s, quota);
    if (!error)
        error = dir_sync(user);
    if (!error)
        error = dir_sync(in);
    fd_close(user);
    if (error && made)
        (void)tree_remove(in, name);
    fd_close(in);
    return error;
}

void maildir_unmake(const struct store *s, struct span place, const char *name) {
    int in = place_make(s, place);
    if (in >= 0)
        (void)tree_remove(in, name);
    fd_close(in);
}

/* A path's part below the domain's directory; false where it lies elsewhere or steps back. */
static bool below(const char *domain_path, struct span path, struct span *part) {
    size_t len = strlen(domain_path);
    if (path.len <= len + 1 || memcmp(path.data, domain_path, len) != 0 || path.data[len] != '/')
        return false;
    *part = (struct span){path.data + len + 1, path.len - len - 1};
    struct span rest = *part, step;
    while (span_field(&rest, '/', &step))
        if (span_is(step, "..") || span_is(step, "."))
            return false;
    return true;
}

struct span maildir_place(const char *domain_path, struct span path) {
    struct span part, none = {"", 0};
    if (!below(domain_path, path, &part))
        return none;
    const char *slash = memrchr(part.data, '/', part.len);
    return slash ? (struct span){part.data, (size_t)(slash - part.data)} : none;
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
    int fd = dir_open(s->dir, ".", false);
    struct span rest = {part.data, before}, step;
    while (fd >= 0 && span_field(&rest, '/', &step)) {
        char *at = step.len ? span_dup(step) : NULL;
        if (!step.len)
            continue;
        int next = at ? dir_open(fd, at, false) : -ENOMEM;
        free(at);
        fd_close(fd);
        fd = next;
    }
    return fd;
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
    int parent = locate(s, domain_path, path, &name);
    free(name);
    fd_close(parent);
    return parent < 0 ? parent : 0;
}

int maildir_open(const struct store *s, const char *domain_path, struct span path) {
    char *name;
    int parent = locate(s, domain_path, path, &name);
    int fd = parent < 0 ? parent : dir_open(parent, name, false);
    free(name);
    fd_close(parent);
    return fd;
}

int maildir_remove(const struct store *s, const char *domain_path, struct span path) {
    char *name;
    int parent = locate(s, domain_path, path, &name);
    int error = parent < 0 ? parent : tree_remove(parent, name);
    if (!error)
        error = dir_sync(parent);
    free(name);
    fd_close(parent);
    return error;
}

/* --- the quota ----------------------------------------------------------------------------------
 */

/* The size that a message's name tells (…,S=1234…), else the file's. */
static unsigned long long message_size(int dir, const char *name) {
    const char *told = NULL;
    for (const char *p = strstr(name, ",S="); p; p = strstr(p + 1, ",S="))
        told = p;
    if (told)
        return strtoull(told + 3, NULL, 10);
    struct stat st;
    return fstatat(dir, name, &st, 0) == 0 && st.st_size > 0 ? (unsigned long long)st.st_size : 0;
}

static bool is_trashed(const char *name) {
    const char *flags = strstr(name, ":2,");
    return flags && strchr(flags, 'T');
}

static void count_part(int folder, const char *part, unsigned long long *bytes,
                       unsigned long long *count) {
    int fd = dir_open(folder, part, false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    if (!list) {
        fd_close(fd);
        return;
    }
    while ((entry = readdir(list)))
        if (entry->d_name[0] != '.' && !is_trashed(entry->d_name)) {
            *bytes += message_size(fd, entry->d_name);
            ++*count;
        }
    closedir(list);
}

static void count_folder(int folder, unsigned long long *bytes, unsigned long long *count) {
    count_part(folder, "cur", bytes, count);
    count_part(folder, "new", bytes, count);
}

/* -ENOENT for a maildir that has no cur: vpopmail writes no maildirsize there. */
static int count_all(int maildir, unsigned long long *bytes, unsigned long long *count) {
    struct dirent *entry;
    if (faccessat(maildir, "cur", F_OK, AT_SYMLINK_NOFOLLOW))
        return -errno;
    int fd = dir_open(maildir, ".", false);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        fd_close(fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    count_folder(fd, bytes, count);
    while ((entry = readdir(list))) {
        const char *name = entry->d_name;
        if (name[0] != '.' || !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, ".Trash"))
            continue;
        int folder = dir_open(fd, name, false);
        if (folder >= 0)
            count_folder(folder, bytes, count);
        fd_close(folder);
    }
    closedir(list);
    return 0;
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

int maildir_size(const struct store *s, const char *domain_path, struct span path,
                 struct span quota) {
    unsigned long long bytes = 0, count = 0;
    int maildir = open_mail(s, domain_path, path);
    int error = maildir < 0 ? maildir : 0;
    if (!error && (!quota.len || span_is(quota, NOQUOTA))) {
        if (unlinkat(maildir, "maildirsize", 0) && errno != ENOENT)
            error = -errno;
    } else if (!error) {
        error = count_all(maildir, &bytes, &count);
        if (!error)
            error = write_size(maildir, s, quota, bytes, count);
    }
    fd_close(maildir);
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
        return VA_SUCCESS;
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
    return out->len > MAX_PW_QUOTA ? VA_QUOTA_TOO_LONG : VA_SUCCESS;
}
