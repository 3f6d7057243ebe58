/* Aliases: `.qmail-NAME` in the domain's directory, dots of the name written as colons.
 *
 * Order of writes, under the lock of the domain's directory. A line more (valias_insert), lines
 * that are set (vpopmail_set_alias), or one less (valias_remove): the alias's new file beside the
 * old one, in whose place it is put. An alias that goes, by valias_delete, with its last line, or
 * set to no lines: its file is removed and the directory synced. All of a domain's
 * (valias_delete_domain): it is first told in the journal (change.h) which go; then they do, one
 * after the other. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alias.h"
#include "crew.h"
#include "error.h"
#include "include/vauth.h"
#include "linefile.h"
#include "thread.h"
#include "user.h"
#include "walk.h"

#define PREFIX ".qmail-"
#define LINE_SHOWN (MAX_ALIAS_LINE - 1)
#define JOURNAL ".new:"
#define PART_LEAST 8192 /* bytes of names of files that a thread of its own is worth */

static const struct journal_name names[] = {
    {PREFIX "*", false}, {".qmailadmin-limits", false}, {NULL, false}};

static struct journal journal_of(const struct store *s) {
    return (struct journal){
        .dir = s->dir, .prefix = JOURNAL, .names = names, .uid = s->uid, .gid = s->gid};
}

int aliases_lock(const struct store *s, struct lock *lock) {
    struct journal journal = journal_of(s);
    int error = lock_dir(s->dir, lock);
    if (error)
        return error;
    error = change_recover(&journal);
    if (error < 0)
        lock_release(lock);
    return error < 0 ? error : 0;
}

static void repair(const struct store *s) {
    struct journal journal = journal_of(s);
    struct lock lock = LOCK_NONE;
    if (change_is_pending(s->dir, JOURNAL) && !lock_dir_now(s->dir, &lock))
        (void)change_recover(&journal);
    lock_release(&lock);
}

/* Makes the change that was readied, or drops it. */
static int finish(struct change *c, int error) {
    if (!error)
        return change_make(c);
    change_drop(c);
    return error;
}

int aliases_write(const struct store *s, const char *name, struct span data, mode_t mode) {
    struct change c = change_of(journal_of(s));
    return finish(&c, change_write(&c, s->dir, name, data, mode, s->uid, s->gid));
}

/* .qmail-NAME; false for a name that would lead out of the directory. */
static bool file_of(const char *alias, struct buf *name) {
    if (strchr(alias, '/') || strlen(alias) > MAX_PW_NAME)
        return false;
    buf_str(name, PREFIX);
    for (const char *p = alias; *p; p++)
        buf_char(name, *p == '.' ? ':' : *p);
    return buf_c(name) != NULL;
}

static bool open_domain(struct session *s, const char *domain) {
    return session_begin(s, "", domain) > 0 && s->store.dir >= 0;
}

/* --- changing -----------------------------------------------------------------------------------
 */

static int append(const struct store *s, const char *file, const char *line) {
    struct buf text = {0};
    int error = file_read(s->dir, file, &text);
    if (error == -ENOENT)
        error = 0;
    buf_str(&text, line);
    buf_char(&text, '\n');
    if (!error)
        error = text.failed ? -ENOMEM
                            : aliases_write(s, file, (struct span){text.data, text.len}, 0600);
    buf_free(&text);
    return error;
}

int valias_insert(char *alias, char *domain, char *line) {
    struct session s;
    struct buf file = {0};
    struct lock lock = LOCK_NONE;
    if (!alias || !domain || !line)
        return VA_NULL_POINTER;
    if (strlen(alias) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    if (strlen(line) >= MAX_ALIAS_LINE)
        return VA_ALIAS_LINE_TOO_LONG;
    int code = open_domain(&s, domain) && file_of(alias, &file) ? VA_SUCCESS : VA_ILLEGAL_USERNAME;
    if (code == VA_SUCCESS) {
        int error = aliases_lock(&s.store, &lock);
        if (!error)
            error = append(&s.store, file.data, line);
        lock_release(&lock);
        code = error ? error_code(error, VA_COULD_NOT_OPEN_DOT_QMAIL) : VA_SUCCESS;
    }
    buf_free(&file);
    session_end(&s);
    return code;
}

/* The lines, each of which a NUL ends, as the file has them; 0 or a code. */
static int join(const char *lines, size_t size, struct buf *text) {
    struct span rest = {lines, size}, line;
    while (span_field(&rest, '\0', &line)) {
        if (line.len >= MAX_ALIAS_LINE)
            return VA_ALIAS_LINE_TOO_LONG;
        buf_span(text, line);
        buf_char(text, '\n');
    }
    return text->failed ? VA_MEMORY_ALLOC_ERR : VA_SUCCESS;
}

static int write_alias(const struct store *s, const char *file, const struct buf *text) {
    struct stat st = {.st_mode = S_IFREG};
    if (text->len) { /* not in the place of a link, which is a mailing list's */
        if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) && errno != ENOENT)
            return -errno;
        return S_ISREG(st.st_mode)
                   ? aliases_write(s, file, (struct span){text->data, text->len}, 0600)
                   : -ELOOP;
    }
    if (unlinkat(s->dir, file, 0))
        return errno == ENOENT ? 0 : -errno;
    return fd_sync(s->dir);
}

int vpopmail_set_alias(const char *alias, const char *domain, const char *lines, size_t size) {
    struct session s;
    struct buf file = {0}, text = {0};
    struct lock lock = LOCK_NONE;
    if (!alias || !domain || !lines)
        return VA_NULL_POINTER;
    if (strlen(alias) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    int code = join(lines, size, &text);
    bool open = open_domain(&s, domain) && file_of(alias, &file);
    if (code == VA_SUCCESS && !open)
        code = VA_ILLEGAL_USERNAME;
    if (code == VA_SUCCESS) {
        int error = aliases_lock(&s.store, &lock);
        if (!error)
            error = write_alias(&s.store, file.data, &text);
        lock_release(&lock);
        code = error ? error_code(error, VA_COULD_NOT_OPEN_DOT_QMAIL) : VA_SUCCESS;
    }
    buf_free(&file);
    buf_free(&text);
    session_end(&s);
    return code;
}

static bool is_line(struct span line, const void *wanted) {
    return span_is(line, wanted);
}

/* Takes every such line out; an alias without lines left goes. */
static int take_out(const struct store *s, const char *file, const char *line) {
    struct buf text = {0}, left = {0};
    int error = file_read(s->dir, file, &text);
    long dropped =
        error ? error : linefile_drop((struct span){text.data, text.len}, is_line, line, &left);
    error = dropped < 0 ? (int)dropped : 0;
    if (!error && dropped > 0 && left.len == 0)
        error = unlinkat(s->dir, file, 0) ? -errno : fd_sync(s->dir);
    else if (!error && dropped > 0)
        error = aliases_write(s, file, (struct span){left.data, left.len}, 0600);
    buf_free(&text);
    buf_free(&left);
    return error ? error : dropped ? 0 : -ENOENT;
}

int valias_remove(char *alias, char *domain, char *line) {
    struct session s;
    struct buf file = {0};
    struct lock lock = LOCK_NONE;
    if (!alias || !domain || !line)
        return VA_NULL_POINTER;
    int error = open_domain(&s, domain) && file_of(alias, &file) ? 0 : -ENOENT;
    if (!error)
        error = aliases_lock(&s.store, &lock);
    if (!error)
        error = take_out(&s.store, file.data, line);
    lock_release(&lock);
    buf_free(&file);
    session_end(&s);
    return error ? error_code(error, VA_ILLEGAL_USERNAME) : VA_SUCCESS;
}

int valias_delete(char *alias, char *domain) {
    struct session s;
    struct buf file = {0};
    struct lock lock = LOCK_NONE;
    if (!alias || !domain)
        return VA_NULL_POINTER;
    if (strlen(alias) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (strlen(domain) > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    int error = open_domain(&s, domain) && file_of(alias, &file) ? 0 : -ENOENT;
    if (!error)
        error = aliases_lock(&s.store, &lock);
    if (!error)
        error = unlinkat(s.store.dir, file.data, 0) ? -errno : fd_sync(s.store.dir);
    lock_release(&lock);
    buf_free(&file);
    session_end(&s);
    return error ? error_code(error, VA_ILLEGAL_USERNAME) : VA_SUCCESS;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static bool begin_reading(struct session *s, const char *domain) {
    bool open = open_domain(s, domain);
    if (open && session_may_read(s))
        repair(&s->store);
    return open;
}

/* Opens an alias's file. A symbolic link (a mailing list's) is read where its target is the domain
 * owner's or readable by all: root is not to show what its caller could not see. */
static int open_alias(const struct store *s, const char *file, struct stat *st) {
    int fd = file_open(s->dir, file, st);
    if (fd != -ELOOP)
        return fd;
    fd = walk_file(s->dir, file, st);
    if (fd >= 0 && st->st_uid != s->uid && !(st->st_mode & S_IROTH)) {
        fd_close(fd);
        return -ELOOP;
    }
    return fd;
}

/* Each line, cut into pieces of 159 bytes as vpopmail reads it, after `mark` and before a NUL. */
static void put_lines(struct span text, const char *mark, struct buf *out) {
    while (text.len) {
        struct span piece = text;
        if (piece.len > LINE_SHOWN)
            piece.len = LINE_SHOWN;
        const char *end = memchr(piece.data, '\n', piece.len);
        size_t taken = end ? (size_t)(end - piece.data) + 1 : piece.len;
        const char *nul = memchr(piece.data, '\0', taken);
        buf_str(out, mark);
        buf_add(out, piece.data, nul ? (size_t)(nul - piece.data) : end ? taken - 1 : taken);
        buf_char(out, '\0');
        text = (struct span){text.data + taken, text.len - taken};
    }
}

static int read_alias(const struct store *s, const char *file, const char *mark, struct buf *out) {
    struct buf text = {0};
    struct stat st;
    int fd = open_alias(s, file, &st);
    if (fd < 0)
        return fd;
    int error = fd_read_sized(fd, st.st_size, &text);
    fd_close(fd);
    if (!error)
        put_lines((struct span){text.data, text.len}, mark, out);
    buf_free(&text);
    return error;
}

static int give(struct buf *out, int code, char **data, size_t *size) {
    *data = code == VA_SUCCESS ? buf_c(out) : NULL;
    *size = out->len;
    if (code == VA_SUCCESS && !*data)
        code = VA_MEMORY_ALLOC_ERR;
    if (!*data) {
        buf_free(out);
        *size = 0;
    }
    return code;
}

int vpopmail_alias(const char *alias, const char *domain, char **data, size_t *size) {
    struct session s;
    struct buf file = {0}, out = {0};
    if (begin_reading(&s, domain) && file_of(alias, &file))
        (void)read_alias(&s.store, file.data, "", &out);
    buf_free(&file);
    session_end(&s);
    return give(&out, VA_SUCCESS, data, size);
}

/* 1 for a directory entry that is an alias which is listed, 0, or -errno: not the catch-all; of
 * links (mailing lists) not those for a list's own addresses. */
static int is_listed(int dir, const struct dirent *entry) {
    const char *name = entry->d_name;
    struct stat st;
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0 || !strcmp(name, PREFIX "default"))
        return 0;
    if (entry->d_type == DT_REG)
        return 1;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -errno;
    if (S_ISLNK(st.st_mode))
        return !strstr(name, "-default") && !strstr(name, "-owner");
    return S_ISREG(st.st_mode);
}

typedef int each_alias(const struct store *s, const char *file, struct buf *out);

static int for_each(const struct store *s, each_alias *act, struct buf *out) {
    struct dirent *entry;
    int fd = dir_open(s->dir, ".", false), error = 0;
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        fd_close(fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    while (!error && (entry = dir_next(list, &error))) {
        int listed = is_listed(fd, entry);
        error = listed > 0 ? act(s, entry->d_name, out) : listed;
    }
    closedir(list);
    return error ? error : out->failed ? -ENOMEM : 0;
}

static int show(const struct store *s, const char *file, struct buf *out) {
    size_t before = out->len;
    buf_char(out, 'A');
    for (const char *p = file + sizeof PREFIX - 1; *p; p++)
        buf_char(out, *p == ':' ? '.' : *p);
    buf_char(out, '\0');
    if (read_alias(s, file, "L", out) && !out->failed) /* it went meanwhile, or may not be read */
        out->len = before;
    return 0;
}

static int note(const struct store *s, const char *file, struct buf *out) {
    (void)s;
    buf_str(out, file);
    buf_char(out, '\0');
    return 0;
}

/* The names of files, cut into parts, and what is shown of each. */
struct shown {
    const struct store *s;
    struct span files[CREW_MOST];
    struct buf out[CREW_MOST];
};

static void show_part(void *arg, size_t part) {
    struct shown *all = arg;
    struct span rest = all->files[part], file;
    while (span_field(&rest, '\0', &file))
        (void)show(all->s, file.data, &all->out[part]);
}

/* Nearly all of the time goes into opening and reading the files. */
static int show_all(const struct store *s, struct buf *out) {
    struct shown all = {.s = s};
    struct buf files = {0};
    int error = for_each(s, note, &files);
    size_t parts = files.len / PART_LEAST, most = crew_size(), from = 0;
    parts = parts > most ? most : parts ? parts : 1;
    for (size_t i = 0; i < parts && !error; i++) {
        size_t to = i + 1 == parts ? files.len : files.len / parts * (i + 1);
        while (to < files.len && to && files.data[to - 1])
            to++;
        all.files[i] = (struct span){files.data + from, to - from};
        from = to;
    }
    if (!error)
        crew_do(show_part, &all, parts);
    for (size_t i = 0; i < parts; i++) {
        buf_add(out, all.out[i].data, all.out[i].len);
        error = all.out[i].failed ? -ENOMEM : error;
        buf_free(&all.out[i]);
    }
    buf_free(&files);
    return error ? error : out->failed ? -ENOMEM : 0;
}

int vpopmail_aliases(const char *domain, char **data, size_t *size) {
    struct session s;
    struct buf out = {0};
    int code = VA_SUCCESS;
    if (begin_reading(&s, domain) && show_all(&s.store, &out))
        code = VA_ILLEGAL_USERNAME;
    session_end(&s);
    return give(&out, code, data, size);
}

static int erase_all(const struct store *s) {
    struct change c = change_of(journal_of(s));
    struct buf files = {0};
    int error = for_each(s, note, &files);
    struct span rest = {files.data, files.len}, file;
    while (!error && span_field(&rest, '\0', &file))
        error = change_remove(&c, s->dir, file.data);
    buf_free(&files);
    return finish(&c, error);
}

int valias_delete_domain(char *domain) {
    struct session s;
    struct lock lock = LOCK_NONE;
    if (!domain)
        return VA_NULL_POINTER;
    int error = open_domain(&s, domain) ? aliases_lock(&s.store, &lock) : -ENOENT;
    if (!error)
        error = erase_all(&s.store);
    lock_release(&lock);
    session_end(&s);
    return error ? error_code(error, VA_ILLEGAL_USERNAME) : VA_SUCCESS;
}

/* --- line by line, as vpopmail gives them -------------------------------------------------------
 */

static char *start(struct per_thread *t, char *data, size_t size) {
    buf_free(&t->aliases);
    buf_add(&t->aliases, data ? data : "", size);
    free(data);
    t->aliases_rest = (struct span){t->aliases.data, t->aliases.len};
    return t->aliases.data;
}

char *valias_select_next(void) {
    struct per_thread *t = per_thread();
    struct span line;
    return t && span_field(&t->aliases_rest, '\0', &line) ? (char *)line.data : NULL;
}

char *valias_select(char *alias, char *domain) {
    struct per_thread *t = per_thread();
    char *data;
    size_t size;
    if (!t || !alias || !domain || vpopmail_alias(alias, domain, &data, &size) != VA_SUCCESS ||
        !start(t, data, size))
        return NULL;
    return valias_select_next();
}

char *valias_select_all_next(char *alias) {
    struct per_thread *t = per_thread();
    struct span item;
    while (t && span_field(&t->aliases_rest, '\0', &item)) {
        if (item.data[0] == 'L' && alias) {
            size_t len = t->alias_name.len < MAX_PW_NAME ? t->alias_name.len : MAX_PW_NAME;
            memcpy(alias, t->alias_name.data ? t->alias_name.data : "", len);
            alias[len] = '\0';
            return (char *)item.data + 1;
        }
        buf_clear(&t->alias_name);
        buf_add(&t->alias_name, item.data + 1, item.len - 1);
    }
    return NULL;
}

char *valias_select_all(char *alias, char *domain) {
    struct per_thread *t = per_thread();
    char *data;
    size_t size;
    if (!t || !alias || !domain || vpopmail_aliases(domain, &data, &size) != VA_SUCCESS ||
        !start(t, data, size))
        return NULL;
    buf_clear(&t->alias_name);
    return valias_select_all_next(alias);
}
