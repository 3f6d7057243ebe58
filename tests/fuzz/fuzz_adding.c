/* .adding:/N/:paths, which a process that is no more has left: vpasswd, a NUL, and the file. What
 * is undone leaves the directories of users that vpasswd has, the domain's files, and what lies
 * outside of its directory. */
#include "../../csrc/libvpopmail/adding.c"

#include "fuzz.h"

static const char *const dirs[] = {"outside",        "outside/alice",      "domain",
                                   "domain/0",       "domain/0/b",         "domain/alice",
                                   "domain/0/alice", "domain/0/bob",       "domain/0/b/carol",
                                   "domain/" ADDING, "domain/" ADDING "/0"};
static const char *const files[] = {"outside/secret", "outside/alice/secret",
                                    "domain/.vpasswd.lock"};

static void put(const char *path, struct span text) {
    int fd = openat(scratch(), path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    HOLDS(fd >= 0 && fd_write(fd, text) == 0);
    fd_close(fd);
}

static void make_tree(struct span vpasswd, struct span paths) {
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        HOLDS(mkdirat(scratch(), dirs[i], 0700) == 0 || errno == EEXIST);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i], span_of("kept"));
    HOLDS(symlinkat("../outside", scratch(), "domain/1") == 0 || errno == EEXIST);
    HOLDS(symlinkat("../../outside", scratch(), "domain/0/eve") == 0 || errno == EEXIST);
    put("domain/vpasswd", vpasswd);
    put("domain/" ADDING "/0/" PATHS, paths);
}

static bool is_there(const char *path) {
    return faccessat(scratch(), path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool has_user(struct span vpasswd, const char *name) {
    struct span line;
    while (span_line(&vpasswd, &line))
        if (span_is(store_name(line), name))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span paths = {(const char *)data, size}, vpasswd = before_nul(&paths);
    make_tree(vpasswd, paths);
    struct store s = {dir_open(scratch(), "domain", false), getuid(), getgid()};
    HOLDS(s.dir >= 0 && adding_clear(&s) == 0 && !adding_is_left(&s));
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        if (has_user(vpasswd, strrchr(dirs[i], '/') ? strrchr(dirs[i], '/') + 1 : dirs[i]))
            HOLDS(is_there(dirs[i]) || strstr(dirs[i], ADDING));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        HOLDS(is_there(files[i]));
    HOLDS(is_there("domain/vpasswd"));
    fd_close(s.dir);
    return 0;
}
