/* What vpopmail_ext.api asks of a real libvpopmail: records, flags, limits. */
#include "real.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "limits_copy.h"
#include "own.h"

/* Whether names may be looked up at all; those that are longer are of nobody. */
static bool put_names(struct call *c, const char *user, const char *domain) {
    return strlen(user) <= MAX_PW_NAME && strlen(domain) <= MAX_PW_DOMAIN &&
           call_put(c->user, user) && call_put(c->domain, domain);
}

static void append_number(struct vpx_bytes *out, unsigned long long number) {
    char text[32];
    snprintf(text, sizeof text, "%llu", number);
    append(out, "", text);
}

static void append_text(struct vpx_bytes *out, const char *text) {
    append(out, "", text ? text : "");
}

/* --- domains ------------------------------------------------------------------------------------
 */

bool call_find_domain(struct call *c, struct place *p) {
    *p = (struct place){.dir = ""};
    return c->domain[0] && own_check_domain(c->domain) == VA_SUCCESS &&
           vget_assign(c->domain, p->dir, ROOM - 1, &p->uid, &p->gid);
}

static void domain(struct call *c) {
    struct place p;
    char name[ROOM];
    lowerit(c->domain);
    (void)call_put(name, c->domain);
    if (!call_find_domain(c, &p)) {
        c->code = VA_DOMAIN_DOES_NOT_EXIST;
        return;
    }
    append_text(c->out, name);
    append_text(c->out, c->domain);
    append_number(c->out, p.uid);
    append_number(c->out, p.gid);
    append_text(c->out, p.dir);
}

int vpx_domain(const char *name, struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    return put_names(&c, "", name) ? call_run(domain, &c) : VA_DOMAIN_DOES_NOT_EXIST;
}

static void domains(struct call *c) {
    for (domain_entry *e = get_domain_entries(""); e; e = get_domain_entries(NULL)) {
        append_text(c->out, e->domain);
        append_text(c->out, e->realdomain);
        append_number(c->out, (unsigned)e->uid);
        append_number(c->out, (unsigned)e->gid);
        append_text(c->out, e->path);
    }
}

int vpx_domains(struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    return call_run(domains, &c);
}

static void its_default_domain(struct call *c) {
    append_text(c->out, default_domain());
    if (c->out->size)
        c->out->size--;
}

int vpx_default_domain(struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    return call_run(its_default_domain, &c);
}

/* --- users --------------------------------------------------------------------------------------
 */

static void append_user(struct vpx_bytes *out, const char *domain, const struct vqpasswd *pw,
                        unsigned flags) {
    append_text(out, pw->pw_name);
    append_text(out, domain);
    append_text(out, pw->pw_passwd);
    append_number(out, pw->pw_uid);
    append_number(out, pw->pw_gid);
    append_number(out, flags);
    append_text(out, pw->pw_gecos);
    append_text(out, pw->pw_dir);
    append_text(out, pw->pw_shell);
}

/* The call's user, NULL with a code for none. */
static struct vqpasswd *find_user(struct call *c) {
    struct place p;
    if (!call_find_domain(c, &p)) {
        c->code = VA_DOMAIN_DOES_NOT_EXIST;
        return NULL;
    }
    lowerit(c->user);
    c->code = VA_USER_DOES_NOT_EXIST;
#ifdef USE_CDB
    if (geteuid() != 0 && geteuid() != p.uid) {
        c->code = VA_BAD_UID;
        return NULL;
    }
    int found = own_find_user(c->user, c->domain);
    if (found <= 0) {
        c->code = found ? found : VA_USER_DOES_NOT_EXIST;
        return NULL;
    }
#endif
    struct vqpasswd *pw = c->user[0] ? vauth_getpw(c->user, c->domain) : NULL;
    if (pw)
        c->code = VA_SUCCESS;
    return pw;
}

static void user(struct call *c) {
    struct vqpasswd *pw = find_user(c);
    if (pw)
        append_user(c->out, c->domain, pw, pw->pw_flags);
}

int vpx_user(const char *name, const char *domain, struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    return put_names(&c, name, domain) ? call_run(user, &c) : VA_USER_DOES_NOT_EXIST;
}

static void authenticate(struct call *c) {
    struct vqpasswd *pw = find_user(c);
    bool known = pw;
    pw = known ? vauth_user(c->user, c->domain, c->text, c->more) : NULL;
    c->code = pw != NULL;
    if (pw)
        append_user(c->out, c->domain, pw, pw->pw_flags);
    else if (c->equal_time)
        call_take_time(c, known ? vauth_getpw(c->user, c->domain) : NULL);
}

int vpx_authenticate(const char *name, const char *domain, const char *password, int equal_time,
                     struct vpx_bytes *out) {
    struct call c = {.out = out, .equal_time = equal_time};
    *out = (struct vpx_bytes){NULL, 0};
    if (!put_names(&c, name, domain) || !call_put(c.text, password))
        return 0;
    int code = call_run(authenticate, &c);
    return code == VPX_NO_CAGE ? code : code == 1;
}

/* All records, read at once, and how much of them has been given. */
struct vpx_users {
    struct vpx_bytes all;
    size_t given;
};
#define CHUNK ((size_t)1 << 16)
#define USER_FIELDS 9

static void users(struct call *c) {
    struct place p;
    struct vlimits limits;
    if (!call_find_domain(c, &p)) {
        c->code = VA_DOMAIN_DOES_NOT_EXIST;
        return;
    }
#ifdef USE_CDB
    if (geteuid() != 0 && geteuid() != p.uid) {
        c->code = VA_BAD_UID;
        return;
    }
#endif
    c->code = own_check_user("", c->domain, VA_SUCCESS, IN_CDB);
    if (c->code != VA_SUCCESS)
        return;
    unsigned mask =
        vget_limits(c->domain, &limits) == 0 ? (unsigned)vlimits_get_flag_mask(&limits) : 0;
    for (struct vqpasswd *pw = vauth_getall(c->domain, 1, 0); pw;
         pw = vauth_getall(c->domain, 0, 0))
        append_user(c->out, c->domain, pw,
                    pw->pw_gid & V_OVERRIDE ? pw->pw_gid : pw->pw_gid | mask);
}

int vpx_users_open(const char *domain, struct vpx_users **out) {
    struct call c = {0};
    struct vpx_users *list = calloc(1, sizeof *list);
    *out = NULL;
    if (!list)
        return VA_MEMORY_ALLOC_ERR;
    c.out = &list->all;
    int code = put_names(&c, "", domain) ? call_run(users, &c) : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        *out = list;
    else
        vpx_users_close(list);
    return code;
}

int vpx_users_next(struct vpx_users *list, struct vpx_bytes *out) {
    const char *from = list->all.data + list->given;
    size_t left = list->all.size - list->given, size = 0;
    while (size < left && size < CHUNK)
        for (int field = 0; field < USER_FIELDS; field++)
            size += strlen(from + size) + 1;
    *out = (struct vpx_bytes){size ? malloc(size) : NULL, size};
    if (size && !out->data)
        return VA_MEMORY_ALLOC_ERR;
    if (size)
        memcpy(out->data, from, size);
    list->given += size;
    return VA_SUCCESS;
}

void vpx_users_close(struct vpx_users *list) {
    if (list)
        vpx_free(&list->all);
    free(list);
}

void call_set_record(struct call *c, unsigned int flags, const char *hash) {
    static char none[] = "";
    struct vqpasswd *pw = find_user(c);
    if (!pw)
        return;
    pw->pw_gid = flags;
    if (hash) {
        pw->pw_passwd = (char *)hash; /* which it only reads */
        pw->pw_clear_passwd = none;
    }
    int code = own_check_user(c->user, c->domain, VA_USER_DOES_NOT_EXIST, IN_CDB);
    if (code == VA_SUCCESS && !call_line_fits(pw))
        code = VA_COULD_NOT_UPDATE_FILE;
    if (code == VA_SUCCESS)
        code = vauth_setpw(pw, c->domain);
    call_answer(c, code);
    own_settle_users(c->domain);
}

static void set_flags(struct call *c) {
    call_set_record(c, (unsigned int)c->number, NULL);
}

int vpx_set_flags(const char *name, const char *domain, unsigned int flags) {
    struct call c = {.changes_users = true, .number = (int)flags};
    return put_names(&c, name, domain) ? call_run(set_flags, &c) : VA_USER_DOES_NOT_EXIST;
}

/* The same where what is then read in the user's directory is no link to elsewhere. */
static struct vqpasswd *find_user_dir(struct call *c) {
    struct vqpasswd *pw = find_user(c);
    if (pw)
        c->code = own_check_user_dir(c->user, c->domain);
    return c->code == VA_SUCCESS ? pw : NULL;
}

static void last_auth(struct call *c) {
#ifdef ENABLE_AUTH_LOGGING
    struct vqpasswd *pw = find_user_dir(c);
    if (!pw)
        return;
    if (!HAS_AUTH_LOGGING) {
        c->code = VPX_NOT_SUPPORTED;
        return;
    }
    time_t when = vget_lastauth(pw, c->domain);
    char *ip = vget_lastauthip(pw, c->domain);
    if (ip)
        ip[strcspn(ip, "\n")] = '\0';
    /* Of an empty file the library gives what was in its buffer, the path. */
    if (when <= 0 || !ip || !ip[0] || strchr(ip, '/') || !strcmp(ip, NULL_REMOTE_IP))
        return;
    append_number(c->out, (unsigned long long)when);
    append_text(c->out, ip);
#else
    c->code = VPX_NOT_SUPPORTED;
#endif
}

int vpx_last_auth(const char *name, const char *domain, struct vpx_bytes *out) {
    struct call c = {.out = out};
    *out = (struct vpx_bytes){NULL, 0};
    return put_names(&c, name, domain) ? call_run(last_auth, &c) : VA_USER_DOES_NOT_EXIST;
}

static void set_last_auth(struct call *c) {
#ifdef ENABLE_AUTH_LOGGING
    if (find_user_dir(c))
        call_answer(c, !HAS_AUTH_LOGGING                            ? VPX_NOT_SUPPORTED
                       : vset_lastauth(c->user, c->domain, c->text) ? VA_COULD_NOT_UPDATE_FILE
                                                                    : VA_SUCCESS);
#else
    c->code = VPX_NOT_SUPPORTED;
#endif
}

int vpx_set_last_auth(const char *name, const char *domain, const char *address) {
    struct call c = {0};
    if (strchr(address, '\n'))
        return VA_BAD_CHAR;
    return put_names(&c, name, domain) && call_put(c.text, address) ? call_run(set_last_auth, &c)
                                                                    : VA_USER_DOES_NOT_EXIST;
}

struct usage {
    USAGE_BYTES bytes;
    USAGE_MESSAGES messages;
};

static void quota_usage(struct call *c) {
    struct usage *usage = c->other;
    struct vqpasswd *pw = find_user_dir(c);
    if (!pw)
        return;
    char dir[ROOM];
    struct usage found = {0, 0};
    if (snprintf(dir, sizeof dir, "%s/Maildir", pw->pw_dir) < ROOM &&
        readuserquota(dir, &found.bytes, &found.messages) == 0)
        *usage = found;
}

int vpx_quota_usage(const char *name, const char *domain, unsigned long long *bytes,
                    unsigned long long *messages) {
    struct usage usage = {0, 0};
    struct call c = {.other = &usage};
    int code = put_names(&c, name, domain) ? call_run(quota_usage, &c) : VA_USER_DOES_NOT_EXIST;
    *bytes = (unsigned long long)usage.bytes;
    *messages = (unsigned long long)usage.messages;
    return code;
}

static void rebuild(struct call *c) {
#ifdef USE_CDB
    struct place p;
    int code = call_find_domain(c, &p) ? own_check_user("", c->domain, VA_SUCCESS, IN_CDB)
                                       : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS)
        code = vmkpasswd(c->domain);
    call_answer(c, code);
    own_settle_users(c->domain);
#else
    c->code = VPX_NOT_SUPPORTED; /* where there is nothing to be made the library says yes */
#endif
}

int vpx_rebuild(const char *domain) {
    struct call c = {.changes_users = true};
    return put_names(&c, "", domain) ? call_run(rebuild, &c) : VA_DOMAIN_DOES_NOT_EXIST;
}

/* --- limits -------------------------------------------------------------------------------------
 */

static void get_limits(struct call *c) {
    struct vlimits limits;
    struct place p;
    int code = call_find_domain(c, &p) ? own_check_limits(c->domain) : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS && vget_limits(c->domain, &limits) != 0)
        code = VA_CANNOT_READ_LIMITS;
    if (code == VA_SUCCESS)
        limits_out(&limits, c->other);
    c->code = code;
}

int vpx_get_limits(const char *domain, struct vpx_limits *out) {
    struct call c = {.other = out};
    return put_names(&c, "", domain) ? call_run(get_limits, &c) : VA_DOMAIN_DOES_NOT_EXIST;
}

static void set_limits(struct call *c) {
    struct vlimits limits;
    struct place p;
    memset(&limits, 0, sizeof limits);
    limits_in(c->other, &limits);
    int code = call_find_domain(c, &p) ? own_check_limits(c->domain) : VA_DOMAIN_DOES_NOT_EXIST;
    if (code == VA_SUCCESS && vset_limits(c->domain, &limits) != 0)
        code = VA_COULD_NOT_UPDATE_FILE;
    if (code == VA_SUCCESS) /* gives the file to the domain's owner */
        (void)vget_limits(c->domain, &limits);
    c->code = code;
}

int vpx_set_limits(const char *domain, const struct vpx_limits *limits) {
    struct vpx_limits copy = *limits;
    struct call c = {.changes_users = true, .other = &copy};
    return put_names(&c, "", domain) ? call_run(set_limits, &c) : VA_DOMAIN_DOES_NOT_EXIST;
}

/* --- aliases ------------------------------------------------------------------------------------
 */

/* How many lines the call's alias has, without those that are `line`. */
static size_t count_lines(struct call *c, const char *without) {
    struct vpx_bytes lines = {NULL, 0};
    size_t count = 0;
#ifdef VALIAS
    for (char *line = valias_select(c->user, c->domain); line; line = valias_select_next())
        append(&lines, "", line);
#else
    (void)own_alias(c->user, c->domain, &lines.data, &lines.size);
#endif
    for (size_t at = 0; at < lines.size; at += strlen(lines.data + at) + 1)
        count += !without || strcmp(lines.data + at, without) != 0;
    vpx_free(&lines);
    return count;
}

static void alias_remove(struct call *c) {
    int code = own_check_alias(c->user, c->domain, c->text);
    /* The library says yes to a line that is not there too, and leaves a file without lines. */
    size_t count = code == VA_SUCCESS ? count_lines(c, NULL) : 0;
    size_t others = code == VA_SUCCESS ? count_lines(c, c->text) : 0;
    if (code == VA_SUCCESS && count == others)
        code = VA_ILLEGAL_USERNAME;
    if (code == VA_SUCCESS)
        code = valias_remove(c->user, c->domain, c->text);
    if (code == VA_SUCCESS && !others)
        (void)valias_delete(c->user, c->domain);
    call_answer(c, code == VA_SUCCESS ? code : VA_ILLEGAL_USERNAME);
}

int vpx_alias_remove(const char *alias, const char *domain, const char *line) {
    struct call c = {.changes_users = true};
    if (!put_names(&c, alias, domain) || !call_put(c.text, line))
        return VA_ILLEGAL_USERNAME;
    return call_run(alias_remove, &c);
}

struct lines {
    const char *text;
    size_t size;
};

static void alias_set(struct call *c) {
    const struct lines *lines = c->other;
    int code = VA_SUCCESS;
    for (size_t at = 0; at < lines->size && code == VA_SUCCESS; at += strlen(lines->text + at) + 1)
        code = own_check_alias(c->user, c->domain, lines->text + at);
    if (code == VA_SUCCESS)
        (void)valias_delete(c->user, c->domain);
    for (size_t at = 0; at < lines->size && code == VA_SUCCESS;
         at += strlen(lines->text + at) + 1) {
        (void)call_put(c->text, lines->text + at);
        code = valias_insert(c->user, c->domain, c->text);
    }
    call_answer(c, code);
}

int vpx_alias_set(const char *alias, const char *domain, const char *lines, size_t size) {
    struct lines all = {lines, size};
    struct call c = {.changes_users = true, .other = &all};
    if (strlen(alias) > MAX_PW_NAME)
        return VA_USER_NAME_TOO_LONG;
    if (!put_names(&c, alias, domain))
        return VA_DOMAIN_NAME_TOO_LONG;
    return call_run(alias_set, &c);
}
