/* A quota's spelling: what it becomes is short, and is its own spelling. */
#include "fuzz.h"
#include "include/vpopmail.h"
#include "maildir.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    char *spelling = span_dup((struct span){(const char *)data, size});
    struct buf out = {0}, again = {0};
    HOLDS(spelling);
    int code = quota_parse(spelling, &out);
    HOLDS(code == VA_SUCCESS || code == VA_QUOTA_TOO_LONG);
    if (code == VA_SUCCESS && buf_c(&out)) {
        HOLDS(out.len <= MAX_PW_QUOTA);
        HOLDS(quota_parse(out.data, &again) == VA_SUCCESS);
        /* Above the greatest that strtoll() reads stands only a multiple, or its least. */
        HOLDS(equal(of(&out), of(&again)) || strpbrk(spelling, "kKmM-"));
    }
    free(spelling);
    buf_free(&out);
    buf_free(&again);
    return 0;
}
