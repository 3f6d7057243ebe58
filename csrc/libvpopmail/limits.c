#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "alias.h"
#include "error.h"
#include "include/vlimits.h"
#include "include/vpopmail.h"
#include "maildir.h"
#include "user.h"

#define OWN_FILE ".qmailadmin-limits"

/* The words of the file, in the order in which vpopmail writes them. */
enum kind { COUNT, AMOUNT, SWITCH, PERMISSIONS };
#define MEMBER(name) offsetof(struct vlimits, name)
static const struct word {
    const char *name;
    enum kind kind;
    size_t member;
    unsigned int flag; /* of a user's flags, what a switch sets */
} words[] = {
    {"maxpopaccounts", COUNT, MEMBER(maxpopaccounts), 0},
    {"maxaliases", COUNT, MEMBER(maxaliases), 0},
    {"maxforwards", COUNT, MEMBER(maxforwards), 0},
    {"maxautoresponders", COUNT, MEMBER(maxautoresponders), 0},
    {"maxmailinglists", COUNT, MEMBER(maxmailinglists), 0},
    {"quota", AMOUNT, MEMBER(diskquota), 0},
    {"maxmsgcount", AMOUNT, MEMBER(maxmsgcount), 0},
    {"default_quota", AMOUNT, MEMBER(defaultquota), 0},
    {"default_maxmsgcount", AMOUNT, MEMBER(defaultmaxmsgcount), 0},
    {"disable_pop", SWITCH, MEMBER(disable_pop), 0x02},
    {"disable_imap", SWITCH, MEMBER(disable_imap), 0x08},
    {"disable_dialup", SWITCH, MEMBER(disable_dialup), 0x40},
    {"disable_password_changing", SWITCH, MEMBER(disable_passwordchanging), NO_PASSWD_CHNG},
    {"disable_webmail", SWITCH, MEMBER(disable_webmail), 0x04},
    {"disable_external_relay", SWITCH, MEMBER(disable_relay), 0x20},
    {"disable_smtp", SWITCH, MEMBER(disable_smtp), 0x800},
    {"disable_spamassassin", SWITCH, MEMBER(disable_spamassassin), 0x4000},
    {"delete_spam", SWITCH, MEMBER(delete_spam), 0x8000},
    {"disable_maildrop", SWITCH, MEMBER(disable_maildrop), 0x40000},
    {"perm_account", PERMISSIONS, MEMBER(perm_account), 0},
    {"perm_alias", PERMISSIONS, MEMBER(perm_alias), 0},
    {"perm_forward", PERMISSIONS, MEMBER(perm_forward), 0},
    {"perm_autoresponder", PERMISSIONS, MEMBER(perm_autoresponder), 0},
    {"perm_maillist", PERMISSIONS, MEMBER(perm_maillist), 0},
    {"perm_quota", PERMISSIONS, MEMBER(perm_quota), 0},
    {"perm_defaultquota", PERMISSIONS, MEMBER(perm_defaultquota), 0},
};
#define WORDS (sizeof words / sizeof *words)

/* --- reading ------------------------------------------------------------------------------------
 */

static bool is_gap(char c) {
    return c == ' ' || c == '\t' || c == ':' || c == '\r';
}

static struct span word(struct span *line) {
    size_t from = 0, to;
    while (from < line->len && is_gap(line->data[from]))
        from++;
    for (to = from; to < line->len && !is_gap(line->data[to]);)
        to++;
    struct span found = {line->data + from, to - from};
    *line = (struct span){line->data + to, line->len - to};
    return found;
}

static long long number(struct span text) {
    char digits[32] = {0};
    memcpy(digits, text.data, text.len < sizeof digits ? text.len : sizeof digits - 1);
    return strtoll(digits, NULL, 10);
}

static void set(struct vlimits *l, const struct word *w, struct span value) {
    void *member = (char *)l + w->member;
    long long amount = number(value);
    if (w->kind == COUNT)
        *(int *)member = (int)amount;
    else if (w->kind == AMOUNT)
        *(storage_t *)member = amount > 0 ? (storage_t)amount : 0;
    else
        *(short *)member = w->kind == SWITCH ? 1 : (short)(amount & VLIMIT_DISABLE_ALL);
}

static void read_line(struct span line, struct vlimits *out) {
    if (!line.len || is_gap(line.data[0]))
        return;
    struct span name = word(&line);
    bool alone = line.len == 0;
    struct span value = word(&line);
    for (size_t i = 0; i < WORDS; i++)
        if (span_is(name, words[i].name) && (words[i].kind == SWITCH || !alone))
            set(out, &words[i], value);
}

static void parse(const struct buf *text, struct vlimits *out) {
    struct span rest = {text->data, text->len}, line;
    while (span_line(&rest, &line))
        read_line(line, out);
}

static int read_own(const struct store *s, struct buf *text) {
    struct stat st;
    int fd = file_open(s->dir, OWN_FILE, &st);
    if (fd < 0)
        return fd;
    int error = fd_read(fd, text);
    /* What cannot be given away stays as it is; a hard link may be a file from elsewhere. */
    if (!error && st.st_nlink == 1) {
        if ((st.st_mode & 07777) != 0600)
            (void)fchmod(fd, 0600);
        fd_give(fd, s->uid, s->gid);
    }
    fd_close(fd);
    return error;
}

static int load(const struct home *home, const struct store *s, struct vlimits *out) {
    struct buf text = {0};
    *out = (struct vlimits){.maxpopaccounts = -1,
                            .maxaliases = -1,
                            .maxforwards = -1,
                            .maxautoresponders = -1,
                            .maxmailinglists = -1};
    int error = read_own(s, &text);
    if (error == -ENOENT) {
        int etc = home_dir(home->path, "etc");
        error = etc < 0 ? etc : file_read_linked(etc, "vlimits.default", &text);
        fd_close(etc);
    }
    if (!error)
        parse(&text, out);
    buf_free(&text);
    if (error == -ENOENT) /* no limits at all */
        error = 0;
    return error ? error_code(error, VA_CANNOT_READ_LIMITS) : VA_SUCCESS;
}

int limits_read(const struct home *home, const struct store *s, struct limits *out) {
    struct vlimits all;
    int code = load(home, s, &all);
    *out = (struct limits){(long long)all.defaultquota, (long long)all.defaultmaxmsgcount, 0};
    for (size_t i = 0; i < WORDS; i++)
        if (words[i].kind == SWITCH && *(short *)((char *)&all + words[i].member))
            out->flags |= words[i].flag;
    return code;
}

void limits_quota(const struct limits *l, struct buf *out) {
    if (l->default_quota || l->default_maxmsgcount)
        quota_text((unsigned long long)l->default_quota, (unsigned long long)l->default_maxmsgcount,
                   out);
    else
        buf_str(out, NOQUOTA);
}

/* --- for callers --------------------------------------------------------------------------------
 */

static int begin(struct session *s, const char *domain) {
    int found = session_begin(s, "", domain);
    if (found <= 0)
        return found ? found : VA_DOMAIN_DOES_NOT_EXIST;
    return s->store.dir < 0 ? error_code(s->store.dir, VA_BAD_D_DIR) : VA_SUCCESS;
}

int vget_limits(const char *domain, struct vlimits *limits) {
    struct session s;
    if (!domain || !limits)
        return VA_NULL_POINTER;
    int code = begin(&s, domain);
    if (code == VA_SUCCESS)
        code = load(&s.home, &s.store, limits);
    session_end(&s);
    return code;
}

static void write_line(const struct vlimits *l, const struct word *w, struct buf *out) {
    const void *member = (const char *)l + w->member;
    if (w->kind == COUNT)
        buf_fmt(out, "%s: %d\n", w->name, *(const int *)member);
    else if (w->kind == AMOUNT)
        buf_fmt(out, "%s: %llu\n", w->name, (unsigned long long)*(const storage_t *)member);
    else if (w->kind == PERMISSIONS)
        buf_fmt(out, "%s: %d\n", w->name, *(const short *)member);
    else if (*(const short *)member)
        buf_fmt(out, "%s\n", w->name);
}

int vset_limits(const char *domain, const struct vlimits *limits) {
    struct session s;
    struct buf text = {0};
    struct lock lock = LOCK_NONE;
    if (!domain || !limits)
        return VA_NULL_POINTER;
    struct vlimits l = *limits;
    /* vpopmail writes those of mailing lists there, and reads them no more. */
    l.perm_quota = (short)(l.perm_quota | l.perm_maillist_users << VLIMIT_DISABLE_BITS |
                           l.perm_maillist_moderators << 2 * VLIMIT_DISABLE_BITS);
    for (size_t i = 0; i < WORDS; i++)
        write_line(&l, &words[i], &text);
    int code = begin(&s, domain);
    if (code == VA_SUCCESS) {
        int error = text.failed ? -ENOMEM : aliases_lock(&s.store, &lock);
        if (!error)
            error = aliases_write(&s.store, OWN_FILE, (struct span){text.data, text.len}, 0600);
        lock_release(&lock);
        code = error ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
    }
    session_end(&s);
    buf_free(&text);
    return code;
}
