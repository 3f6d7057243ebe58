/* Which names of domains and users are accepted. */
#ifndef VP_NAMES_H
#define VP_NAMES_H

#include <stdbool.h>

/* A new domain's name in lower case: 0, VA_INVALID_DOMAIN_NAME, VA_DOMAIN_NAME_TOO_LONG. */
int name_check_domain(const char *domain);
int name_check_alias_domain(const char *domain);
bool name_has_domain_chars(const char *domain);
bool name_is_user(const char *user);
/* Whether a text would end a line or a field of a file it is written to. */
bool name_breaks_line(const char *text);

#endif
