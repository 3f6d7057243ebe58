/* Many users of a domain added in one change, as vadduser would add them one after the other.
 *
 * Order of writes. Passwords are hashed and directories made before the domain is locked, where
 * nobody looks for them (adding.h). Then, under the lock, the directories are moved into place, the
 * disk is synced, and the count and the lines follow in one change, which is what makes the users.
 * Until then all can be undone, and is: by us after an error, by the next one after a crash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adding.h"
#include "bulk.h"
#include "dir_control.h"
#include "error.h"
#include "include/vauth.h"
#include "maildir.h"
#include "names.h"
#include "password.h"
#include "stream.h"
#include "user.h"

#define SYNCED 2048 /* users that are made between two syncs */

struct row {
    char *text; /* what the others point into, of that size */
    size_t size;
    const char *name, *password, *gecos;
    char *hash;
    char quota[MAX_PW_QUOTA + 1];
    bool has_quota, refused; /* without a quota: the domain's default */
    unsigned int kind, flags;
    struct span place; /* without a slash at its end */
};

struct vpopmail_bulk {
    struct session s;
    struct policy policy;
    struct buf quota; /* the domain's default */
    struct row *rows;
    size_t count, room;
    struct row **by_name; /* once all are there */
    struct buf refused;
    struct adding adding;
    struct dir_kept kept; /* beside another library */
    struct buf missing;   /* the hashed directories that are not there then, one a line */
};

/* --- taking -------------------------------------------------------------------------------------
 */

/* What is only read elsewhere is ours to wipe. */
static void wipe(const char *text) {
    explicit_bzero((char *)text, strlen(text));
}

/* The text has the password, or its hash. */
static void row_free(struct row *r) {
    if (r->hash)
        wipe(r->hash);
    free(r->hash);
    explicit_bzero(r->text, r->size);
    free(r->text);
}

static void refuse_with(struct vpopmail_bulk *b, struct row *r, int code, const char *text) {
    if (r->refused)
        return;
    r->refused = true;
    buf_fmt(&b->refused, "%zu", (size_t)(r - b->rows));
    buf_char(&b->refused, '\0');
    buf_str(&b->refused, r->name);
    buf_char(&b->refused, '\0');
    buf_fmt(&b->refused, "%d", code);
    buf_char(&b->refused, '\0');
    buf_str(&b->refused, text);
    buf_char(&b->refused, '\0');
}

static void refuse(struct vpopmail_bulk *b, struct row *r, int code) {
    refuse_with(b, r, code, verror(code));
}

/* The fields of one row. */
enum { NAME, PASSWORD, HASH, GECOS, KIND, FLAGS, QUOTA, FIELDS };

static int read_quota(const char *given, struct row *r) {
    struct buf quota = {0};
    int code = strlen(given) > MAX_PW_QUOTA ? VA_QUOTA_TOO_LONG : quota_parse(given, &quota);
    if (code == VA_SUCCESS && !buf_c(&quota))
        code = VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS)
        memcpy(r->quota, quota.data, quota.len + 1);
    buf_free(&quota);
    return code;
}

/* In the order of vadduser's complaints. */
static int check_row(const struct vpopmail_bulk *b, const char *const f[FIELDS], struct row *r) {
    int code = user_check_new(f[NAME], b->s.domain.name, f[PASSWORD], f[GECOS]);
    if (code == VA_SUCCESS && f[HASH][0] != '=')
        code = policy_allows(&b->policy, f[PASSWORD]);
    if (code == VA_SUCCESS && name_breaks_line(f[HASH]))
        code = VA_BAD_CHAR;
    if (code == VA_SUCCESS && strlen(f[HASH]) > MAX_PW_PASS + 1)
        code = VA_PASSWD_TOO_LONG;
    r->has_quota = f[QUOTA][0] != '\0';
    if (code == VA_SUCCESS && r->has_quota)
        code = read_quota(f[QUOTA], r);
    if (code == VA_SUCCESS &&
        !(span_id(span_of(f[KIND]), &r->kind) && span_id(span_of(f[FLAGS]), &r->flags)))
        code = VA_BAD_CHAR;
    return code;
}

static int take_row(struct vpopmail_bulk *b, const char *data, size_t size,
                    const char *const f[FIELDS]) {
    if (b->count == b->room) {
        size_t room = b->room ? b->room * 2 : 64;
        struct row *rows = realloc(b->rows, room * sizeof *rows);
        if (!rows)
            return VA_MEMORY_ALLOC_ERR;
        b->rows = rows;
        b->room = room;
    }
    struct row *r = &b->rows[b->count];
    *r = (struct row){.text = malloc(size), .size = size};
    if (!r->text)
        return VA_MEMORY_ALLOC_ERR;
    b->count++;
    memcpy(r->text, data, size);
    const char *own[FIELDS];
    for (int i = 0; i < FIELDS; i++)
        own[i] = r->text + (f[i] - data);
    r->name = own[NAME];
    r->password = own[PASSWORD];
    r->gecos = own[GECOS][0] ? own[GECOS] : r->name;
    for (char *p = r->text; *p; p++)
        *p = ascii_lower(*p);
    int code = check_row(b, own, r);
    if (code != VA_SUCCESS)
        refuse(b, r, code);
    else if (own[HASH][0] == '=' && !(r->hash = strdup(own[HASH] + 1)))
        return VA_MEMORY_ALLOC_ERR;
    return b->refused.failed ? VA_MEMORY_ALLOC_ERR : VA_SUCCESS;
}

int vpopmail_bulk_take(struct vpopmail_bulk *b, const char *rows, size_t count) {
    int code = VA_SUCCESS;
    for (size_t i = 0; i < count && code == VA_SUCCESS; i++) {
        const char *f[FIELDS], *start = rows;
        for (int j = 0; j < FIELDS; j++) {
            f[j] = rows;
            rows += strlen(rows) + 1;
        }
        code = take_row(b, start, (size_t)(rows - start), f);
    }
    return code;
}

/* --- what is taken already ----------------------------------------------------------------------
 */

static int compare_rows(const void *a, const void *b) {
    return strcmp((*(struct row *const *)a)->name, (*(struct row *const *)b)->name);
}

static int compare_name(const void *name, const void *row) {
    return span_cmp(*(const struct span *)name, span_of((*(struct row *const *)row)->name));
}

/* Of rows of one name the later ones are refused: the sort keeps their order by where they are. */
static int compare_places(const void *a, const void *b) {
    int order = compare_rows(a, b);
    const struct row *first = *(struct row *const *)a, *second = *(struct row *const *)b;
    return order ? order : first < second ? -1 : first > second;
}

static int sort(struct vpopmail_bulk *b) {
    if (!b->by_name)
        b->by_name = malloc((b->count + 1) * sizeof *b->by_name);
    if (!b->by_name)
        return -ENOMEM;
    for (size_t i = 0; i < b->count; i++)
        b->by_name[i] = &b->rows[i];
    qsort(b->by_name, b->count, sizeof *b->by_name, compare_places);
    for (size_t i = 1; i < b->count; i++)
        if (compare_rows(&b->by_name[i - 1], &b->by_name[i]) == 0)
            refuse(b, b->by_name[i], VA_USERNAME_EXISTS);
    return 0;
}

/* Refuses those that vpasswd has. */
static int find_stored(struct vpopmail_bulk *b) {
    struct lines in = {.fd = store_open(&b->s.store)};
    struct span line;
    int more = in.fd == -ENOENT ? 0 : in.fd;
    while (in.fd >= 0 && (more = lines_next(&in, &line)) > 0) {
        struct span name = store_name(line);
        struct row **found = bsearch(&name, b->by_name, b->count, sizeof *found, compare_name);
        /* Of several of that name the first. */
        while (found && found > b->by_name && compare_rows(&found[-1], found) == 0)
            found--;
        if (found)
            refuse(b, *found, VA_USERNAME_EXISTS);
    }
    lines_free(&in);
    fd_close(in.fd);
    return more;
}

/* And those that only the look-up file has, as vadduser looks there. */
static int find_known(struct vpopmail_bulk *b) {
    int fd = -EBADF, found = 0;
    for (size_t i = 0; i < b->count && found >= 0; i++) {
        struct account other = {0};
        if (b->rows[i].refused)
            continue;
        if (fd == -EBADF)
            fd = store_open_cdb(&b->s.store);
        found = store_find_at(fd, b->rows[i].name, &other);
        if (found > 0)
            refuse(b, &b->rows[i], VA_USERNAME_EXISTS);
        account_free(&other);
    }
    fd_close(fd);
    return found < 0 ? found : 0;
}

/* A hashed directory, open or why not, which mostly is the next row's too. */
struct at {
    struct span place;
    int fd;
    bool looked;
};
#define AT_NONE ((struct at){.fd = -1})

static bool is_at(const struct at *at, struct span place) {
    return at->looked && span_cmp(place, at->place) == 0;
}

static int at_place(const struct store *s, struct at *at, struct span place, bool make) {
    if (!is_at(at, place)) {
        fd_close(at->fd);
        *at = (struct at){place, place_open(s, place, make), true};
    }
    return at->fd;
}

/* Tells each row its place, and refuses those at whose path something is. */
static int find_places(struct vpopmail_bulk *b, struct change *c, struct dir_place *places) {
    const struct store *s = &b->s.store;
    struct at at = AT_NONE;
    struct stat st;
    int error = dir_control_add_many(s->dir, s->uid, s->gid, b->count, c, places);
    struct span rest = {places->path.data, places->path.len};
    for (size_t i = 0; i < b->count && !error; i++) {
        struct row *r = &b->rows[i];
        (void)span_line(&rest, &r->place);
        int in = at_place(s, &at, r->place, false);
        if (in < 0 && in != -ENOENT)
            error = in;
        else if ((!r->place.len && maildir_is_file(r->name)) ||
                 (in >= 0 && fstatat(in, r->name, &st, AT_SYMLINK_NOFOLLOW) == 0))
            refuse(b, r, VA_EXIST_U_DIR);
    }
    fd_close(at.fd);
    return error;
}

/* Against each other and, where accounts are in vpasswd, against what the domain has. */
static int check(struct vpopmail_bulk *b, bool in_cdb, struct dir_place *places) {
    int error = sort(b);
    if (!error && in_cdb)
        error = find_stored(b);
    if (!error && in_cdb)
        error = find_known(b);
    if (!error && in_cdb)
        error = find_places(b, NULL, places);
    return !error && b->refused.failed ? -ENOMEM : error;
}

int vpopmail_bulk_check(struct vpopmail_bulk *b) {
    struct dir_place places = DIR_PLACE_NONE;
    int error = check(b, true, &places);
    dir_place_end(&places);
    if (!error && b->count && !b->refused.len)
        error = adding_begin(&b->s.store, &b->adding);
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

int vpopmail_bulk_refused(const struct vpopmail_bulk *b, char **data, size_t *size) {
    *data = malloc(b->refused.len + 1);
    *size = *data ? b->refused.len : 0;
    if (*size)
        memcpy(*data, b->refused.data, *size);
    return *data ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
}

/* --- hashes and directories ---------------------------------------------------------------------
 */

static int hash_rows(struct row *rows, size_t count) {
    const char **passwords = calloc(count + 1, sizeof *passwords);
    struct buf hashes = {0};
    size_t wanted = 0;
    int code = passwords ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
    for (size_t i = 0; i < count && passwords; i++)
        if (!rows[i].hash && rows[i].password[0])
            passwords[wanted++] = rows[i].password;
    if (code == VA_SUCCESS)
        code = password_hash_many(passwords, wanted, &hashes);
    const char *next = hashes.data;
    for (size_t i = 0; i < count && code == VA_SUCCESS; i++) {
        bool hashed = !rows[i].hash && rows[i].password[0];
        if (hashed && !(rows[i].hash = strdup(next)))
            code = VA_MEMORY_ALLOC_ERR;
        if (hashed)
            next += strlen(next) + 1;
        wipe(rows[i].password);
    }
    free(passwords);
    buf_free(&hashes);
    return code;
}

static struct span quota_of(const struct vpopmail_bulk *b, const struct row *r) {
    return r->has_quota ? span_of(r->quota) : (struct span){b->quota.data, b->quota.len};
}

int vpopmail_bulk_make(struct vpopmail_bulk *b, size_t from, size_t count) {
    int code = hash_rows(b->rows + from, count);
    for (size_t i = from; i < from + count && code == VA_SUCCESS; i++) {
        const struct row *r = &b->rows[i];
        int error = adding_grow(&b->s.store, &b->adding, r->name, quota_of(b, r));
        if (error)
            code = error_code(error, VA_SUBDIR_CREATION);
    }
    /* The disk begins with what is there, while others hash. */
    if (code == VA_SUCCESS && from / SYNCED != (from + count) / SYNCED) {
        int error = adding_sync(&b->adding);
        if (error)
            code = error_code(error, VA_COULD_NOT_UPDATE_FILE);
    }
    return code;
}

/* --- the change ---------------------------------------------------------------------------------
 */

/* Where the directories go to, one a line, and which hashed ones are made for them. */
static void list_paths(const struct vpopmail_bulk *b, bool with_users, struct buf *text) {
    struct at at = AT_NONE;
    for (size_t i = 0; i < b->count; i++) {
        struct span place = b->rows[i].place;
        if (!is_at(&at, place) && at_place(&b->s.store, &at, place, false) < 0)
            for (size_t end = 0; end < place.len; end++)
                if (end + 1 == place.len || place.data[end + 1] == '/') {
                    buf_span(text, (struct span){place.data, end + 1});
                    buf_str(text, "/\n");
                }
        if (!with_users)
            continue;
        buf_span(text, place);
        buf_str(text, place.len ? "/" : "");
        buf_str(text, b->rows[i].name);
        buf_char(text, '\n');
    }
    fd_close(at.fd);
}

static int note(const struct vpopmail_bulk *b) {
    struct buf text = {0};
    list_paths(b, true, &text);
    int error = text.failed ? -ENOMEM : adding_note(&b->adding, (struct span){text.data, text.len});
    buf_free(&text);
    return error;
}

/* Moves a directory to where nothing may be. */
static int move(int from, int to, const char *name) {
    struct stat st;
    if (renameat2(from, name, to, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL) /* what a file system says that has no such rename */
        return -errno;
    if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    if (errno != ENOENT)
        return -errno;
    return renameat(from, name, to, name) ? -errno : 0;
}

static int move_all(const struct vpopmail_bulk *b) {
    struct at at = AT_NONE;
    int error = note(b);
    for (size_t i = 0; i < b->count && !error; i++) {
        const struct row *r = &b->rows[i];
        int in = at_place(&b->s.store, &at, r->place, true);
        error = in < 0 ? in : move(b->adding.dir, in, r->name);
    }
    fd_close(at.fd);
    return error ? error : adding_sync(&b->adding);
}

/* The lines, in the order of the names. */
static int compose(const struct vpopmail_bulk *b, struct buf *text, struct span **lines) {
    size_t *ends = malloc((b->count + 1) * sizeof *ends);
    *lines = malloc((b->count + 1) * sizeof **lines);
    int error = ends && *lines ? 0 : -ENOMEM;
    for (size_t i = 0; i < b->count && !error; i++) {
        const struct row *r = b->by_name[i];
        buf_fmt(text, "%s:%s:%u:%u:%s:%s/", r->name, r->hash ? r->hash : "", r->kind, r->flags,
                r->gecos, b->s.domain.path);
        buf_span(text, r->place);
        buf_fmt(text, "%s%s:", r->place.len ? "/" : "", r->name);
        buf_span(text, quota_of(b, r));
        ends[i] = text->len;
    }
    if (!error && text->failed)
        error = -ENOMEM;
    for (size_t i = 0; i < b->count && !error; i++) {
        size_t start = i ? ends[i - 1] : 0;
        (*lines)[i] = (struct span){text->data + start, ends[i] - start};
    }
    free(ends);
    return error;
}

static int settle(const struct vpopmail_bulk *b, struct change *c) {
    struct buf text = {0};
    struct span *lines = NULL;
    int error = compose(b, &text, &lines);
    if (!error)
        error = store_add_many(&b->s.store, c, lines, b->count);
    if (!error)
        error = change_make(c);
    buf_free(&text);
    free(lines);
    return error;
}

/* With the domain locked; what others have done since the check may be in the way. */
static int change(struct vpopmail_bulk *b) {
    struct change c = store_change(&b->s.store);
    struct dir_place places = DIR_PLACE_NONE;
    int error = find_stored(b);
    if (!error)
        error = find_places(b, &c, &places);
    if (!error && !b->refused.len) {
        error = move_all(b);
        if (!error)
            error = settle(b, &c);
        if (error)
            adding_undo(&b->s.store, &b->adding);
    }
    adding_end(&b->s.store, &b->adding);
    change_drop(&c);
    dir_place_end(&places);
    return error;
}

int vpopmail_bulk_commit(struct vpopmail_bulk *b) {
    struct lock lock = LOCK_NONE;
    if (!b->count)
        return VA_SUCCESS;
    int error = adding_sync(&b->adding); /* most of it while others may still change the domain */
    if (!error)
        error = store_lock(&b->s.store, &lock);
    if (!error) {
        fd_give(lock.fd, b->s.store.uid, b->s.store.gid);
        error = change(b);
    }
    lock_release(&lock);
    return error ? error_code(error, error == -EEXIST ? VA_EXIST_U_DIR : VA_COULD_NOT_UPDATE_FILE)
                 : VA_SUCCESS;
}

/* --- beside another library ---------------------------------------------------------------------
 */

void bulk_allow_any_password(struct vpopmail_bulk *b) {
    b->policy = (struct policy){0};
}

int bulk_check_beside(struct vpopmail_bulk *b, bool in_cdb) {
    struct dir_place places = DIR_PLACE_NONE;
    int error = check(b, in_cdb, &places);
    if (!error && in_cdb) {
        error = dir_control_keep(b->s.store.dir, &b->kept);
        list_paths(b, false, &b->missing);
    }
    dir_place_end(&places);
    if (!error && b->missing.failed)
        error = -ENOMEM;
    return error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

size_t bulk_count(const struct vpopmail_bulk *b) {
    return b->count;
}

struct bulk_row bulk_row(const struct vpopmail_bulk *b, size_t at) {
    const struct row *r = &b->rows[at];
    return (struct bulk_row){
        r->name, r->password, r->hash, r->gecos, r->has_quota ? r->quota : NULL, r->kind, r->flags};
}

void bulk_refuse(struct vpopmail_bulk *b, size_t at, int code, const char *text) {
    refuse_with(b, &b->rows[at], code, text);
}

bool bulk_is_refused(const struct vpopmail_bulk *b) {
    return b->refused.len > 0;
}

/* What was missing and is empty goes again, those in others before them. */
static void remove_places(const struct vpopmail_bulk *b) {
    for (size_t end = b->missing.len; end > 0;) {
        size_t start = end - 1;
        while (start > 0 && b->missing.data[start - 1] != '\n')
            start--;
        (void)place_remove(&b->s.store, (struct span){b->missing.data + start, end - start - 2});
        end = start;
    }
}

int bulk_restore(const struct vpopmail_bulk *b) {
    const struct store *s = &b->s.store;
    struct lock lock = LOCK_NONE;
    int error = store_lock(s, &lock);
    if (!error)
        fd_give(lock.fd, s->uid, s->gid);
    int same = error ? error : dir_control_restore(s->dir, s->uid, s->gid, &b->kept);
    if (same > 0)
        remove_places(b);
    lock_release(&lock);
    return same < 0 ? same : 0;
}

/* --- beginning and end --------------------------------------------------------------------------
 */

static int begin(struct vpopmail_bulk *b, const char *domain) {
    struct limits limits;
    int found = session_begin(&b->s, "", domain);
    if (found <= 0)
        return found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    if (b->s.store.dir < 0)
        return error_code(b->s.store.dir, VA_BAD_D_DIR);
    /* So that what a killed process left is in nobody's way. */
    struct lock lock = LOCK_NONE;
    int error = adding_is_left(&b->s.store) ? store_lock(&b->s.store, &lock) : 0;
    lock_release(&lock);
    int code = error ? error_code(error, VA_COULD_NOT_UPDATE_FILE)
                     : limits_read(&b->s.home, &b->s.store, &limits);
    if (code == VA_SUCCESS) {
        limits_quota(&limits, &b->quota);
        code = b->quota.failed ? VA_MEMORY_ALLOC_ERR : policy_read(&b->s.home, &b->policy);
    }
    return code;
}

int vpopmail_bulk_open(const char *domain, struct vpopmail_bulk **out) {
    struct vpopmail_bulk *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return VA_MEMORY_ALLOC_ERR;
    b->adding = ADDING_NONE;
    int code = begin(b, domain);
    if (code == VA_SUCCESS)
        *out = b;
    else
        vpopmail_bulk_close(b);
    return code;
}

void vpopmail_bulk_close(struct vpopmail_bulk *b) {
    if (!b)
        return;
    adding_end(&b->s.store, &b->adding);
    for (size_t i = 0; i < b->count; i++)
        row_free(&b->rows[i]);
    free(b->rows);
    free(b->by_name);
    buf_free(&b->refused);
    buf_free(&b->quota);
    buf_free(&b->missing);
    dir_kept_free(&b->kept);
    session_end(&b->s);
    free(b);
}
