/* Rows of new users, as the binding hands them over: seven texts each, a NUL after each. What is
 * not refused becomes one sound line of vpasswd, which says what the row does. */
#include "../../csrc/libvpopmail/bulk.c"

#include "fuzz.h"

static void compare(const struct row *r, struct span line) {
    struct account a = {0};
    struct buf dir = {0};
    HOLDS(!memchr(line.data, '\n', line.len) && account_parse(&a, line));
    buf_fmt(&dir, "/d/example.com/%s", r->name);
    HOLDS(name_is_user(r->name) && span_is(a.name, r->name) && span_is(a.gecos, r->gecos));
    HOLDS(span_is(a.hash, r->hash ? r->hash : "") && equal(a.dir, of(&dir)));
    HOLDS(span_is(a.quota, r->has_quota ? r->quota : NOQUOTA));
    HOLDS(a.kind == r->kind && a.flags == r->flags);
    account_free(&a);
    buf_free(&dir);
}

/* Takes those out that are refused, of which four texts are told each. */
static void leave_refused_out(struct vpopmail_bulk *b) {
    size_t kept = 0, told = 0;
    for (size_t i = 0; i < b->refused.len; i++)
        told += b->refused.data[i] == '\0';
    for (size_t i = 0; i < b->count; i++)
        if (b->rows[i].refused)
            row_free(&b->rows[i]);
        else
            b->rows[kept++] = b->rows[i];
    HOLDS(told == 4 * (b->count - kept));
    b->count = kept;
    buf_clear(&b->refused);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct vpopmail_bulk *b = calloc(1, sizeof *b);
    struct buf text = {0};
    struct span *lines;
    size_t count = 0;
    HOLDS(b);
    b->adding = ADDING_NONE;
    b->s = (struct session){.domain = {strdup("example.com"), strdup("/d/example.com")},
                            .store = {.dir = -1}};
    buf_str(&b->quota, NOQUOTA);
    for (size_t i = 0; i < size; i++)
        count += data[i] == '\0';
    struct span given = held(data, size);
    HOLDS(vpopmail_bulk_take(b, given.data, count / FIELDS) == VA_SUCCESS);
    HOLDS(b->count == count / FIELDS && sort(b) == 0);
    leave_refused_out(b);
    HOLDS(sort(b) == 0 && !b->refused.len && compose(b, &text, &lines) == 0);
    for (size_t i = 0; i < b->count; i++)
        compare(b->by_name[i], lines[i]);
    free(lines);
    buf_free(&text);
    free((char *)given.data);
    vpopmail_bulk_close(b);
    return 0;
}
