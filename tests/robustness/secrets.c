/* Looks through the memory of this process for a password and its hashes once the calls that were
 * given or found them have ended: run by test_secrets.py. Usage: secrets HOME QMAIL. Exits 1 where
 * one is left.
 *
 * What is looked for is kept masked, and compared where it lies, so that nothing here is found. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "vauth.h"
#include "vlimits.h"

#define S(text) ((char *)(text))
#define MASK 0x2a
#define LEN 24
#define HASHES 16
#define ROWS 20 /* of users added in one change */

static volatile unsigned char password_masked[LEN], hash_masked[HASHES][LEN];
static int hashes;
static unsigned int uid, gid;

static void expect(const char *what, int got, int wanted) {
    if (got != wanted) {
        fprintf(stderr, "%s: %d, not %d (%s)\n", what, got, wanted, verror(got));
        exit(1);
    }
}

static void choose_password(void) {
    for (size_t i = 0; i < LEN; i++) {
        unsigned char c;
        expect("getrandom", (int)getrandom(&c, 1, 0), 1);
        password_masked[i] = (unsigned char)('a' + c % 26) ^ MASK;
    }
}

/* In the caller's own memory, which it wipes. */
static void reveal(char out[LEN + 1]) {
    for (size_t i = 0; i < LEN; i++)
        out[i] = (char)(password_masked[i] ^ MASK);
    out[LEN] = '\0';
}

/* Keeps the end of a user's hash, which no other has. */
static void keep_hash(const char *user, const char *domain) {
    const struct vqpasswd *pw = vauth_getpw(S(user), S(domain));
    expect("a hash", pw && strlen(pw->pw_passwd) > LEN && hashes < HASHES, 1);
    const char *end = pw->pw_passwd + strlen(pw->pw_passwd) - LEN;
    for (size_t i = 0; i < LEN; i++)
        hash_masked[hashes][i] = (unsigned char)end[i] ^ MASK;
    hashes++;
    vclose();
}

static bool is_at(const unsigned char *p, const volatile unsigned char *masked) {
    for (size_t i = 0; i < LEN; i++)
        if ((unsigned char)(p[i] ^ MASK) != masked[i])
            return false;
    return true;
}

static int find_in(const unsigned char *from, const unsigned char *to, const char *region,
                   const volatile unsigned char *masked, const char *what) {
    int found = 0;
    for (const unsigned char *p = from; p + LEN <= to; p++)
        if ((unsigned char)(*p ^ MASK) == masked[0] && is_at(p, masked)) {
            fprintf(stderr, "%s is at %p, in %s", what, (const void *)p, region);
            found++;
        }
    return found;
}

/* Everything that may be written to and read. */
static int find(const volatile unsigned char *masked, const char *what) {
    char line[512];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    expect("maps", maps != NULL, 1);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char mode[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && !strncmp(mode, "rw", 2))
            found +=
                find_in((const unsigned char *)from, (const unsigned char *)to, line, masked, what);
    }
    fclose(maps);
    return found;
}

static void sign_in(char *password) {
    char wrong[LEN + 1];
    memcpy(wrong, password, sizeof wrong);
    wrong[0] ^= 1;
    expect("sign in", vauth_user(S("alice"), S("ex.com"), password, S("")) != NULL, 1);
    expect("sign in wrongly", vauth_user(S("alice"), S("ex.com"), wrong, S("")) != NULL, 0);
    expect("authenticate", vpopmail_authenticate("alice", "ex.com", password, 0), 1);
    expect("authenticate wrongly", vpopmail_authenticate("alice", "ex.com", wrong, 0), 0);
    expect("authenticate nobody", vpopmail_authenticate("nobody", "ex.com", password, 1), 0);
    char many[4 * (14 + sizeof wrong)], matches[4], *at = many;
    for (int i = 0; i < 4; i++)
        at += sprintf(at, "alice%cex.com%c%s", 0, 0, i % 2 ? wrong : password) + 1;
    expect("authenticate many", vpopmail_authenticate_many(many, 4, 1, matches), 0);
    expect("of many", matches[0] && !matches[1] && matches[2] && !matches[3], 1);
    explicit_bzero(many, sizeof many);
    explicit_bzero(wrong, sizeof wrong);
}

/* Every other one with the password, the rest with Alice's hash. */
static void add_many(const char *password, const char *first, bool commit) {
    char rows[ROWS * 256], *at = rows, hash[256], *data;
    size_t size;
    struct vpopmail_bulk *bulk;
    const struct vqpasswd *alice = vauth_getpw(S("alice"), S("ex.com"));
    expect("alice", alice && strlen(alice->pw_passwd) < sizeof hash - 1, 1);
    (void)snprintf(hash, sizeof hash, "=%s", alice->pw_passwd);
    vclose();
    for (int i = 0; i < ROWS; i++)
        at += snprintf(at, 256, "%s%d%c%s%c%s%c%c1%c0%c", first, i, 0, i % 2 ? password : "", 0,
                       i % 2 ? "" : hash, 0, 0, 0, 0) +
              1;
    expect("open", vpopmail_bulk_open("ex.com", &bulk), 0);
    expect("take", vpopmail_bulk_take(bulk, rows, ROWS), 0);
    expect("check", vpopmail_bulk_check(bulk), 0);
    expect("refused", vpopmail_bulk_refused(bulk, &data, &size), 0);
    free(data);
    if (commit && size == 0) {
        expect("make", vpopmail_bulk_make(bulk, 0, ROWS), 0);
        expect("commit", vpopmail_bulk_commit(bulk), 0);
    }
    vpopmail_bulk_close(bulk);
    explicit_bzero(rows, sizeof rows);
    explicit_bzero(hash, sizeof hash);
}

static void add_with_postmaster(const char *password, const char *dir) {
    struct vpopmail_postmaster postmaster = {.password = password};
    expect("postmaster",
           vpopmail_add_domain("two.com", dir, uid, gid, &postmaster, &(const char *){NULL}), 0);
    keep_hash("postmaster", "two.com");
    expect("postmaster again",
           vpopmail_add_domain("two.com", dir, uid, gid, &postmaster, &(const char *){NULL}),
           VA_DOMAIN_ALREADY_EXISTS);
    expect("delete domain", vdeldomain(S("two.com")), 0);
}

static void *call_all(void *unused) {
    char password[LEN + 1];
    reveal(password);
    expect("domain", vadddomain(S("ex.com"), S(unused), uid, gid), 0);
    add_with_postmaster(password, unused);
    expect("add", vadduser(S("alice"), S("ex.com"), password, S("Alice"), 0), 0);
    keep_hash("alice", "ex.com");
    expect("passwd", vpasswd(S("alice"), S("ex.com"), password, 0), 0);
    keep_hash("alice", "ex.com");
    expect("add too", vadduser(S("bob"), S("ex.com"), password, S("Bob"), 0), 0);
    keep_hash("bob", "ex.com");
    expect("add again", vadduser(S("bob"), S("ex.com"), password, S("Bob"), 0), VA_USERNAME_EXISTS);
    for (int i = 0; i < 40; i++) { /* others, so that files and buffers grow */
        char user[16];
        snprintf(user, sizeof user, "user%d", i);
        expect("add more", vadduser(user, S("ex.com"), i % 10 ? S("other-1") : password, S(""), 0),
               0);
    }
    for (int i = 0; i < 10; i++) /* from the files, then from a copy */
        sign_in(password);
    expect("nobody", vauth_user(S("nobody"), S("ex.com"), password, S("")) != NULL, 0);
    expect("quota", vsetuserquota(S("alice"), S("ex.com"), S("1M")), 0);
    expect("flags", vpopmail_set_flags("alice", "ex.com", NO_PASSWD_CHNG), 0);
    expect("setpw", vauth_setpw(vauth_getpw(S("alice"), S("ex.com")), S("ex.com")), 0);
    add_many(password, "dropped", false);
    add_many(password, "many", true);
    keep_hash("many1", "ex.com");
    add_many(password, "many", true); /* which are refused */
    expect("rebuild", vmkpasswd(S("ex.com")), 0);
    for (struct vqpasswd *pw = vauth_getall(S("ex.com"), 1, 1); pw; pw = vauth_getall(NULL, 0, 0))
        ;
    struct vpopmail_users *list;
    char *data;
    size_t size;
    expect("list", vpopmail_users_open("ex.com", &list), 0);
    do { /* what is handed out is the caller's to wipe */
        expect("users", vpopmail_users_next(list, &data, &size), 0);
        explicit_bzero(data, size);
        free(data);
    } while (size);
    vpopmail_users_close(list);
    expect("user", vpopmail_user("alice", "ex.com", &data, &size), 0);
    explicit_bzero(data, size);
    free(data);
    expect("delete", vdeluser(S("bob"), S("ex.com")), 0);
    explicit_bzero(password, sizeof password);
    vclose();
    return NULL;
}

/* Begins anew with the copies for authentication, of which the old ones go. */
static void drop_copies(void) {
    expect("home", vpopmail_set_home(NULL, NULL), 0);
    expect("nobody", vpopmail_authenticate("nobody", "ex.com", "x", 0), 0);
    vclose();
}

static int look(void) {
    int found = find(password_masked, "the password");
    for (int i = 0; i < hashes; i++)
        found += find(hash_masked[i], "a hash");
    return found;
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc != 3)
        return 2;
    uid = getuid();
    gid = getgid();
    choose_password();
    expect("home", vpopmail_set_home(argv[1], argv[2]), 0);
    call_all(argv[1]);
    drop_copies();
    int found = look();
    expect("delete domain", vdeldomain(S("ex.com")), 0);
    hashes = 0;
    expect("thread", pthread_create(&thread, NULL, call_all, argv[1]), 0);
    expect("thread", pthread_join(thread, NULL), 0);
    drop_copies();
    found += look();
    /* That something would be found is seen by what is put there. */
    char *put = malloc(LEN + 1);
    reveal(put);
    expect("what was put there", find(password_masked, "probe:"), 1);
    return found != 0;
}
