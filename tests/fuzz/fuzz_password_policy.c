/* password_strength.conf: a password, a NUL, and the file. Its rules as read say yes or no, and
 * with a reason. */
#include "../../csrc/libvpopmail/password.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span rest = {(const char *)data, size}, password = before_nul(&rest);
    struct span text = held((const unsigned char *)rest.data, rest.len), line;
    struct policy policy = {0};
    double measured[RULES];
    char *typed = span_dup(password);
    HOLDS(typed);
    for (rest = text; span_line(&rest, &line) && read_rule(line, &policy);)
        ;
    measure(typed, measured);
    for (int i = 0; i < RULES; i++)
        if (!holds(policy.rules[i], measured[i])) {
            refuse(i, policy.rules[i]);
            HOLDS(strncmp(verror(VA_PWSTR_LENGTH - i), "password ", 9) == 0);
        }
    free(typed);
    free((char *)text.data);
    return 0;
}
