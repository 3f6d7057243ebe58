/* vpasswd: a user's name, a NUL, and the file. What is listed is what the lines are, wherever it
 * was cut into pieces; a line that is added, changed and taken out leaves the others; the cdb is
 * the one that is compiled anew. */
#include "../../csrc/libvpopmail/lookup.c"

#include "cdb.h"
#include "fuzz.h"

static struct store the_store(void) {
    return (struct store){scratch(), getuid(), getgid()};
}

/* --- listing ------------------------------------------------------------------------------------
 */

static struct vpopmail_users *list_of(int fd) {
    struct vpopmail_users *list = calloc(1, sizeof *list);
    HOLDS(list && (list->domain = strdup("example.com")));
    list->fd = fd;
    return list;
}

static void list_at_once(struct buf *out) {
    struct store s = the_store();
    struct vpopmail_users *list = list_of(store_open(&s));
    char *data;
    size_t size;
    do {
        HOLDS(vpopmail_users_next(list, &data, &size) == VA_SUCCESS);
        buf_add(out, data, size);
        free(data);
    } while (size);
    vpopmail_users_close(list);
}

static void list_in_pieces(struct span text, size_t most, struct buf *out) {
    struct vpopmail_users *list = list_of(-1);
    while (text.len) {
        size_t piece = text.len < most ? text.len : most;
        buf_add(&list->text, text.data, piece);
        text = (struct span){text.data + piece, text.len - piece};
        take_lines(list, !text.len, out);
    }
    vpopmail_users_close(list);
}

static void try_list(struct span text) {
    struct buf at_once = {0}, pieces = {0};
    struct span line, field;
    size_t users = 0, fields = 0;
    list_at_once(&at_once);
    list_in_pieces(text, text.len / 8 + 1, &pieces);
    HOLDS(equal(of(&at_once), of(&pieces)));
    while (span_line(&text, &line)) {
        struct account a = {0};
        users += !memchr(line.data, '\0', line.len) && account_parse(&a, line);
        account_free(&a);
    }
    for (struct span rest = of(&at_once); span_field(&rest, '\0', &field);)
        fields++;
    HOLDS(fields == 9 * users);
    buf_free(&at_once);
    buf_free(&pieces);
}

/* --- changing -----------------------------------------------------------------------------------
 */

static void read_both(struct buf *text, struct buf *cdb) {
    struct store s = the_store();
    int fd = store_open_cdb(&s);
    buf_clear(text);
    buf_clear(cdb);
    HOLDS(file_read(s.dir, "vpasswd", text) == 0 && fd >= 0 && fd_read(fd, cdb) == 0);
    fd_close(fd);
}

/* The next line that is another's, as a file of whole lines has it; how many were the name's. */
static size_t next_other(struct span *rest, struct span name, struct span *line) {
    size_t own = 0;
    *line = (struct span){NULL, 0};
    while (span_line(rest, line) && span_cmp(store_name(*line), name) == 0) {
        *line = (struct span){NULL, 0};
        own++;
    }
    return own;
}

/* The lines of all others are as they were; how many the name has. */
static size_t compare(struct span before, struct span after, struct span name) {
    struct span old, new;
    size_t own = 0;
    do {
        (void)next_other(&before, name, &old);
        own += next_other(&after, name, &new);
        HOLDS(equal(old, new) && !old.data == !new.data);
    } while (old.data);
    return own;
}

static void check_cdb(struct span text, struct span cdb) {
    struct span line, value;
    while (span_line(&text, &line)) {
        struct span name = store_name(line);
        if (name.len && name.len < line.len)
            HOLDS(cdb_find_in(cdb, name, &value) == 1);
    }
}

/* Adds (how 'a'), replaces ('r') or takes out ('d') the user; how many lines of the name there are.
 */
static size_t change(char how, struct span before, const struct account *a, int wanted) {
    struct store s = the_store();
    struct change c = store_change(&s);
    struct buf text = {0}, cdb = {0}, again = {0};
    int error = how == 'a'   ? store_add(&s, &c, a)
                : how == 'r' ? store_replace(&s, &c, a)
                             : store_remove(&s, &c, a->name);
    HOLDS(error == wanted && (error || change_make(&c) == 0));
    change_drop(&c);
    if (error)
        HOLDS(store_rebuild(&s) == 0); /* for the file as it was given */
    read_both(&text, &cdb);
    size_t own = compare(before, of(&text), a->name);
    check_cdb(of(&text), of(&cdb));
    HOLDS(store_rebuild(&s) == 0);
    read_both(&text, &again);
    HOLDS(equal(of(&cdb), of(&again)));
    buf_free(&text);
    buf_free(&cdb);
    buf_free(&again);
    return own;
}

static void try_changes(struct span text, struct span name) {
    struct account a = {0}, found = {0};
    struct store s = the_store();
    if (!name.len || memchr(name.data, ':', name.len) || memchr(name.data, '\n', name.len))
        name = span_of("new");
    size_t had = compare(text, text, name);
    HOLDS(account_make(&a, name, span_of("hash"), 1, 2, span_of("g"), span_of("/d"), span_of("")));
    HOLDS(change('a', text, &a, had ? -EEXIST : 0) == (had ? had : 1));
    size_t has = change('r', text, &a, 0);
    HOLDS(has == (had ? had : 1));
    char *key = span_dup(name);
    HOLDS(key && store_find(&s, key, &found) == 1 && equal(of(&found.text), of(&a.text)));
    account_free(&found);
    HOLDS(change('d', text, &a, 0) == 0 && store_find(&s, key, &found) == 0);
    free(key);
    account_free(&a);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct span rest = {(const char *)data, size}, name = before_nul(&rest);
    struct span text = held((const unsigned char *)rest.data, rest.len);
    int fd = openat(scratch(), "vpasswd", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    HOLDS(fd >= 0 && fd_write(fd, text) == 0);
    fd_close(fd);
    try_list(text);
    /* What is written to a disk costs most: for some. */
    if (size % 4 == 0)
        try_changes(text, name);
    free((char *)text.data);
    return 0;
}
