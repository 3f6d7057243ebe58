/* vpasswd.cdb: a name, a NUL, and the file. Read from memory and by descriptor it says the same. */
#include "cdb.h"
#include "fuzz.h"
#include "store.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span rest = {(const char *)data, size}, name = before_nul(&rest);
    struct span file = held((const unsigned char *)rest.data, rest.len), value;
    struct buf read = {0};
    struct account a = {0};
    int in_memory = cdb_find_in(file, name, &value);
    int by_descriptor = cdb_find(memory_file(file), name, &read);
    HOLDS(in_memory == by_descriptor);
    HOLDS(in_memory <= 0 || equal(value, of(&read)));
    int found = store_find_in(file, name, &a);
    HOLDS(found <= 1 && (found <= 0 || in_memory == 1));
    account_free(&a);
    buf_free(&read);
    free((char *)file.data);
    return 0;
}
