#include "buf.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frees the block, in which nothing stays behind. */
static void wipe(struct buf *b) {
    if (b->data)
        explicit_bzero(b->data, b->cap); /* also what was there before buf_clear() */
    free(b->data);
    b->data = NULL;
    b->cap = 0;
}

/* Not by realloc(), which would leave a copy of what may be secret. */
static void grow(struct buf *b, size_t cap) {
    char *data = malloc(cap);
    if (data && b->len)
        memcpy(data, b->data, b->len);
    wipe(b);
    b->failed = !data;
    b->data = data;
    b->cap = data ? cap : 0;
    b->len = data ? b->len : 0;
}

char *buf_room(struct buf *b, size_t more) {
    if (!b->failed && more >= SIZE_MAX / 2 - b->len) {
        wipe(b);
        b->len = 0;
        b->failed = true;
    } else if (!b->failed && b->len + more + 1 > b->cap) {
        size_t need = b->len + more + 1, cap = b->cap ? b->cap * 2 : 128;
        grow(b, cap < need ? need : cap);
    }
    return b->failed ? NULL : b->data + b->len;
}

void buf_add(struct buf *b, const void *data, size_t len) {
    char *to = buf_room(b, len);
    if (!to)
        return;
    if (len)
        memcpy(to, data, len);
    b->len += len;
}

void buf_str(struct buf *b, const char *text) {
    buf_add(b, text, strlen(text));
}

void buf_span(struct buf *b, struct span s) {
    buf_add(b, s.data, s.len);
}

void buf_lower(struct buf *b, struct span s) {
    char *to = buf_room(b, s.len);
    for (size_t i = 0; to && i < s.len; i++)
        to[i] = ascii_lower(s.data[i]);
    if (to)
        b->len += s.len;
}

void buf_char(struct buf *b, char c) {
    buf_add(b, &c, 1);
}

void buf_fmt(struct buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0 && buf_room(b, (size_t)n)) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void buf_clear(struct buf *b) {
    b->len = 0;
}

void buf_free(struct buf *b) {
    wipe(b);
    *b = (struct buf){0};
}

char *buf_c(struct buf *b) {
    if (!buf_room(b, 0))
        return NULL;
    b->data[b->len] = '\0';
    return b->data;
}

bool span_line(struct span *rest, struct span *line) {
    return span_field(rest, '\n', line);
}

bool span_field(struct span *rest, char separator, struct span *field) {
    if (!rest->len)
        return false;
    const char *end = memchr(rest->data, separator, rest->len);
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    *field = (struct span){rest->data, len};
    size_t taken = len + (end ? 1 : 0);
    *rest = (struct span){rest->data + taken, rest->len - taken};
    return true;
}

struct span span_of(const char *text) {
    return (struct span){text, strlen(text)};
}

int span_cmp(struct span a, struct span b) {
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool span_is(struct span s, const char *text) {
    return span_cmp(s, span_of(text)) == 0;
}

char *span_dup(struct span s) {
    return strndup(s.data ? s.data : "", s.len);
}

bool span_is_nocase(struct span s, const char *text) {
    size_t i = 0;
    while (i < s.len && text[i] && ascii_lower(s.data[i]) == ascii_lower(text[i]))
        i++;
    return i == s.len && !text[i];
}

bool span_id(struct span s, unsigned int *out) {
    unsigned long value = 0;
    if (!s.len || s.len > 10)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(s.data[i] - '0');
    }
    *out = (unsigned int)value;
    return value <= UINT_MAX;
}

char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

char *lower_dup(const char *text) {
    char *copy = strdup(text);
    for (char *p = copy; p && *p; p++)
        *p = ascii_lower(*p);
    return copy;
}
