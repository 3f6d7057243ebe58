/* A line of vpasswd: what is read of it and put together again is the same. */
#include "fuzz.h"
#include "store.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span line = held(data, size);
    struct account a = {0}, again = {0};
    if (account_parse(&a, line)) {
        HOLDS(account_make(&again, a.name, a.hash, a.kind, a.flags, a.gecos, a.dir, a.quota));
        HOLDS(equal(a.name, again.name) && equal(a.hash, again.hash) &&
              equal(a.gecos, again.gecos));
        HOLDS(equal(a.dir, again.dir) && equal(a.quota, again.quota));
        HOLDS(a.kind == again.kind && a.flags == again.flags);
    }
    account_free(&a);
    account_free(&again);
    free((char *)line.data);
    return 0;
}
