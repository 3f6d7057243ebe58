/* Every function of the library, each so that it succeeds and so that it fails, many times over:
 * run by test_sanitizers.py. Usage: calls HOME QMAIL ROUNDS. Exits 1 where descriptors were
 * left. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vauth.h"
#include "vlimits.h"

#define S(text) ((char *)(text))

static int descriptors(void) {
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    while (list && readdir(list))
        count++;
    if (list)
        closedir(list);
    return count;
}

static void expect(const char *what, int got, int wanted) {
    if (got != wanted) {
        fprintf(stderr, "%s: %d, not %d (%s)\n", what, got, wanted, verror(got));
        exit(1);
    }
}

static void look_up(void) {
    uid_t uid;
    gid_t gid;
    char dir[256], name[65], *data;
    size_t size;
    free(vpopmail_real_domain("al.com"));
    free(vpopmail_real_domain("no.com"));
    expect("alias domains", vpopmail_alias_domains("ex.com", &data), 1);
    free(data);
    (void)vget_assign(S("al.com"), dir, sizeof dir, &uid, &gid);
    (void)vget_assign(S("no.com"), dir, sizeof dir, &uid, &gid);
    for (domain_entry *e = get_domain_entries(""); e; e = get_domain_entries(NULL))
        ;
    (void)vauth_getpw(S("alice"), S("ex.com"));
    (void)vauth_getpw(S("nobody"), S("ex.com"));
    (void)vauth_user(S("alice"), S("al.com"), S("secret-2"), S(""));
    /* From the files at first, then from copies of them. */
    for (int i = 0; i < 10; i++) {
        expect("authenticate", vpopmail_authenticate("alice", "al.com", "secret-2", 0), 1);
        expect("authenticate", vpopmail_authenticate("alice", "ex.com", "wrong", 0), 0);
        expect("authenticate", vpopmail_authenticate("nobody", "ex.com", "wrong", 1), 0);
    }
    char matches[3];
    const char many[] = "alice\0ex.com\0secret-2\0nobody\0no.com\0\0Alice\0AL.com\0secret-2";
    expect("authenticate many", vpopmail_authenticate_many(many, 3, 0, matches), 0);
    expect("first and second", matches[0] == 1 && matches[1] == 0, 1);
    expect("third", matches[2], 1);
    expect("authenticate none", vpopmail_authenticate_many(many, 0, 1, matches), 0);
    for (struct vqpasswd *pw = vauth_getall(S("ex.com"), 1, 1); pw; pw = vauth_getall(NULL, 0, 0))
        ;
    for (char *l = valias_select(S("info"), S("ex.com")); l; l = valias_select_next())
        ;
    for (char *l = valias_select_all(name, S("ex.com")); l; l = valias_select_all_next(name))
        ;
    expect("aliases", vpopmail_aliases("ex.com", &data, &size), 0);
    free(data);
    expect("alias", vpopmail_alias("no", "ex.com", &data, &size), 0);
    free(data);
}

static void look_up_records(void) {
    char *data;
    size_t size;
    unsigned long long bytes, messages;
    struct vpopmail_users *list;
    struct vlimits limits;
    expect("domain", vpopmail_domain("AL.com", &data, &size), 0);
    free(data);
    expect("no domain", vpopmail_domain("no.com", &data, &size), VA_DOMAIN_DOES_NOT_EXIST);
    expect("domains", vpopmail_domains(&data, &size), 0);
    free(data);
    expect("default domain", vpopmail_default_domain(&data, &size), 0);
    free(data);
    expect("user", vpopmail_user("alice", "al.com", &data, &size), 0);
    free(data);
    expect("no user", vpopmail_user("bob", "al.com", &data, &size), VA_USER_DOES_NOT_EXIST);
    expect("users", vpopmail_users_open("al.com", &list), 0);
    do {
        expect("next", vpopmail_users_next(list, &data, &size), 0);
        free(data);
    } while (size);
    vpopmail_users_close(list);
    expect("no users", vpopmail_users_open("no.com", &list), VA_DOMAIN_DOES_NOT_EXIST);
    expect("set last auth", vset_lastauth(S("alice"), S("al.com"), S("192.0.2.1")), 0);
    expect("last auth", vpopmail_last_auth("alice", "ex.com", &data, &size), 0);
    free(data);
    expect("usage", vpopmail_quota_usage("alice", "ex.com", &bytes, &messages), 0);
    expect("flags", vpopmail_set_flags("alice", "ex.com", 4), 0);
    expect("no flags", vpopmail_set_flags("bob", "ex.com", 4), VA_USER_DOES_NOT_EXIST);
    expect("limits", vget_limits("ex.com", &limits), 0);
    expect("set limits", vset_limits("ex.com", &limits), 0);
    expect("no limits", vset_limits("no.com", &limits), VA_DOMAIN_DOES_NOT_EXIST);
    expect("set alias", vpopmail_set_alias("set", "ex.com", "&a@b\0&c@d", 10), 0);
    expect("unset alias", vpopmail_set_alias("set", "ex.com", "", 0), 0);
    expect("no alias", vpopmail_set_alias("a/b", "ex.com", "", 0), VA_ILLEGAL_USERNAME);
}

static void add_bulk(const char *rows, size_t count, bool is_refused, bool commit) {
    struct vpopmail_bulk *bulk;
    char *data;
    size_t size;
    expect("bulk", vpopmail_bulk_open("al.com", &bulk), 0);
    expect("take", vpopmail_bulk_take(bulk, rows, count), 0);
    expect("check", vpopmail_bulk_check(bulk), 0);
    expect("refused", vpopmail_bulk_refused(bulk, &data, &size), 0);
    expect("some", size > 0, is_refused);
    free(data);
    if (!is_refused)
        expect("make", vpopmail_bulk_make(bulk, 0, count), 0);
    if (commit)
        expect("commit", vpopmail_bulk_commit(bulk), 0);
    vpopmail_bulk_close(bulk);
}

static void add_many(void) {
    static const char rows[] = "carl\0secret-3\0\0Carl\0"
                               "1\0"
                               "0\0"
                               "1M\0"
                               "dora\0\0=a hash\0\0"
                               "2\0"
                               "8\0";
    struct vpopmail_bulk *bulk;
    expect("no bulk", vpopmail_bulk_open("no.com", &bulk), VA_DOMAIN_DOES_NOT_EXIST);
    add_bulk(rows, 2, false, false);
    add_bulk(rows, 0, false, true);
    add_bulk(rows, 2, false, true);
    add_bulk(rows, 2, true, false);
}

static void add_with_postmaster(const char *home, uid_t uid, gid_t gid) {
    struct vpopmail_postmaster postmaster = {"secret-4", "2M", "a@b.c"}, bad = {"", NULL, NULL};
    const char *step;
    expect("bad postmaster", vpopmail_add_domain("pm.com", home, uid, gid, &bad, &step),
           VA_PWSTR_LENGTH);
    expect("postmaster", vpopmail_add_domain("pm.com", home, uid, gid, &postmaster, &step), 0);
    expect("again", vpopmail_add_domain("pm.com", home, uid, gid, &postmaster, &step),
           VA_DOMAIN_ALREADY_EXISTS);
    expect("del", vdeldomain(S("pm.com")), 0);
}

static void look_up_places(const char *home, const char *qmail) {
    uid_t uid;
    gid_t gid;
    char out[4096];
    expect("home", vpopmail_get_home(out, sizeof out), (int)strlen(home));
    expect("same home", strcmp(out, home), 0);
    expect("qmail", vpopmail_get_qmail(out, sizeof out), (int)strlen(qmail));
    expect("same qmail", strcmp(out, qmail), 0);
    vpopmail_get_ids(&uid, &gid);
    expect("simd", vpopmail_simd()[0] != '\0', 1);
    expect("open", vauth_open(1), 0);
}

static void round_of_calls(char *home, const char *qmail, uid_t uid, gid_t gid) {
    look_up_places(home, qmail);
    expect("add", vadddomain(S("ex.com"), home, uid, gid), 0);
    expect("again", vadddomain(S("EX.com"), home, uid, gid), VA_DOMAIN_ALREADY_EXISTS);
    expect("bad", vadddomain(S("e_x"), home, uid, gid), VA_INVALID_DOMAIN_NAME);
    expect("dir", vadddomain(S("dir.com"), S("/no/such"), uid, gid), VA_BAD_V_DIR);
    expect("alias", vaddaliasdomain(S("al.com"), S("ex.com")), 0);
    expect("alias again", vaddaliasdomain(S("al.com"), S("ex.com")), VA_DOMAIN_ALREADY_EXISTS);
    expect("no real", vaddaliasdomain(S("b.com"), S("no.com")), VA_DOMAIN_DOES_NOT_EXIST);
    expect("user", vadduser(S("alice"), S("al.com"), S("secret-1"), S(""), 0), 0);
    expect("user again", vadduser(S("alice"), S("ex.com"), S("x"), S(""), 0), VA_USERNAME_EXISTS);
    expect("policy", vadduser(S("bob"), S("ex.com"), S(""), S(""), 0), VA_PWSTR_LENGTH);
    expect("passwd", vpasswd(S("alice"), S("ex.com"), S("secret-2"), 0), 0);
    expect("no passwd", vpasswd(S("bob"), S("ex.com"), S("secret-2"), 0), VA_ILLEGAL_USERNAME);
    expect("quota", vsetuserquota(S("alice"), S("ex.com"), S("5M,10C")), 0);
    expect("no quota", vsetuserquota(S("alice"), S("ex.com"), S("-5")), VA_QUOTA_TOO_LONG);
    expect("line", valias_insert(S("info"), S("ex.com"), S("&a@b.c")), 0);
    expect("line", valias_insert(S("info"), S("ex.com"), S("&d@e.f")), 0);
    expect("slash", valias_insert(S("a/b"), S("ex.com"), S("&a@b.c")), VA_ILLEGAL_USERNAME);
    expect("remake", vmkpasswd(S("ex.com")), 0);
    look_up();
    look_up_records();
    add_many();
    add_with_postmaster(home, uid, gid);
    expect("setpw", vauth_setpw(vauth_getpw(S("alice"), S("ex.com")), S("ex.com")), 0);
    expect("remove", valias_remove(S("info"), S("ex.com"), S("&a@b.c")), 0);
    expect("delete", valias_delete(S("info"), S("ex.com")), 0);
    expect("delete again", valias_delete(S("info"), S("ex.com")), VA_ILLEGAL_USERNAME);
    expect("delete all", valias_delete_domain(S("ex.com")), 0);
    expect("no user", vdeluser(S("bob"), S("ex.com")), VA_USER_DOES_NOT_EXIST);
    expect("del user", vdeluser(S("alice"), S("ex.com")), 0);
    expect("catchall", vpopmail_set_catchall("ex.com", "a@b.c"), 0);
    expect("del alias", vdeldomain(S("al.com")), 0);
    expect("del", vdeldomain(S("ex.com")), 0);
    expect("del again", vdeldomain(S("ex.com")), VA_DOMAIN_DOES_NOT_EXIST);
}

int main(int argc, char **argv) {
    if (argc != 4 || vpopmail_set_home(argv[1], argv[2]))
        return 2;
    round_of_calls(argv[1], argv[2], getuid(), getgid());
    int before = descriptors();
    for (int i = atoi(argv[3]); i > 0; i--)
        round_of_calls(argv[1], argv[2], getuid(), getgid());
    vclose();
    return descriptors() != before;
}
