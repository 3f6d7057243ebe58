/* .qmailadmin-limits and vlimits.default: limits that are read and written read the same again. */
#include "../../csrc/libvpopmail/limits.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span text = held(data, size);
    struct buf in = {0}, out = {0}, quota = {0};
    struct vlimits first = {0}, second = {0};
    buf_span(&in, text);
    parse(&in, &first);
    for (size_t i = 0; i < WORDS; i++)
        write_line(&first, &words[i], &out);
    parse(&out, &second);
    /* What strtoll() can't read is its greatest; no amount is above. */
    HOLDS(memcmp(&first, &second, sizeof first) == 0);
    struct limits l = {(long long)first.defaultquota, (long long)first.defaultmaxmsgcount, 0};
    limits_quota(&l, &quota);
    HOLDS(quota.len);
    buf_free(&in);
    buf_free(&out);
    buf_free(&quota);
    free((char *)text.data);
    return 0;
}
