/* .qmail-default: a user's name, a NUL, and the file. A user is the catch-all where the file names
 * it, and nowhere else. */
#include "../../csrc/libvpopmail/user.c"

#include "fuzz.h"

static bool is_in(const struct session *s, struct span text) {
    int fd = openat(scratch(), ".qmail-default", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    HOLDS(fd >= 0 && fd_write(fd, text) == 0);
    fd_close(fd);
    return is_catchall(s);
}

static bool names(struct span text, const char *format, const char *a, const char *b) {
    struct buf wanted = {0};
    buf_fmt(&wanted, format, a, b);
    bool found = memmem(text.data, text.len, wanted.data, wanted.len) != NULL;
    buf_free(&wanted);
    return found;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span text = {(const char *)data, size}, name = before_nul(&text);
    struct session s = {.domain = {"example.com", "/d/example.com"}, .store = {.dir = scratch()}};
    struct buf line = {0};
    s.user = span_dup(name);
    HOLDS(s.user);
    if (is_in(&s, text))
        HOLDS(names(text, "%s%s", "vdelivermail ''", "") &&
              (names(text, "%s@%s", s.user, s.domain.name) ||
               names(text, "%s/%s", s.domain.path, s.user)));
    /* As the library writes it. */
    if (name_is_user(s.user)) {
        buf_fmt(&line, "| /home/vpopmail/bin/vdelivermail '' %s@%s\n", s.user, s.domain.name);
        buf_span(&line, text);
        HOLDS(is_in(&s, of(&line)));
    }
    buf_free(&line);
    free(s.user);
    return 0;
}
