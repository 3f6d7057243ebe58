#include "dir_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

#define NAME ".dir-control"
#define FREE ".dir_control_free"
#define FREE_LOCK ".dir_control_free.lock"
#define PER_DIR 100
#define LEVELS 3
#define DIGITS 62
#define PLACE_MAX 32

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

struct control_state {
    unsigned long users;
    int level;
    int start[LEVELS], end[LEVELS], column[LEVELS], index[LEVELS];
    char place[PLACE_MAX];
};

static const struct control_state fresh = {
    .end = {DIGITS - 1, DIGITS - 1, DIGITS - 1},
    .column = {0, 2, 4},
};

static struct span next_line(struct span *rest) {
    struct span line = {"", 0};
    (void)span_line(rest, &line);
    return line;
}

static bool numbers(struct span line, int out[LEVELS], int max) {
    char text[64];
    int a, b, c;
    if (line.len >= sizeof text)
        return false;
    memcpy(text, line.data, line.len);
    text[line.len] = '\0';
    if (sscanf(text, "%d %d %d", &a, &b, &c) != 3 || a < 0 || b < 0 || a > max || b > max)
        return false;
    out[0] = a;
    out[1] = b;
    return true;
}

/* What vpopmail makes of a state by writing and reading it: the second numbers stand for the third
 * ones too. */
static void as_read(struct control_state *s) {
    int *const triples[] = {s->start, s->end, s->column, s->index};
    for (size_t i = 0; i < sizeof triples / sizeof *triples; i++)
        triples[i][2] = triples[i][1];
}

/* The state of a file's text; a damaged one, for which it is false, begins anew with the count that
 * it has. */
static bool parse(struct span text, struct control_state *s) {
    struct span users = next_line(&text), level = next_line(&text);
    unsigned int count, at;
    (void)next_line(&text);
    struct control_state read = fresh;
    bool good = span_id(users, &count) && span_id(level, &at) && at < LEVELS &&
                numbers(next_line(&text), read.start, DIGITS - 1) &&
                numbers(next_line(&text), read.end, DIGITS - 1) &&
                numbers(next_line(&text), read.column, 4) &&
                numbers(next_line(&text), read.index, 10000);
    struct span place = next_line(&text);
    good = good && place.len < PLACE_MAX / 2;
    for (size_t i = 0; good && i < place.len; i++)
        good = place.data[i] == '/' ? i % 2 == 1 : memchr(digits, place.data[i], DIGITS) != NULL;
    *s = good ? read : fresh;
    if (good) {
        as_read(s);
        s->level = (int)at;
        memcpy(s->place, place.data, place.len);
    }
    if (span_id(users, &count))
        s->users = count;
    return good;
}

static char *digit_at(struct control_state *s, int level) {
    return &s->place[s->column[level]];
}

static void count_on(struct control_state *s, int level) {
    char *digit = digit_at(s, level);
    const char *found = *digit ? strchr(digits, *digit) : NULL;
    s->index[level]++;
    *digit = found && found[1] ? found[1] : digits[s->start[level]];
}

/* One more level, all of its digits at the start. */
static void deepen(struct control_state *s) {
    if (s->level == LEVELS - 1)
        return;
    for (int i = 0; i <= s->level; i++) {
        s->index[i] = s->start[i];
        *digit_at(s, i) = digits[s->start[i]];
    }
    s->place[s->column[s->level] + 1] = '/';
    count_on(s, ++s->level);
}

static void next_place(struct control_state *s, int level) {
    if (!s->place[0]) {
        s->place[0] = digits[s->start[0]];
    } else if (*digit_at(s, level) != digits[s->end[level]]) {
        count_on(s, level);
    } else if (level == 0) {
        deepen(s);
    } else {
        s->index[level] = s->start[level];
        *digit_at(s, level) = digits[s->start[level]];
        next_place(s, level - 1);
    }
}

static void triple(struct buf *out, const int n[LEVELS]) {
    buf_fmt(out, "%d %d %d\n", n[0], n[1], n[2]);
}

static int save(int dir, uid_t uid, gid_t gid, const struct control_state *s, struct change *c) {
    struct buf text = {0};
    buf_fmt(&text, "%lu\n%d\n%d\n", s->users, s->level, LEVELS);
    triple(&text, s->start);
    triple(&text, s->end);
    triple(&text, s->column);
    triple(&text, s->index);
    buf_fmt(&text, "%s\n", s->place);
    int error = text.failed ? -ENOMEM
                            : change_write(c, dir, NAME, (struct span){text.data, text.len}, 0600,
                                           uid, gid);
    buf_free(&text);
    return error;
}

static int load(int dir, struct control_state *s) {
    struct buf text = {0};
    int error = file_read(dir, NAME, &text);
    if (!error)
        (void)parse((struct span){text.data, text.len}, s);
    else if (error == -ENOENT)
        *s = fresh;
    buf_free(&text);
    return error == -ENOENT ? 0 : error;
}

bool dir_control_is_place(struct span place) {
    if (!place.len || place.len >= PLACE_MAX / 2)
        return false;
    for (size_t i = 0; i < place.len; i++)
        if (i % 2 ? place.data[i] != '/' : !memchr(digits, place.data[i], DIGITS))
            return false;
    return true;
}

void dir_place_end(struct dir_place *place) {
    lock_release(&place->lock);
    buf_free(&place->path);
}

/* What the file of freed places is; nothing (no mode) where there is none. */
static int look_at_free(int dir, struct stat *st) {
    *st = (struct stat){0};
    return fstatat(dir, FREE, st, AT_SYMLINK_NOFOLLOW) && errno != ENOENT ? -errno : 0;
}

/* Reads the freed places, the oldest first; locked where some are to be taken. */
static int read_free(int dir, bool to_take, struct dir_place *place, struct buf *text) {
    struct stat st;
    int error = look_at_free(dir, &st);
    if (error || st.st_size == 0 || S_ISDIR(st.st_mode))
        return error;
    error = to_take ? lock_file(dir, FREE_LOCK, &place->lock) : 0;
    if (!error)
        error = file_read(dir, FREE, text);
    return error == -ENOENT ? 0 : error;
}

static int give_free(int dir, struct span freed, struct change *c, struct dir_place *place) {
    struct buf text = {0};
    struct stat st;
    int error = lock_file(dir, FREE_LOCK, &place->lock);
    if (!error)
        error = look_at_free(dir, &st);
    if (error || S_ISDIR(st.st_mode)) /* a user of that name: places are not kept */
        return error;
    bool there = st.st_mode != 0;
    if (there)
        error = file_read(dir, FREE, &text);
    buf_span(&text, freed);
    buf_char(&text, '\n');
    if (!error)
        error = text.failed ? -ENOMEM
                            : change_write(c, dir, FREE, (struct span){text.data, text.len},
                                           there ? st.st_mode & 0777 : 0600, KEEP_OWNER, 0);
    buf_free(&text);
    return error;
}

/* Counts so many more and puts the place of each on a line of place->path, without a slash at its
 * end. Without a change nothing is readied. */
static int add(int dir, uid_t uid, gid_t gid, bool with_free, size_t count, struct change *c,
               struct dir_place *place) {
    struct control_state s;
    struct buf text = {0};
    int error = load(dir, &s);
    if (!error && with_free)
        error = read_free(dir, c != NULL, place, &text);
    struct span rest = {text.data, text.len}, oldest;
    for (size_t i = 0; i < count && !error; i++) {
        if (i)
            as_read(&s);
        bool freed = span_line(&rest, &oldest) && dir_control_is_place(oldest);
        s.users++;
        if (!freed && s.users % PER_DIR == 0)
            next_place(&s, s.level);
        buf_span(&place->path, freed ? oldest : span_of(s.place));
        buf_char(&place->path, '\n');
    }
    if (!error && c && rest.len != text.len)
        error = change_write(c, dir, FREE, rest, 0644, KEEP_OWNER, 0);
    if (!error && c)
        error = save(dir, uid, gid, &s, c);
    buf_free(&text);
    return error ? error : place->path.failed ? -ENOMEM : 0;
}

int dir_control_add(int dir, uid_t uid, gid_t gid, bool with_free, struct change *c,
                    struct dir_place *place) {
    int error = add(dir, uid, gid, with_free, 1, c, place);
    if (!error) {
        char *end = &place->path.data[place->path.len - 1];
        if (end == place->path.data)
            buf_clear(&place->path);
        else
            *end = '/';
    }
    return error;
}

int dir_control_add_many(int dir, uid_t uid, gid_t gid, size_t count, struct change *c,
                         struct dir_place *places) {
    return add(dir, uid, gid, true, count, c, places);
}

int dir_control_drop(int dir, uid_t uid, gid_t gid, struct span freed, struct change *c,
                     struct dir_place *place) {
    struct control_state s;
    int error = load(dir, &s);
    if (!error && s.users > 0)
        s.users--;
    if (!error)
        error = save(dir, uid, gid, &s, c);
    if (!error && dir_control_is_place(freed))
        error = give_free(dir, freed, c, place);
    return error;
}

/* --- beside another library ---------------------------------------------------------------------
 */

/* Takes the lines out that are no places. */
static int mend_free(int dir, struct change *c, struct buf *text) {
    struct span rest = {text->data, text->len}, line;
    struct buf out = {0};
    struct stat st;
    while (span_line(&rest, &line))
        if (dir_control_is_place(line)) {
            buf_span(&out, line);
            buf_char(&out, '\n');
        }
    int error = out.failed ? -ENOMEM : look_at_free(dir, &st);
    if (!error && out.len != text->len && st.st_mode)
        error = change_write(c, dir, FREE, (struct span){out.data, out.len}, st.st_mode & 0777,
                             KEEP_OWNER, 0);
    buf_free(&out);
    return error;
}

int dir_control_mend(int dir, uid_t uid, gid_t gid) {
    struct control_state s;
    struct change c = {0};
    struct buf text = {0};
    int error = file_read(dir, NAME, &text);
    if (!error && !parse((struct span){text.data, text.len}, &s))
        error = save(dir, uid, gid, &s, &c);
    buf_clear(&text);
    if (!error || error == -ENOENT)
        error = file_read(dir, FREE, &text);
    if (!error || error == -ENOENT)
        error = mend_free(dir, &c, &text);
    if (!error && c.count)
        error = change_make(&c);
    change_drop(&c);
    buf_free(&text);
    return error == -ENOENT ? 0 : error;
}

int dir_control_next(int dir, bool with_free, struct buf *place) {
    struct dir_place next = DIR_PLACE_NONE;
    int error = add(dir, 0, 0, with_free, 1, NULL, &next);
    if (!error)
        buf_span(place, (struct span){next.path.data, next.path.len - 1});
    dir_place_end(&next);
    return error ? error : place->failed ? -ENOMEM : 0;
}

/* What a file holds; without one nothing. */
static int keep(int dir, const char *name, bool *has, struct buf *text) {
    int error = file_read(dir, name, text);
    *has = !error;
    return error == -ENOENT ? 0 : error;
}

int dir_control_keep(int dir, struct dir_kept *kept) {
    struct control_state s;
    int error = load(dir, &s);
    if (!error)
        error = keep(dir, NAME, &kept->has_control, &kept->control);
    if (!error)
        error = keep(dir, FREE, &kept->has_free, &kept->free);
    kept->users = error ? 0 : s.users;
    return error;
}

static int put_back(int dir, const char *name, bool had, const struct buf *text, uid_t uid,
                    gid_t gid, struct change *c) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -errno;
    return had ? change_write(c, dir, name, (struct span){text->data, text->len}, st.st_mode & 0777,
                              uid, gid)
               : change_remove(c, dir, name);
}

int dir_control_restore(int dir, uid_t uid, gid_t gid, const struct dir_kept *kept) {
    struct control_state s;
    struct change c = {0};
    int error = load(dir, &s);
    if (error || s.users != kept->users)
        return error;
    error = put_back(dir, NAME, kept->has_control, &kept->control, uid, gid, &c);
    if (!error)
        error = put_back(dir, FREE, kept->has_free, &kept->free, KEEP_OWNER, 0, &c);
    if (!error && c.count)
        error = change_make(&c);
    change_drop(&c);
    return error ? error : 1;
}

void dir_kept_free(struct dir_kept *kept) {
    buf_free(&kept->control);
    buf_free(&kept->free);
}
