/* Every function of the library by many threads at once, while signals come in and the process
 * forks: run by test_sanitizers.py under sanitizers and valgrind.
 *
 * Usage: many HOME QMAIL THREADS ROUNDS FORKS. Each thread makes so many rounds of calls on users,
 * aliases and domains of its own, which must go as its books say, and on some that all threads
 * have. Exits 1 where a call went otherwise, where a user is lost at the end, or descriptors are
 * left. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vauth.h"
#include "vlimits.h"

#define S(text) ((char *)(text))
#define SHARED 4  /* domains */
#define OWN 5     /* users of a thread */
#define OWNERS 32 /* so many threads have domains of their own */
#define ROOM 64
#define BULK 2  /* users added in one change */
#define ROW 128 /* what one of them takes */
#define ALL_SAME "password-of-all"

static char *home, *qmail;
static atomic_uint wrong, finished, signals;

struct user {
    bool there;
    unsigned int password;
    char name[ROOM], domain[ROOM];
};

static struct worker {
    pthread_t thread;
    unsigned int number, seed;
    bool in_child;
    struct user users[OWN];
    bool has_domain, has_alias_domain;
    char domain[ROOM], alias_domain[ROOM], alias[ROOM];
    int lines; /* of the alias, which is in the first shared domain */
    unsigned long calls;
} *workers;

static void shared_domain(char out[ROOM], unsigned int number) {
    (void)snprintf(out, ROOM, "shared%u.com", number % SHARED);
}

static void password_of(char out[ROOM], unsigned int number) {
    (void)snprintf(out, ROOM, "password-%u", number);
}

static unsigned int any(struct worker *w, unsigned int below) {
    w->seed = w->seed * 1103515245 + 12345;
    return (w->seed >> 16) % below;
}

static void expect(struct worker *w, const char *what, long got, long wanted) {
    w->calls++;
    if (got == wanted)
        return;
    wrong++;
    (void)fprintf(stderr, "%s of %s: %ld, not %ld (%s)\n", what, w->domain, got, wanted,
                  verror((int)got));
}

static void expect_either(struct worker *w, const char *what, int got, int other) {
    expect(w, what, got == other ? VA_SUCCESS : got, VA_SUCCESS);
}

/* --- users of a thread's own --------------------------------------------------------------------
 */

static void add_or_delete_user(struct worker *w) {
    struct user *u = &w->users[any(w, OWN)];
    char password[ROOM];
    password_of(password, ++u->password);
    if (u->there && any(w, 2)) {
        expect(w, "user again", vadduser(u->name, u->domain, password, S(""), 0),
               VA_USERNAME_EXISTS);
        u->password--;
    } else if (u->there) {
        expect(w, "delete user", vdeluser(u->name, u->domain), VA_SUCCESS);
        u->there = false;
    } else {
        expect(w, "add user", vadduser(u->name, u->domain, password, S("gecos"), 0), VA_SUCCESS);
        u->there = true;
    }
}

static void change_user(struct worker *w) {
    struct user *u = &w->users[any(w, OWN)];
    char password[ROOM];
    password_of(password, u->password + 1);
    expect(w, "quota", vsetuserquota(u->name, u->domain, S("5M,10C")),
           u->there ? VA_SUCCESS : VA_USER_DOES_NOT_EXIST);
    expect(w, "flags", vpopmail_set_flags(u->name, u->domain, V_OVERRIDE),
           u->there ? VA_SUCCESS : VA_USER_DOES_NOT_EXIST);
    expect(w, "passwd", vpasswd(u->name, u->domain, password, 0),
           u->there ? VA_SUCCESS : VA_ILLEGAL_USERNAME);
    if (u->there)
        u->password++;
}

static void sign_in(struct worker *w) {
    char credentials[3 * ROOM], password[ROOM], matches[1];
    for (struct user *u = w->users; u < w->users + OWN; u++) {
        password_of(password, u->password);
        expect(w, "sign in", vpopmail_authenticate(u->name, u->domain, password, 0), u->there);
        expect(w, "guess", vpopmail_authenticate(u->name, u->domain, "guess", 1), 0);
        expect(w, "vauth_user", vauth_user(u->name, u->domain, password, S("")) != NULL, u->there);
        size_t at = (size_t)snprintf(credentials, ROOM, "%s", u->name) + 1;
        at += (size_t)snprintf(credentials + at, ROOM, "%s", u->domain) + 1;
        (void)snprintf(credentials + at, ROOM, "%s", password);
        expect(w, "many", vpopmail_authenticate_many(credentials, 1, 1, matches), VA_SUCCESS);
        expect(w, "match", matches[0], u->there);
    }
}

static void look_up_user(struct worker *w) {
    const struct user *u = &w->users[any(w, OWN)];
    unsigned long long bytes, messages;
    char *data = NULL;
    size_t size;
    expect(w, "user", vpopmail_user(u->name, u->domain, &data, &size),
           u->there ? VA_SUCCESS : VA_USER_DOES_NOT_EXIST);
    free(data);
    if (!u->there)
        return;
    expect(w, "seen", vset_lastauth(S(u->name), S(u->domain), S("192.0.2.1")), VA_SUCCESS);
    expect(w, "last", vpopmail_last_auth(u->name, u->domain, &data, &size), VA_SUCCESS);
    free(data);
    expect(w, "usage", vpopmail_quota_usage(u->name, u->domain, &bytes, &messages), VA_SUCCESS);
    struct vqpasswd *pw = vauth_getpw(S(u->name), S(u->domain));
    expect(w, "getpw", pw != NULL, true);
    if (pw)
        expect(w, "setpw", vauth_setpw(pw, S(u->domain)), VA_SUCCESS);
}

/* --- many users added in one change --------------------------------------------------------------
 */

static void *make_half(void *bulk) {
    return (void *)(intptr_t)vpopmail_bulk_make(bulk, 0, BULK / 2);
}

/* By two threads at once, as add_users does it, where there may be two. */
static void make_all(struct worker *w, struct vpopmail_bulk *bulk) {
    pthread_t helper;
    void *code;
    if (!w->in_child && pthread_create(&helper, NULL, make_half, bulk))
        abort();
    expect(w, "bulk make", vpopmail_bulk_make(bulk, BULK / 2, BULK - BULK / 2), VA_SUCCESS);
    if (w->in_child)
        code = make_half(bulk);
    else
        (void)pthread_join(helper, &code);
    expect(w, "bulk make", (intptr_t)code, VA_SUCCESS);
}

static size_t put_rows(const struct worker *w, char *at, bool one_twice) {
    for (int i = 0; i < BULK + one_twice; i++)
        at += snprintf(at, ROW, "bulk%u-%d%c" ALL_SAME "%c%cgecos%c1%c0%c1M", w->number, i % BULK,
                       0, 0, 0, 0, 0, 0) +
              1;
    return BULK + one_twice;
}

static void try_and_delete(struct worker *w, const char *domain) {
    char name[ROOM];
    for (int i = 0; i < BULK; i++) {
        (void)snprintf(name, ROOM, "bulk%u-%d", w->number, i);
        expect(w, "of bulk", vpopmail_authenticate(name, domain, ALL_SAME, 0), 1);
        expect(w, "delete of bulk", vdeluser(name, S(domain)), VA_SUCCESS);
    }
}

static void add_bulk(struct worker *w) {
    char domain[ROOM], rows[(BULK + 1) * ROW], *data = NULL;
    bool is_refused = !any(w, 4), is_dropped = any(w, 2);
    struct vpopmail_bulk *bulk = NULL;
    size_t size = 0, count = put_rows(w, rows, is_refused);
    shared_domain(domain, any(w, SHARED));
    expect(w, "bulk", vpopmail_bulk_open(domain, &bulk), VA_SUCCESS);
    if (!bulk)
        return;
    expect(w, "bulk take", vpopmail_bulk_take(bulk, rows, count), VA_SUCCESS);
    expect(w, "bulk check", vpopmail_bulk_check(bulk), VA_SUCCESS);
    expect(w, "bulk refused", vpopmail_bulk_refused(bulk, &data, &size), VA_SUCCESS);
    expect(w, "refused some", size > 0, is_refused);
    free(data);
    if (!is_refused)
        make_all(w, bulk);
    if (!is_refused && !is_dropped)
        expect(w, "bulk commit", vpopmail_bulk_commit(bulk), VA_SUCCESS);
    vpopmail_bulk_close(bulk);
    if (!is_refused && !is_dropped)
        try_and_delete(w, domain);
}

/* --- an alias and domains of a thread's own -----------------------------------------------------
 */

static void change_alias(struct worker *w) {
    char domain[ROOM], *data = NULL;
    size_t size = 0, lines = 0;
    shared_domain(domain, 0);
    if (any(w, 4)) {
        expect(w, "line", valias_insert(w->alias, domain, S("&somebody@else.where")), VA_SUCCESS);
        w->lines++;
    } else {
        expect(w, "alias gone", valias_delete(w->alias, domain),
               w->lines ? VA_SUCCESS : VA_ILLEGAL_USERNAME);
        w->lines = 0;
    }
    expect(w, "alias", vpopmail_alias(w->alias, domain, &data, &size), VA_SUCCESS);
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\0';
    free(data);
    expect(w, "lines", (long)lines, w->lines);
}

static void own_domain(struct worker *w) {
    char real[ROOM];
    if (w->number >= OWNERS)
        return;
    shared_domain(real, any(w, SHARED));
    if (w->has_alias_domain)
        expect(w, "delete alias domain", vdeldomain(w->alias_domain), VA_SUCCESS);
    else
        expect(w, "alias domain", vaddaliasdomain(w->alias_domain, real), VA_SUCCESS);
    w->has_alias_domain = !w->has_alias_domain;
    if (w->has_domain) {
        expect(w, "delete domain", vdeldomain(w->domain), VA_SUCCESS);
    } else {
        struct vlimits limits;
        const struct vpopmail_postmaster postmaster = {ALL_SAME, "1M", "c@d.com"};
        const char *step;
        expect(w, "domain",
               vpopmail_add_domain(w->domain, home, getuid(), getgid(),
                                   any(w, 2) ? &postmaster : NULL, &step),
               VA_SUCCESS);
        expect(w, "no step", step == NULL, true);
        expect(w, "get limits", vget_limits(w->domain, &limits), VA_SUCCESS);
        expect(w, "set limits", vset_limits(w->domain, &limits), VA_SUCCESS);
        expect(w, "catchall", vpopmail_set_catchall(w->domain, "a@b.com"), VA_SUCCESS);
        expect(w, "set alias", vpopmail_set_alias("all", w->domain, "&a@b\0&c@d", 10), VA_SUCCESS);
        expect(w, "take", valias_remove(S("all"), w->domain, S("&a@b")), VA_SUCCESS);
        expect(w, "aliases gone", valias_delete_domain(w->domain), VA_SUCCESS);
    }
    w->has_domain = !w->has_domain;
}

/* --- what all threads have ----------------------------------------------------------------------
 */

static void contend(struct worker *w) {
    char domain[ROOM];
    shared_domain(domain, 1);
    if (any(w, 2)) {
        expect_either(w, "add", vadduser(S("both"), domain, S(ALL_SAME), S(""), 0),
                      VA_USERNAME_EXISTS);
        expect_either(w, "add", vadddomain(S("both.com"), home, getuid(), getgid()),
                      VA_DOMAIN_ALREADY_EXISTS);
    } else {
        expect_either(w, "delete", vdeluser(S("both"), domain), VA_USER_DOES_NOT_EXIST);
        expect_either(w, "delete", vdeldomain(S("both.com")), VA_DOMAIN_DOES_NOT_EXIST);
    }
    (void)vpopmail_authenticate("both", domain, ALL_SAME, 0);
    (void)vpopmail_authenticate("both", "both.com", ALL_SAME, 0);
    (void)vadduser(S("both"), S("both.com"), S(ALL_SAME), S(""), 0);
    expect(w, "line", valias_insert(S("all"), domain, S("&all@else.where")), VA_SUCCESS);
    expect(w, "remake", vmkpasswd(domain), VA_SUCCESS);
}

static void list_all(struct worker *w) {
    char domain[ROOM], alias[MAX_PW_NAME + 1], *data = NULL;
    size_t size;
    struct vpopmail_users *list = NULL;
    shared_domain(domain, any(w, SHARED));
    for (struct vqpasswd *pw = vauth_getall(domain, 1, 1); pw; pw = vauth_getall(NULL, 0, 0))
        w->calls++;
    for (domain_entry *e = get_domain_entries(""); e; e = get_domain_entries(NULL))
        w->calls++;
    for (char *l = valias_select(S("all"), domain); l; l = valias_select_next())
        w->calls++;
    for (char *l = valias_select_all(alias, domain); l; l = valias_select_all_next(alias))
        w->calls++;
    expect(w, "aliases", vpopmail_aliases(domain, &data, &size), VA_SUCCESS);
    free(data);
    expect(w, "users", vpopmail_users_open(domain, &list), VA_SUCCESS);
    do {
        expect(w, "next", vpopmail_users_next(list, &data, &size), VA_SUCCESS);
        free(data);
    } while (size);
    vpopmail_users_close(list);
}

static void look_up_domains(struct worker *w) {
    char domain[ROOM], dir[256], *data = NULL;
    size_t size;
    uid_t uid;
    gid_t gid;
    shared_domain(domain, any(w, SHARED));
    expect(w, "set home", vpopmail_set_home(home, qmail), VA_SUCCESS);
    expect(w, "home", vpopmail_get_home(dir, sizeof dir), (long)strlen(home));
    expect(w, "qmail", vpopmail_get_qmail(dir, sizeof dir), (long)strlen(qmail));
    expect(w, "simd", vpopmail_simd() != NULL, true);
    expect(w, "open", vauth_open(1), VA_SUCCESS);
    expect(w, "assign", vget_assign(domain, dir, sizeof dir, &uid, &gid) != NULL, true);
    expect(w, "domain", vpopmail_domain(domain, &data, &size), VA_SUCCESS);
    free(data);
    expect(w, "domains", vpopmail_domains(&data, &size), VA_SUCCESS);
    free(data);
    expect(w, "default", vpopmail_default_domain(&data, &size), VA_SUCCESS);
    free(data);
    expect(w, "names", vpopmail_alias_domains(domain, &data) >= 0, true);
    free(data);
    data = vpopmail_real_domain(domain);
    expect(w, "real", data && !strcmp(data, domain), true);
    free(data);
    vpopmail_get_ids(&uid, &gid);
}

static void fail(struct worker *w) {
    char long_name[200];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    expect(w, "long", vadduser(long_name, S("shared0.com"), S("pw"), S(""), 0),
           VA_USER_NAME_TOO_LONG);
    expect(w, "policy", vadduser(S("new"), S("shared0.com"), S(""), S(""), 0), VA_PWSTR_LENGTH);
    expect(w, "none", vadduser(S("new"), S("no.com"), S("pw"), S(""), 0), VA_DOMAIN_DOES_NOT_EXIST);
    expect(w, "dir", vadddomain(S("dir.com"), S("/no/such"), getuid(), getgid()), VA_BAD_V_DIR);
}

static void (*const steps[])(struct worker *) = {
    add_or_delete_user, add_or_delete_user, change_user, sign_in,
    look_up_user,       change_alias,       own_domain,  contend,
    list_all,           look_up_domains,    fail,        add_bulk,
};
#define STEPS (sizeof steps / sizeof *steps)

static unsigned long rounds;

static void *work(void *arg) {
    struct worker *w = arg;
    for (unsigned long i = 0; i < rounds && !wrong; i++)
        steps[any(w, STEPS)](w);
    finished++;
    return NULL;
}

/* --- what happens meanwhile ---------------------------------------------------------------------
 */

static void count_signal(int number) {
    (void)number;
    signals++;
}

static void take_signals(void) {
    struct sigaction action = {.sa_handler = count_signal};
    (void)sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGUSR2, &action, NULL);
}

static void fork_once(struct worker *in_child) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(300);
        for (unsigned int i = 0; i < STEPS; i++)
            steps[i](in_child);
        _exit(wrong != 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        (void)fprintf(stderr, "a child ended with %d\n", status);
        wrong++;
    }
}

static int descriptors(void) {
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    while (list && readdir(list))
        count++;
    if (list)
        (void)closedir(list);
    return count;
}

static void name_all(struct worker *w, unsigned int number) {
    *w = (struct worker){.number = number, .seed = number * 2654435761u + 1};
    (void)snprintf(w->domain, ROOM, "own%u.com", number);
    (void)snprintf(w->alias_domain, ROOM, "alias%u.com", number);
    (void)snprintf(w->alias, ROOM, "alias%u", number);
    for (unsigned int i = 0; i < OWN; i++) {
        (void)snprintf(w->users[i].name, ROOM, "user%u-%u", number, i);
        shared_domain(w->users[i].domain, number + i);
    }
}

static void wait_for_all(unsigned int count, unsigned int forks) {
    const struct timespec pause = {0, 300000};
    struct worker *chooser = &workers[count], *in_child = &workers[count + 1];
    for (unsigned int turn = 0; finished < count; turn++) {
        (void)nanosleep(&pause, NULL);
        (void)pthread_kill(workers[any(chooser, count)].thread, turn % 2 ? SIGUSR1 : SIGUSR2);
        if (turn % 100 == 50 && forks) {
            name_all(in_child, count + forks--);
            in_child->in_child = true;
            fork_once(in_child);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 6 || vpopmail_set_home(argv[1], argv[2]))
        return 2;
    unsigned int count = (unsigned int)atoi(argv[3]), forks = (unsigned int)atoi(argv[5]);
    unsigned long calls = 0;
    home = argv[1];
    qmail = argv[2];
    rounds = (unsigned long)atol(argv[4]);
    workers = calloc(count + 2, sizeof *workers);
    take_signals();
    for (unsigned int i = 0; i < count + 2; i++)
        name_all(&workers[i], i);
    struct worker *chooser = &workers[count];
    for (unsigned int i = 0; i < SHARED; i++) {
        char domain[ROOM];
        shared_domain(domain, i);
        expect(chooser, "shared", vadddomain(domain, home, getuid(), getgid()), VA_SUCCESS);
    }
    sign_in(chooser);
    int before = descriptors();
    for (unsigned int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
            abort();
    wait_for_all(count, forks);
    for (unsigned int i = 0; i < count; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        sign_in(&workers[i]);
        calls += workers[i].calls;
    }
    vclose();
    /* One more: the queue of changes that sign-ins keep. */
    int left = descriptors() - before;
    (void)printf("%lu calls, %u signals, %u wrong, %d descriptors left\n", calls, signals, wrong,
                 left);
    free(workers);
    return wrong || left > 1;
}
