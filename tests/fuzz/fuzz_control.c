/* qmail's control files: a name, a NUL, and the file. A host that is added is there, and in
 * morercpthosts.cdb; taken out it is not, and no other line went. */
#include "../../csrc/libvpopmail/control.c"

#include "fuzz.h"

/* How many lines are the name, and how many there are at all. */
static size_t count(struct span text, struct span name, size_t *all) {
    struct span line;
    size_t found = 0;
    *all = 0;
    while (span_line(&text, &line)) {
        ++*all;
        found += span_cmp(line, name) == 0;
    }
    return found;
}

static void look_up(const struct buf *text, struct span name) {
    struct control control = {.dir = scratch()};
    struct change c = {0};
    struct buf key = {0}, value = {0};
    HOLDS(put_cdb(&control, &c, text) == 0 && change_make(&c) == 0);
    buf_lower(&key, name);
    int fd = file_open(control.dir, "morercpthosts.cdb", NULL);
    HOLDS(fd >= 0);
    HOLDS(!name.len || name.data[0] == '#' || cdb_find(fd, of(&key), &value) == 1);
    fd_close(fd);
    buf_free(&key);
    buf_free(&value);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span rest = {(const char *)data, size}, name = before_nul(&rest);
    struct span text = held((const unsigned char *)rest.data, rest.len), line;
    struct buf with = {0}, without = {0}, wanted = {0};
    size_t before, after, there = count(text, name, &before);
    if (!name.len || memchr(name.data, '\n', name.len) || memchr(name.data, ':', name.len))
        name = span_of("mail.example.com"), there = count(text, name, &before);
    HOLDS(linefile_add(text, name, false, &with) == 0);
    HOLDS(count(of(&with), name, &after) == there + 1 && after == before + 1);
    /* What is written to a disk costs most: for some. */
    if (size % 16 == 0)
        look_up(&with, name);
    buf_span(&wanted, name);
    buf_char(&wanted, '\n');
    long dropped = linefile_drop(of(&with), is_host, &wanted, &without);
    HOLDS(dropped == (long)there + 1);
    HOLDS(count(of(&without), name, &after) == 0 && after == before - there);
    for (rest = text; span_line(&rest, &line);)
        (void)is_virtualdomain(line, &wanted);
    buf_free(&with);
    buf_free(&without);
    buf_free(&wanted);
    free((char *)text.data);
    return 0;
}
