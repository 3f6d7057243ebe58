/* maildirsize: the names of messages, a line each, with their sizes and flags; what they come to is
 * written after the quota, which is the first line. */
#include "../../csrc/libvpopmail/maildir.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span text = held(data, size), rest = text, line = {"", 0}, quota = {"", 0};
    struct buf written = {0}, wanted = {0};
    unsigned long long bytes = 0, count = 0;
    (void)span_line(&rest, &quota);
    while (span_line(&rest, &line)) {
        char *name = span_dup(line);
        HOLDS(name);
        /* No directory: another size than the name's is not known. */
        unsigned long long told = 0;
        HOLDS(name[0] == '/' || message_size(-1, name, &told) == 0 || !strstr(name, ",S="));
        HOLDS(told == 0 || strstr(name, ",S="));
        if (!is_trashed(name)) {
            bytes += told;
            count++;
        } else {
            HOLDS(strstr(name, ":2,") && strchr(name, 'T'));
        }
        free(name);
    }
    size_text(quota, bytes, count, &written);
    buf_span(&wanted, quota);
    buf_fmt(&wanted, "\n%llu %llu\n", bytes, count);
    HOLDS(equal(of(&written), of(&wanted)));
    struct span part;
    if (below("/d/example.com", text, &part))
        HOLDS(!span_is(part, "..") && part.len < text.len);
    (void)maildir_place("/d/example.com", text);
    buf_free(&written);
    buf_free(&wanted);
    free((char *)text.data);
    return 0;
}
