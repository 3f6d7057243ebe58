#include "linefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct span line;
    size_t key, key_len; /* where in the file's keys */
    size_t order;
};

struct file {
    struct entry *entries;
    size_t count;
    struct buf keys;
};

static struct span name_of(struct span line, bool assign) {
    struct span name = {line.data, 0};
    (void)span_field(&line, ':', &name);
    if (assign && name.len) {
        bool wild = name.data[0] == '+';
        name = (struct span){name.data + 1, name.len - 1};
        if (wild && name.len && name.data[name.len - 1] == '-')
            name.len--;
    }
    return name;
}

/* Takes the last label off a name, and the dots around it. */
static struct span last_label(struct span *name) {
    while (name->len && name->data[name->len - 1] == '.')
        name->len--;
    const char *dot = name->len ? memrchr(name->data, '.', name->len) : NULL;
    size_t from = dot ? (size_t)(dot - name->data) + 1 : 0;
    struct span label = {name->data + from, name->len - from};
    name->len = from;
    while (name->len && name->data[name->len - 1] == '.')
        name->len--;
    return label;
}

static void put(char **to, struct span part) {
    memcpy(*to, part.data, part.len);
    *to += part.len;
}

/* Adds a key, which is at most as long as the name. */
static void add_key(struct buf *keys, struct span name) {
    struct span whole = name;
    struct span last = last_label(&name), second = last_label(&name), label;
    char *to = second.len ? buf_room(keys, whole.len) : NULL;
    if (!to) { /* less than two labels: as it is written */
        buf_span(keys, whole);
        return;
    }
    put(&to, second);
    *to++ = '.';
    put(&to, last);
    while (span_field(&name, '.', &label))
        if (label.len) {
            *to++ = '.';
            put(&to, label);
        }
    keys->len = (size_t)(to - keys->data);
}

static struct span of(const struct buf *b) {
    return (struct span){b->data, b->len};
}

/* Where the lines end, for an assign file at its dot. */
static bool next_line(struct span *rest, bool assign, struct span *line) {
    struct span from = *rest;
    if (!span_line(rest, line))
        return false;
    if (!assign || !span_is(*line, "."))
        return true;
    *rest = from;
    return false;
}

/* --- a file in order ----------------------------------------------------------------------------
 */

struct place {
    bool sorted;
    size_t at, end; /* where the line goes, where the file's lines end */
};

/* Keeps the keys of this line and of the one before alone. */
static int find_place(struct span text, struct span line, bool assign, struct place *out) {
    struct buf key = {0}, keys[2] = {{0}, {0}}, *this = &keys[0], *before = &keys[1];
    struct span rest = text, next;
    bool found = false;
    *out = (struct place){.sorted = true};
    add_key(&key, name_of(line, assign));
    while (out->sorted && next_line(&rest, assign, &next)) {
        buf_clear(this);
        add_key(this, name_of(next, assign));
        out->sorted = span_cmp(of(before), of(this)) <= 0;
        if (!found && span_cmp(of(this), of(&key)) > 0) {
            out->at = (size_t)(next.data - text.data);
            found = true;
        }
        struct buf *swap = this;
        this = before;
        before = swap;
    }
    out->end = text.len - rest.len;
    if (!found)
        out->at = out->end;
    int error = key.failed || this->failed || before->failed ? -ENOMEM : 0;
    buf_free(&key);
    buf_free(this);
    buf_free(before);
    return error;
}

/* The last line may lack its newline. */
static void put_lines(struct buf *out, const char *from, size_t len) {
    buf_add(out, from, len);
    if (len && from[len - 1] != '\n')
        buf_char(out, '\n');
}

/* --- a file out of order ------------------------------------------------------------------------
 */

static void add_entry(struct file *f, struct span line, bool assign) {
    size_t key = f->keys.len;
    add_key(&f->keys, name_of(line, assign));
    f->entries[f->count] = (struct entry){line, key, f->keys.len - key, f->count};
    f->count++;
}

static int by_key(const void *a, const void *b, void *keys) {
    const struct entry *left = a, *right = b;
    int order = span_cmp((struct span){(const char *)keys + left->key, left->key_len},
                         (struct span){(const char *)keys + right->key, right->key_len});
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

static int sort_all(struct span text, struct span line, bool assign, struct buf *out) {
    struct file f = {0};
    struct span next;
    size_t room = 2;
    for (size_t i = 0; i < text.len; i++)
        room += text.data[i] == '\n';
    f.entries = malloc(room * sizeof *f.entries);
    if (!f.entries)
        return -ENOMEM;
    while (next_line(&text, assign, &next))
        add_entry(&f, next, assign);
    add_entry(&f, line, assign);
    if (!f.keys.failed)
        qsort_r(f.entries, f.count, sizeof *f.entries, by_key, f.keys.data);
    for (size_t i = 0; i < f.count && !f.keys.failed; i++) {
        buf_span(out, f.entries[i].line);
        buf_char(out, '\n');
    }
    bool failed = f.keys.failed;
    free(f.entries);
    buf_free(&f.keys);
    return failed ? -ENOMEM : 0;
}

/* ------------------------------------------------------------------------------------------------
 */

int linefile_add(struct span text, struct span line, bool assign, struct buf *out) {
    struct place place;
    int error = find_place(text, line, assign, &place);
    (void)buf_room(out, text.len + line.len + 4); /* two newlines, and the dot's */
    if (!error && place.sorted) {
        put_lines(out, text.data, place.at);
        buf_span(out, line);
        buf_char(out, '\n');
        put_lines(out, text.data + place.at, place.end - place.at);
    } else if (!error) {
        error = sort_all(text, line, assign, out);
    }
    if (assign)
        buf_str(out, ".\n");
    return out->failed ? -ENOMEM : error;
}

long linefile_drop(struct span text, linefile_test *test, const void *arg, struct buf *out) {
    struct span rest = text, line;
    size_t kept = 0; /* where what is kept begins, after the last line that was dropped */
    long dropped = 0;
    (void)buf_room(out, text.len + 1);
    while (span_line(&rest, &line))
        if (test(line, arg)) {
            put_lines(out, text.data + kept, (size_t)(line.data - text.data) - kept);
            kept = text.len - rest.len;
            dropped++;
        }
    put_lines(out, text.data + kept, text.len - kept);
    return out->failed ? -ENOMEM : dropped;
}
