#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "include/vpopmail.h"
#include "maildir.h"

static const struct {
    const char *name;
    unsigned int flag;
} switches[] = {
    {"disable_password_changing", NO_PASSWD_CHNG},
    {"disable_pop", 0x02},
    {"disable_webmail", 0x04},
    {"disable_imap", 0x08},
    {"disable_external_relay", 0x20},
    {"disable_dialup", 0x40},
    {"disable_smtp", 0x800},
    {"disable_spamassassin", 0x4000},
    {"delete_spam", 0x8000},
    {"disable_maildrop", 0x40000},
};

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

static long long amount(struct span text) {
    char digits[32] = {0};
    memcpy(digits, text.data, text.len < sizeof digits ? text.len : sizeof digits - 1);
    long long value = strtoll(digits, NULL, 10);
    return value > 0 ? value : 0;
}

static void read_line(struct span line, struct limits *out) {
    if (!line.len || is_gap(line.data[0]))
        return;
    struct span name = word(&line), value = word(&line);
    if (span_is(name, "default_quota"))
        out->default_quota = amount(value);
    else if (span_is(name, "default_maxmsgcount"))
        out->default_maxmsgcount = amount(value);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (span_is(name, switches[i].name))
            out->flags |= switches[i].flag;
}

static void parse(const struct buf *text, struct limits *out) {
    struct span rest = {text->data, text->len}, line;
    while (span_line(&rest, &line))
        read_line(line, out);
}

static int read_own(const struct store *s, struct buf *text) {
    struct stat st;
    int fd = file_open(s->dir, ".qmailadmin-limits", &st);
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

int limits_read(const struct home *home, const struct store *s, struct limits *out) {
    struct buf text = {0};
    *out = (struct limits){0};
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

void limits_quota(const struct limits *l, struct buf *out) {
    if (l->default_quota || l->default_maxmsgcount)
        quota_text((unsigned long long)l->default_quota, (unsigned long long)l->default_maxmsgcount,
                   out);
    else
        buf_str(out, NOQUOTA);
}
