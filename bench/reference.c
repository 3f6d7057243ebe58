/* The work of a bench done by an installed original, in a C loop: compiled by bench/common.py as
 * etc/inc_deps and etc/lib_deps say.
 *
 * usage: reference WORK [ARGUMENT…]. It prints the nanoseconds that the work took; `where` prints
 * version, home, qmail's directory, uid and gid. What the library itself prints comes before, and a
 * record separator between. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "vpopmail.h"
#include "vauth.h"
#include "vpopmail_config.h"

/* The library changes its arguments in place, and writes up to 97 bytes over a domain's name. */
#define ROOM 1024
struct texts {
    char text[4][ROOM];
};
static struct texts given;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void tell(long long nanoseconds) {
    printf("\x1e%lld\n", nanoseconds);
}

static int fail(const char *what, int code) {
    fprintf(stderr, "reference: %s: %s (%d)\n", what, verror(code), code);
    return 1;
}

/* auth_user COUNT TRUTH USER DOMAIN PASSWORD: TRUTH 1 where the password is right. */
static int auth_user(char **arg) {
    int count = atoi(arg[0]), truth = atoi(arg[1]);
    for (int i = 0; i < 3; i++)
        snprintf(given.text[i], ROOM, "%s", arg[2 + i]);
    long long start = now();
    for (int i = 0; i < count; i++) {
        struct texts t = given;
        if ((vauth_user(t.text[0], t.text[1], t.text[2], "") != NULL) != truth)
            return fail("auth_user: the answer is wrong", 0);
    }
    tell(now() - start);
    return 0;
}

static int add_domain(char **arg) {
    char name[ROOM], dir[ROOM];
    snprintf(name, sizeof name, "%s", arg[0]);
    snprintf(dir, sizeof dir, "%s", VPOPMAILDIR);
    long long start = now();
    int code = vadddomain(name, dir, VPOPMAILUID, VPOPMAILGID);
    tell(now() - start);
    return code ? fail("add_domain", code) : 0;
}

static int del_domain(char **arg) {
    char name[ROOM];
    snprintf(name, sizeof name, "%s", arg[0]);
    long long start = now();
    int code = vdeldomain(name);
    tell(now() - start);
    return code ? fail("del_domain", code) : 0;
}

/* add_user USER DOMAIN PASSWORD, passwd likewise; set_user_quota USER DOMAIN QUOTA; del_user USER
 * DOMAIN. */
static int of_user(char **arg, const char *work, int arguments, int call(struct texts *t)) {
    for (int i = 0; i < arguments; i++)
        snprintf(given.text[i], ROOM, "%s", arg[i]);
    long long start = now();
    int code = call(&given);
    tell(now() - start);
    return code ? fail(work, code) : 0;
}

static int call_add(struct texts *t) {
    return vadduser(t->text[0], t->text[1], t->text[2], t->text[3], 0);
}

static int add_user(char **arg) {
    return of_user(arg, "add_user", 3, call_add);
}

static int call_passwd(struct texts *t) {
    return vpasswd(t->text[0], t->text[1], t->text[2], 0);
}

static int passwd(char **arg) {
    return of_user(arg, "passwd", 3, call_passwd);
}

static int call_quota(struct texts *t) {
    return vsetuserquota(t->text[0], t->text[1], t->text[2]);
}

static int set_user_quota(char **arg) {
    return of_user(arg, "set_user_quota", 3, call_quota);
}

static int call_delete(struct texts *t) {
    return vdeluser(t->text[0], t->text[1]);
}

static int del_user(char **arg) {
    return of_user(arg, "del_user", 2, call_delete);
}

/* alias_get_all DOMAIN COUNT */
static int alias_get_all(char **arg) {
    char alias[ROOM], domain[ROOM];
    int lines = 0;
    snprintf(domain, sizeof domain, "%s", arg[0]);
    long long start = now();
    for (char *line = valias_select_all(alias, domain); line; line = valias_select_all_next(alias))
        lines++;
    tell(now() - start);
    return lines == atoi(arg[1]) ? 0 : fail("alias_get_all: not all of them", lines);
}

static int where(char **arg) {
    (void)arg;
    printf("%s\n%s\n%s\n%d\n%d\n", VERSION, VPOPMAILDIR, QMAILDIR, (int)VPOPMAILUID,
           (int)VPOPMAILGID);
    return 0;
}

static const struct work {
    const char *name;
    int arguments;
    int (*run)(char **arg);
} works[] = {
    {"where", 0, where},
    {"add_domain", 1, add_domain},
    {"del_domain", 1, del_domain},
    {"auth_user", 5, auth_user},
    {"add_user", 3, add_user},
    {"passwd", 3, passwd},
    {"set_user_quota", 3, set_user_quota},
    {"del_user", 2, del_user},
    {"alias_get_all", 2, alias_get_all},
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (argc > 1 && strcmp(argv[1], works[i].name) == 0 && argc - 2 == works[i].arguments)
            return works[i].run(argv + 2);
    fprintf(stderr, "reference: no such work, or the wrong number of arguments\n");
    return 2;
}
