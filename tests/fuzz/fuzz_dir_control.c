/* .dir-control and .dir_control_free: whatever is read, the next places are ones that a path may
 * have, and the state as written reads the same again. */
#include "../../csrc/libvpopmail/dir_control.c"

#include "fuzz.h"

static void check_place(const char *place) {
    size_t len = strnlen(place, PLACE_MAX);
    HOLDS(len < PLACE_MAX / 2);
    for (size_t i = 0; i < len; i++)
        HOLDS(place[i] == '/' || memchr(digits, place[i], DIGITS));
    HOLDS(place[0] != '/' && !strstr(place, ".."));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span text = held(data, size), rest = text, line;
    struct control_state s, again;
    struct change c = {0};
    struct buf written = {0};
    (void)parse(text, &s);
    for (int i = 0; i < 200; i++) {
        next_place(&s, s.level);
        check_place(s.place);
    }
    /* What is written to a disk costs most: for some. */
    if (size % 16 == 0) {
        HOLDS(save(scratch(), KEEP_OWNER, 0, &s, &c) == 0 && change_make(&c) == 0);
        HOLDS(file_read(scratch(), NAME, &written) == 0);
        bool sound = parse(of(&written), &again);
        HOLDS(!sound || (again.level == s.level && strcmp(again.place, s.place) == 0));
        buf_free(&written);
    }
    while (span_line(&rest, &line))
        if (dir_control_is_place(line))
            HOLDS(line.data[0] != '/' && !memchr(line.data, '.', line.len));
    free((char *)text.data);
    return 0;
}
