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

static void put_key(struct buf *keys, struct span name) {
    struct span whole = name;
    struct span last = last_label(&name), second = last_label(&name), label;
    if (!second.len) { /* less than two labels: as it is written */
        buf_span(keys, whole);
        return;
    }
    buf_span(keys, second);
    buf_char(keys, '.');
    buf_span(keys, last);
    while (span_field(&name, '.', &label))
        if (label.len) {
            buf_char(keys, '.');
            buf_span(keys, label);
        }
}

static void add_entry(struct file *f, struct span line, bool assign) {
    size_t key = f->keys.len;
    put_key(&f->keys, name_of(line, assign));
    f->entries[f->count] = (struct entry){line, key, f->keys.len - key, f->count};
    f->count++;
}

static struct span key_of(const struct file *f, size_t i) {
    return (struct span){f->keys.data + f->entries[i].key, f->entries[i].key_len};
}

static int by_key(const void *a, const void *b, void *keys) {
    const struct entry *left = a, *right = b;
    int order = span_cmp((struct span){(const char *)keys + left->key, left->key_len},
                         (struct span){(const char *)keys + right->key, right->key_len});
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

static void put(struct buf *out, struct span line) {
    buf_span(out, line);
    buf_char(out, '\n');
}

int linefile_add(struct span text, struct span line, bool assign, struct buf *out) {
    struct file f = {0};
    size_t room = 2;
    for (size_t i = 0; i < text.len; i++)
        room += text.data[i] == '\n';
    f.entries = malloc(room * sizeof *f.entries);
    if (!f.entries)
        return -ENOMEM;
    struct span rest = text, next;
    while (span_line(&rest, &next) && !(assign && span_is(next, ".")))
        add_entry(&f, next, assign);
    bool sorted = true;
    for (size_t i = 1; i < f.count && !f.keys.failed; i++)
        sorted = sorted && span_cmp(key_of(&f, i - 1), key_of(&f, i)) <= 0;
    add_entry(&f, line, assign);
    if (!f.keys.failed && !sorted)
        qsort_r(f.entries, f.count, sizeof *f.entries, by_key, f.keys.data);
    /* In order the new line, now the last, goes before the first greater one. */
    size_t last = f.count - 1, at = f.count;
    if (!f.keys.failed && sorted)
        for (at = 0; at < last && span_cmp(key_of(&f, at), key_of(&f, last)) <= 0;)
            at++;
    for (size_t i = 0; i < f.count && !f.keys.failed; i++) {
        if (i == at)
            put(out, f.entries[last].line);
        if (i != last || !sorted)
            put(out, f.entries[i].line);
    }
    if (assign)
        buf_str(out, ".\n");
    bool failed = f.keys.failed || out->failed;
    free(f.entries);
    buf_free(&f.keys);
    return failed ? -ENOMEM : 0;
}

long linefile_drop(struct span text, linefile_test *test, const void *arg, struct buf *out) {
    struct span line;
    long dropped = 0;
    while (span_line(&text, &line)) {
        if (test(line, arg))
            dropped++;
        else
            put(out, line);
    }
    return out->failed ? -ENOMEM : dropped;
}
