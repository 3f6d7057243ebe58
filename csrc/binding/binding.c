/* Between Python and libvpopmail: hands arguments over, copies results out. With the bundled
 * library, which is thread-safe and leaves the process alone, that is all there is to it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"
#include "vauth.h"
#include "vlimits.h"
#include "vpopmail.h"

#include "limits_copy.h"

#ifndef VPX_LIBRARY /* its file, where an installed one is linked */
#define VPX_LIBRARY ""
#endif

void vpx_free(struct vpx_bytes *bytes) {
    if (bytes->data)
        explicit_bzero(bytes->data, bytes->size);
    free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}

int vpx_configure(const char *home, const char *qmail) {
    return vpopmail_set_home(home, qmail);
}

int vpx_add_domain(const char *domain, const char *dir, unsigned int uid, unsigned int gid) {
    return vadddomain((char *)domain, (char *)dir, uid, gid);
}

int vpx_del_domain(const char *domain) {
    return vdeldomain((char *)domain);
}

int vpx_add_alias_domain(const char *alias_domain, const char *real_domain) {
    return vaddaliasdomain((char *)alias_domain, (char *)real_domain);
}

int vpx_add_user(const char *user, const char *domain, const char *password, const char *gecos,
                 int apop) {
    return vadduser((char *)user, (char *)domain, (char *)password, (char *)gecos, apop);
}

int vpx_del_user(const char *user, const char *domain) {
    return vdeluser((char *)user, (char *)domain);
}

int vpx_passwd(const char *user, const char *domain, const char *password, int apop) {
    return vpasswd((char *)user, (char *)domain, (char *)password, apop);
}

int vpx_set_user_quota(const char *user, const char *domain, const char *quota) {
    return vsetuserquota((char *)user, (char *)domain, (char *)quota);
}

int vpx_alias_add(const char *alias, const char *domain, const char *line) {
    return valias_insert((char *)alias, (char *)domain, (char *)line);
}

int vpx_alias_del(const char *alias, const char *domain) {
    return valias_delete((char *)alias, (char *)domain);
}

int vpx_alias_del_domain(const char *domain) {
    return valias_delete_domain((char *)domain);
}

int vpx_auth_user(const char *user, const char *domain, const char *password, int equal_time) {
    return vpopmail_authenticate(user, domain, password, equal_time);
}

int vpx_auth_many(const char *credentials, size_t count, int equal_time, char *matches) {
    return vpopmail_authenticate_many(credentials, count, equal_time, matches);
}

int vpx_alias_get(const char *alias, const char *domain, struct vpx_bytes *out) {
    return vpopmail_alias(alias, domain, &out->data, &out->size);
}

int vpx_alias_get_all(const char *domain, struct vpx_bytes *out) {
    return vpopmail_aliases(domain, &out->data, &out->size);
}

int vpx_alias_remove(const char *alias, const char *domain, const char *line) {
    return valias_remove((char *)alias, (char *)domain, (char *)line);
}

int vpx_alias_set(const char *alias, const char *domain, const char *lines, size_t size) {
    return vpopmail_set_alias(alias, domain, lines, size);
}

int vpx_domain(const char *domain, struct vpx_bytes *out) {
    return vpopmail_domain(domain, &out->data, &out->size);
}

int vpx_domains(struct vpx_bytes *out) {
    return vpopmail_domains(&out->data, &out->size);
}

int vpx_default_domain(struct vpx_bytes *out) {
    return vpopmail_default_domain(&out->data, &out->size);
}

int vpx_user(const char *user, const char *domain, struct vpx_bytes *out) {
    return vpopmail_user(user, domain, &out->data, &out->size);
}

int vpx_authenticate(const char *user, const char *domain, const char *password, int equal_time,
                     struct vpx_bytes *out) {
    return vpopmail_authenticate(user, domain, password, equal_time) == 1 &&
           vpopmail_user(user, domain, &out->data, &out->size) == VA_SUCCESS;
}

int vpx_users_open(const char *domain, struct vpx_users **out) {
    struct vpopmail_users *list = NULL;
    int code = vpopmail_users_open(domain, &list);
    *out = (struct vpx_users *)list;
    return code;
}

int vpx_users_next(struct vpx_users *list, struct vpx_bytes *out) {
    return vpopmail_users_next((struct vpopmail_users *)list, &out->data, &out->size);
}

void vpx_users_close(struct vpx_users *list) {
    vpopmail_users_close((struct vpopmail_users *)list);
}

int vpx_bulk_open(const char *domain, struct vpx_bulk **out) {
    struct vpopmail_bulk *bulk;
    int code = vpopmail_bulk_open(domain, &bulk);
    *out = (struct vpx_bulk *)bulk;
    return code;
}

int vpx_bulk_take(struct vpx_bulk *bulk, const char *rows, size_t count) {
    return vpopmail_bulk_take((struct vpopmail_bulk *)bulk, rows, count);
}

int vpx_bulk_check(struct vpx_bulk *bulk) {
    return vpopmail_bulk_check((struct vpopmail_bulk *)bulk);
}

int vpx_bulk_refused(struct vpx_bulk *bulk, struct vpx_bytes *out) {
    return vpopmail_bulk_refused((struct vpopmail_bulk *)bulk, &out->data, &out->size);
}

int vpx_bulk_make(struct vpx_bulk *bulk, size_t from, size_t count) {
    return vpopmail_bulk_make((struct vpopmail_bulk *)bulk, from, count);
}

int vpx_bulk_commit(struct vpx_bulk *bulk) {
    return vpopmail_bulk_commit((struct vpopmail_bulk *)bulk);
}

void vpx_bulk_close(struct vpx_bulk *bulk) {
    vpopmail_bulk_close((struct vpopmail_bulk *)bulk);
}

int vpx_set_flags(const char *user, const char *domain, unsigned int flags) {
    return vpopmail_set_flags(user, domain, flags);
}

int vpx_last_auth(const char *user, const char *domain, struct vpx_bytes *out) {
    return vpopmail_last_auth(user, domain, &out->data, &out->size);
}

int vpx_set_last_auth(const char *user, const char *domain, const char *address) {
    return vset_lastauth((char *)user, (char *)domain, (char *)address);
}

int vpx_quota_usage(const char *user, const char *domain, unsigned long long *bytes,
                    unsigned long long *messages) {
    return vpopmail_quota_usage(user, domain, bytes, messages);
}

int vpx_rebuild(const char *domain) {
    return vmkpasswd((char *)domain);
}

int vpx_get_limits(const char *domain, struct vpx_limits *out) {
    struct vlimits limits;
    int code = vget_limits(domain, &limits);
    if (code == VA_SUCCESS)
        limits_out(&limits, out);
    return code;
}

int vpx_set_limits(const char *domain, const struct vpx_limits *limits) {
    struct vlimits copy;
    limits_in(limits, &copy);
    return vset_limits(domain, &copy);
}

static int copy_text(const char *text, struct vpx_bytes *out) {
    out->data = strdup(text);
    out->size = out->data ? strlen(text) : 0;
    return out->data ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
}

int vpx_error(int code, struct vpx_bytes *out) {
    return copy_text(verror(code), out);
}

void vpx_library(struct vpx_library *out) {
    uid_t uid;
    gid_t gid;
    vpopmail_get_ids(&uid, &gid);
    *out = (struct vpx_library){
        .bundled = 1,
        .has_policy = 1,
        .max_user = MAX_PW_NAME,
        .max_gecos = MAX_PW_GECOS,
        .uid = uid,
        .gid = gid,
        .version = VERSION,
        .auth_module = "cdb",
        .path = VPX_LIBRARY,
        .simd = vpopmail_simd(),
    };
}

static int told(int get(char *out, size_t size), struct vpx_bytes *out) {
    int length = get(NULL, 0);
    out->data = length < 0 ? NULL : malloc((size_t)length + 1);
    out->size = 0;
    if (!out->data)
        return VA_MEMORY_ALLOC_ERR;
    int now = get(out->data, (size_t)length + 1); /* cut where it grew meanwhile */
    out->size = now < 0 ? 0 : strlen(out->data);
    return VA_SUCCESS;
}

int vpx_home(struct vpx_bytes *out) {
    return told(vpopmail_get_home, out);
}

int vpx_qmail(struct vpx_bytes *out) {
    return told(vpopmail_get_qmail, out);
}

int vpx_has_words(void) {
    return 0;
}

void vpx_words(struct vpx_bytes *out) {
    *out = (struct vpx_bytes){NULL, 0};
}

int vpx_settle(void) {
    return VA_SUCCESS; /* our own programs have done it */
}

void vpx_close(void) {
}
