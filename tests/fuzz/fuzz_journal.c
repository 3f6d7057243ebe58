/* A journal that is found in a domain's directory (change.h): whatever it says, what lies outside
 * of that directory is as it was, where it is another's. In the input `@` and a letter is what
 * tells a file from others: d the domain's directory, a alice's, m her Maildir, v vpasswd, t the
 * new one beside it, o the directory outside, s the file in it, h the one that has them all; @p is
 * the path of that. */
#include "../../csrc/libvpopmail/vpasswd.c"

#include <dirent.h>

#include "fuzz.h"

#define ANOTHER 65534

static const char *const paths[] = {
    ['d'] = "domain",
    ['a'] = "domain/alice",
    ['m'] = "domain/alice/Maildir",
    ['v'] = "domain/vpasswd",
    ['t'] = "domain/" PREFIX TEXT,
    ['o'] = "outside",
    ['s'] = "outside/secret",
    ['h'] = ".",
};

static void put(const char *path, const char *content) {
    int fd = openat(scratch(), path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    HOLDS(fd >= 0 && fd_write(fd, span_of(content)) == 0);
    fd_close(fd);
}

static void make_tree(void) {
    static const char *const dirs[] = {"domain", "domain/alice", "domain/alice/Maildir",
                                       "domain/" PREFIX ":new", "outside"};
    int error = tree_remove(scratch(), "domain");
    HOLDS(error == 0 || error == -ENOENT);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        HOLDS(mkdirat(scratch(), dirs[i], 0700) == 0 || errno == EEXIST);
    HOLDS(symlinkat("../outside", scratch(), "domain/link") == 0);
    put("domain/vpasswd", "old");
    put("domain/" PREFIX TEXT, "new");
    put("outside/secret", "secret");
    if (geteuid() == 0)
        HOLDS(fchownat(scratch(), "outside", ANOTHER, ANOTHER, AT_SYMLINK_NOFOLLOW) == 0);
}

/* Without another owner, what is outside by its path is the domain owner's. */
static void put_path(struct buf *out) {
    char path[4096];
    HOLDS(getcwd(path, sizeof path) != NULL);
    buf_str(out, geteuid() == 0 ? path : "/nowhere");
}

/* The journal with the names of files in the place of `@` and a letter. */
static void fill_in(struct span input, struct buf *out) {
    for (size_t i = 0; i < input.len; i++) {
        unsigned char next = i + 1 < input.len ? (unsigned char)input.data[i + 1] : 0;
        struct statx st;
        if (input.data[i] == '@' && next == 'p') {
            put_path(out);
            i++;
            continue;
        }
        const char *path = next < sizeof paths / sizeof *paths ? paths[next] : NULL;
        if (input.data[i] != '@' || !path) {
            buf_char(out, input.data[i]);
            continue;
        }
        unsigned int what = STATX_INO | STATX_TYPE | STATX_SIZE | STATX_MTIME | STATX_BTIME;
        HOLDS(statx(scratch(), path, AT_SYMLINK_NOFOLLOW, what, &st) == 0);
        bool dir = S_ISDIR(st.stx_mode);
        struct statx_timestamp t = dir && st.stx_mask & STATX_BTIME ? st.stx_btime : st.stx_mtime;
        buf_fmt(out, "%llu %llu %lld %u", (unsigned long long)st.stx_ino,
                dir ? 0 : (unsigned long long)st.stx_size, (long long)t.tv_sec, t.tv_nsec);
        i++;
    }
}

static void check_outside(void) {
    struct buf text = {0};
    int fd = dir_open(scratch(), "outside", false);
    HOLDS(fd >= 0 && file_read(fd, "secret", &text) == 0 && span_is(of(&text), "secret"));
    DIR *list = fdopendir(fd);
    struct dirent *entry;
    while ((entry = readdir(list)))
        HOLDS(entry->d_name[0] == '.' || strcmp(entry->d_name, "secret") == 0);
    closedir(list);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span input = {(const char *)data, size};
    struct buf text = {0};
    make_tree();
    fill_in(input, &text);
    struct store s = {dir_open(scratch(), "domain", false), getuid(), getgid()};
    HOLDS(s.dir >= 0);
    HOLDS(file_write(s.dir, PREFIX "ready", of(&text), 0600, KEEP_OWNER, 0) == 0);
    struct journal journal = journal_of(&s);
    int done = change_recover(&journal);
    HOLDS(done <= 1);
    check_outside();
    /* What was found is dealt with: once more there is nothing to do. */
    if (done >= 0)
        HOLDS(change_recover(&journal) == 0);
    fd_close(s.dir);
    buf_free(&text);
    return 0;
}
