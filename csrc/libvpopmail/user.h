/* One call's hold on a domain's accounts. */
#ifndef VP_USER_H
#define VP_USER_H

#include "dir_control.h"
#include "limits.h"

struct session {
    struct home home;
    struct domain domain;
    struct store store; /* .dir -1 where the domain's directory can't be opened */
    char *user;         /* in lower case */
};

/* 1, 0 for no such domain, or a code. session_end() afterwards in every case. */
int session_begin(struct session *s, const char *user, const char *domain);
void session_end(struct session *s);
/* With its cdb module vpopmail finds nobody unless it runs as root or as the domain's user. */
bool session_may_read(const struct session *s);

/* Readies a new user, with the lock held; quota NULL: the domain's default. `place` until the
 * change is made or dropped. 0, or a code, and with that *step: the function that refuses. */
int user_ready(const struct session *s, const char *password, const char *gecos, const char *quota,
               struct change *c, struct dir_place *place, const char **step);

/* Whether a new user's name, domain, password and gecos may be: 0 or a code. */
int user_check_new(const char *user, const char *domain, const char *password, const char *gecos);

#endif
