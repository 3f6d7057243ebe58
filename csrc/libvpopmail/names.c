#include "names.h"

#include <string.h>

#include "include/vpopmail.h"

#define DOMAIN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."
/* vpopmail takes a slash too, which leads out of the domain's directory. */
#define USER_CHARS                                                                                 \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&'*+-.=?^_`{|}~"

static bool only(const char *text, const char *chars) {
    return text[strspn(text, chars)] == '\0';
}

bool name_has_domain_chars(const char *domain) {
    return only(domain, DOMAIN_CHARS);
}

int name_check_domain(const char *domain) {
    size_t len = strlen(domain);
    const char *dot = strrchr(domain, '.');
    if (len > MAX_PW_DOMAIN)
        return VA_DOMAIN_NAME_TOO_LONG;
    if (len < 3 || !name_has_domain_chars(domain) || domain[0] == '-' || domain[len - 1] == '-' ||
        strstr(domain, "..") || !dot)
        return VA_INVALID_DOMAIN_NAME;
    size_t last = strlen(dot + 1);
    return last < 2 || last > 63 ? VA_INVALID_DOMAIN_NAME : VA_SUCCESS;
}

int name_check_alias_domain(const char *domain) {
    if (strlen(domain) > MAX_PW_DOMAIN)
        return name_has_domain_chars(domain) ? VA_DOMAIN_NAME_TOO_LONG : VA_INVALID_DOMAIN_NAME;
    return domain[0] && name_has_domain_chars(domain) ? VA_SUCCESS : VA_INVALID_DOMAIN_NAME;
}

bool name_is_user(const char *user) {
    size_t len = strlen(user);
    return len >= 2 && len <= MAX_PW_NAME && only(user, USER_CHARS) && strcmp(user, "..") != 0;
}

bool name_breaks_line(const char *text) {
    return strpbrk(text, ":\n") != NULL;
}
