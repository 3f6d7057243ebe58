/* users/cdb: a domain, a NUL, and the file. A domain that is found has an absolute path. */
#include "../../csrc/libvpopmail/assign.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span rest = {(const char *)data, size}, name = before_nul(&rest);
    struct span file = held((const unsigned char *)rest.data, rest.len), value;
    struct buf key = {0}, read = {0};
    struct domain_record r;
    struct domain d = {0};
    buf_char(&key, '!');
    buf_span(&key, name);
    buf_char(&key, '-');
    int found = cdb_find_in(file, of(&key), &value);
    HOLDS(found == cdb_find(memory_file(file), of(&key), &read));
    if (found > 0) {
        HOLDS(equal(value, of(&read)));
        bool sound = assign_record(value, &r);
        HOLDS(from_record(value, &d) == (sound ? 1 : VA_CANNOT_READ_ASSIGN));
        HOLDS(!sound || (d.path[0] == '/' && strlen(d.name) == r.name.len && d.uid == r.uid));
    }
    domain_free(&d);
    buf_free(&read);
    buf_free(&key);
    free((char *)file.data);
    return 0;
}
