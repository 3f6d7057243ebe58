/* .qmail files: every byte of an alias's lines is shown, and lines that are set are what is read.
 */
#include "../../csrc/libvpopmail/alias.c"

#include "fuzz.h"

/* The pieces put together again are the file, but for the ends of lines and what follows a NUL. */
static void compare(struct span text, struct span pieces) {
    struct span piece;
    while (text.len) {
        HOLDS(span_field(&pieces, '\0', &piece) && piece.len >= 1 && piece.data[0] == 'L');
        HOLDS(piece.len - 1 <= LINE_SHOWN && piece.len - 1 <= text.len);
        HOLDS(memcmp(piece.data + 1, text.data, piece.len - 1) == 0);
        size_t taken = text.len < LINE_SHOWN ? text.len : LINE_SHOWN;
        const char *end = memchr(text.data, '\n', taken);
        if (end)
            taken = (size_t)(end - text.data) + 1;
        text = (struct span){text.data + taken, text.len - taken};
    }
    HOLDS(!pieces.len);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span text = held(data, size);
    struct buf shown = {0}, again = {0}, left = {0}, file = {0};
    char *name = span_dup(text);
    HOLDS(name);
    put_lines(text, "L", &shown);
    compare(text, of(&shown));
    int code = join(text.data, text.len, &again);
    HOLDS(code == VA_SUCCESS || code == VA_ALIAS_LINE_TOO_LONG);
    HOLDS(linefile_drop(text, is_line, "&alice@example.com", &left) >= 0);
    if (file_of(name, &file))
        HOLDS(!strchr(file.data, '/') && file.len <= MAX_PW_NAME + sizeof PREFIX);
    free(name);
    buf_free(&shown);
    buf_free(&again);
    buf_free(&left);
    buf_free(&file);
    free((char *)text.data);
    return 0;
}
