/* A growing run of bytes, and pieces of one. */
#ifndef VP_BUF_H
#define VP_BUF_H

#include <stdbool.h>
#include <stddef.h>

/* Zero it before use. After an allocation has failed it is empty, stays so, and says failed. */
struct buf {
    char *data;
    size_t len, cap;
    bool failed;
};

struct span {
    const char *data;
    size_t len;
};

void buf_add(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *text);
void buf_span(struct buf *b, struct span s);
void buf_lower(struct buf *b, struct span s);
void buf_char(struct buf *b, char c);
void buf_fmt(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for that many bytes after those that are there, which its caller counts; NULL where memory
 * ran out. */
char *buf_room(struct buf *b, size_t more);
void buf_clear(struct buf *b);
void buf_free(struct buf *b);
/* The bytes, NUL-terminated, wiped on buf_free() where secret. NULL where it failed. */
char *buf_c(struct buf *b);

/* Takes the next line off *rest, without its newline; false at the end. */
bool span_line(struct span *rest, struct span *line);
/* Takes what stands before the next separator off *rest; false where nothing is left. */
bool span_field(struct span *rest, char separator, struct span *field);
bool span_is(struct span s, const char *text);
bool span_is_nocase(struct span s, const char *text);
int span_cmp(struct span a, struct span b);
struct span span_of(const char *text);
char *span_dup(struct span s);
/* A number in decimal digits and nothing else; false where it is none or does not fit. */
bool span_id(struct span s, unsigned int *out);
/* ASCII only, whatever the locale. */
char ascii_lower(char c);
char *lower_dup(const char *text);

#endif
