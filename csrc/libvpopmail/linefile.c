#include "linefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct span line;
    struct span head, tail; /* the key is head, a dot, tail */
    size_t order;
};

static struct entry entry_of(struct span line, bool assign, size_t order) {
    struct span rest = line, name = {line.data, 0};
    (void)span_field(&rest, ':', &name);
    if (assign && name.len) {
        bool wild = name.data[0] == '+';
        name = (struct span){name.data + 1, name.len - 1};
        if (wild && name.len && name.data[name.len - 1] == '-')
            name.len--;
    }
    struct entry e = {.line = line, .head = name, .order = order};
    int dots = 0;
    for (size_t i = name.len; i-- > 0;)
        if (name.data[i] == '.' && ++dots == 2) {
            e.head = (struct span){name.data + i + 1, name.len - i - 1};
            e.tail = (struct span){name.data, i + 1}; /* with its dot: that marks it as there */
            break;
        }
    return e;
}

/* The key's byte at i, -1 past its end. */
static int key_at(const struct entry *e, size_t i) {
    if (i < e->head.len)
        return (unsigned char)e->head.data[i];
    i -= e->head.len;
    if (i >= e->tail.len)
        return -1;
    return i == 0 ? '.' : (unsigned char)e->tail.data[i - 1];
}

static int key_cmp(const struct entry *a, const struct entry *b) {
    size_t same = a->head.len < b->head.len ? a->head.len : b->head.len;
    int order = same ? memcmp(a->head.data, b->head.data, same) : 0;
    for (size_t i = same; !order; i++) {
        int left = key_at(a, i), right = key_at(b, i);
        if (left < 0 && right < 0)
            break;
        order = (left > right) - (left < right);
    }
    return order;
}

static int by_key(const void *a, const void *b) {
    const struct entry *left = a, *right = b;
    int order = key_cmp(left, right);
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

static void put(struct buf *out, struct span line) {
    buf_span(out, line);
    buf_char(out, '\n');
}

int linefile_add(struct span text, struct span line, bool assign, struct buf *out) {
    size_t count = 0, room = 2;
    for (size_t i = 0; i < text.len; i++)
        room += text.data[i] == '\n';
    struct entry *entries = malloc(room * sizeof *entries);
    if (!entries)
        return -ENOMEM;
    struct span rest = text, next;
    bool sorted = true;
    while (span_line(&rest, &next) && !(assign && span_is(next, "."))) {
        entries[count] = entry_of(next, assign, count);
        if (count && key_cmp(&entries[count - 1], &entries[count]) > 0)
            sorted = false;
        count++;
    }
    struct entry new_one = entry_of(line, assign, count);
    if (!sorted) {
        entries[count++] = new_one;
        qsort(entries, count, sizeof *entries, by_key);
        for (size_t i = 0; i < count; i++)
            put(out, entries[i].line);
    } else {
        size_t i = 0;
        for (; i < count && key_cmp(&entries[i], &new_one) <= 0; i++)
            put(out, entries[i].line);
        put(out, line);
        for (; i < count; i++)
            put(out, entries[i].line);
    }
    if (assign)
        buf_str(out, ".\n");
    free(entries);
    return out->failed ? -ENOMEM : 0;
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
