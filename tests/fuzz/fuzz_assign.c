/* users/assign: every domain that a line has is in the cdb that is compiled of it; a line that is
 * added and taken out again leaves the others. */
#include "../../csrc/libvpopmail/assign.c"

#include "fuzz.h"

static void compare(struct span text, int cdb) {
    struct span rest = text, line, name, f[ASSIGN_FIELDS];
    struct buf key = {0}, value = {0};
    struct assign_line l;
    while (span_line(&rest, &line) && !span_is(line, ".")) {
        if (!assign_parse(line, &l) || !split(line, &name, f))
            continue;
        buf_clear(&key);
        buf_char(&key, '!');
        buf_lower(&key, l.name);
        buf_char(&key, '-');
        HOLDS(cdb_find(cdb, of(&key), &value) == 1);
    }
    buf_free(&key);
    buf_free(&value);
}

static size_t lines_of(struct span text) {
    struct span line;
    size_t count = 0;
    while (span_line(&text, &line) && !span_is(line, "."))
        count++;
    return count;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static const char added[] = "+new.example.com-:new.example.com:89:89:/d/new.example.com:-::";
    struct span text = held(data, size);
    struct buf with = {0}, without = {0};
    struct dropped which = {"new.example.com", NULL}, real = {NULL, "new.example.com"};
    HOLDS(linefile_add(text, span_of(added), true, &with) == 0);
    HOLDS(lines_of(of(&with)) == lines_of(text) + 1);
    HOLDS(linefile_drop(of(&with), is_dropped, &which, &without) >= 1);
    buf_clear(&without);
    HOLDS(linefile_drop(of(&with), is_dropped, &real, &without) >= 1);
    int cdb = memory_file((struct span){"", 0});
    HOLDS(compile(of(&with), cdb) == 0);
    compare(of(&with), cdb);
    buf_free(&with);
    buf_free(&without);
    free((char *)text.data);
    return 0;
}
