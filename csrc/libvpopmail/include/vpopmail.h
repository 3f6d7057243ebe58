/* The C interface of libvpopmail that vpopmail_ext uses: vpopmail's names, arguments and codes.
 *
 * Unlike the original's, these functions may be called from any number of threads, never change the
 * process's working directory or umask, print nothing, and leave their arguments as they are.
 * What a function returns a pointer to belongs to the calling thread and lasts until that thread's
 * next call of the same function. */
#ifndef VPOPMAIL_H
#define VPOPMAIL_H

#include <sys/types.h>

#include "vpopmail_config.h"

#define VA_SUCCESS 0
#define VA_ILLEGAL_USERNAME -1
#define VA_USERNAME_EXISTS -2
#define VA_BAD_DIR -3
#define VA_BAD_U_DIR -4
#define VA_BAD_D_DIR -5
#define VA_BAD_V_DIR -6
#define VA_EXIST_U_DIR -7
#define VA_BAD_U_DIR2 -8
#define VA_SUBDIR_CREATION -9
#define VA_USER_DOES_NOT_EXIST -10
#define VA_DOMAIN_DOES_NOT_EXIST -11
#define VA_INVALID_DOMAIN_NAME -12
#define VA_DOMAIN_ALREADY_EXISTS -13
#define VA_COULD_NOT_MAKE_DOMAIN_DIR -14
#define VA_COULD_NOT_OPEN_QMAIL_DEFAULT -15
#define VA_CAN_NOT_MAKE_DOMAINS_DIR -16
#define VA_COULD_NOT_UPDATE_FILE -17
#define VA_CRYPT_FAILED -18
#define VA_COULD_NOT_OPEN_DOT_QMAIL -19
#define VA_BAD_CHAR -20
#define VA_SQWEBMAIL_PASS_FAIL -21
#define VA_BAD_UID -22
#define VA_NO_AUTH_CONNECTION -23
#define VA_MEMORY_ALLOC_ERR -24
#define VA_USER_NAME_TOO_LONG -25
#define VA_DOMAIN_NAME_TOO_LONG -26
#define VA_PASSWD_TOO_LONG -27
#define VA_GECOS_TOO_LONG -28
#define VA_QUOTA_TOO_LONG -29
#define VA_DIR_TOO_LONG -30
#define VA_CLEAR_PASSWD_TOO_LONG -31
#define VA_ALIAS_LINE_TOO_LONG -32
#define VA_NULL_POINTER -33
#define VA_INVALID_EMAIL_CHAR -34
#define VA_PARSE_ERROR -35
#define VA_CANNOT_READ_LIMITS -36
#define VA_CANNOT_READ_ASSIGN -37
#define VA_CANNOT_DELETE_CATCHALL -55
#define VA_PWSTR_EMPTY -69
#define VA_PWSTR_LENGTH -70
#define VA_PWSTR_ALPHA -71
#define VA_PWSTR_NUMERIC -72
#define VA_PWSTR_OTHER -73
#define VA_PWSTR_DELTA -74

/* Lengths in bytes, without the NUL. */
#define MAX_PW_NAME 64
#define MAX_PW_DOMAIN 96
#define MAX_PW_PASS 128
#define MAX_PW_GECOS 64
#define MAX_PW_DIR 160
#define MAX_PW_QUOTA 20
#define MAX_ALIAS_LINE 160
#define MAX_CRYPT_PASS 511 /* what crypt(3) takes */

/* Bits of the fourth field of a vpasswd line. */
#define NO_PASSWD_CHNG 0x01
#define V_OVERRIDE 0x2000

#define USE_POP 1  /* the third field of a vpasswd line: no APOP */
#define USE_APOP 2 /* APOP asked for */

typedef struct {
    char *domain, *realdomain;
    int uid, gid;
    char *path;
} domain_entry;

/* vaddaliasdomain and the bulk tools set these in vpopmail; here they only exist. */
extern int NoMakeIndex, OptimizeAddDomain;

int vadddomain(char *domain, char *dir, uid_t uid, gid_t gid);
int vaddaliasdomain(char *alias_domain, char *real_domain);
int vdeldomain(char *domain);
int vadduser(char *user, char *domain, char *password, char *gecos, int apop);
int vdeluser(char *user, char *domain);
int vpasswd(char *user, char *domain, char *password, int apop);
int vsetuserquota(char *user, char *domain, char *quota);
int vmkpasswd(char *domain);
/* The directory, user and group of a domain by users/cdb; NULL for a domain that is not there. */
char *vget_assign(char *domain, char *dir, int dir_len, uid_t *uid, gid_t *gid);
/* The next line of users/assign whose real domain is match_real ("" for all; NULL to go on). */
domain_entry *get_domain_entries(const char *match_real);
char *verror(int code);

/* --- what the original does not have ------------------------------------------------------------
 */

/* Tells where vpopmail's home and qmail's directory are; NULL leaves one as it is. 0, or a code. */
int vpopmail_set_home(const char *home, const char *qmail);
/* They are copied into out; the length, like snprintf's. */
int vpopmail_get_home(char *out, size_t size);
int vpopmail_get_qmail(char *out, size_t size);
/* vpopmail's ids: the owner of HOME/domains, else VPOPMAILUID and VPOPMAILGID. */
void vpopmail_get_ids(uid_t *uid, gid_t *gid);
/* The postmaster that vadddomain gives a domain. */
struct vpopmail_postmaster {
    const char *password;
    const char *quota;    /* NULL: the default */
    const char *catchall; /* what mail for no user is delivered to; NULL: it is deleted */
};
/* Adds a domain and its postmaster in one change. After an error nothing has changed; *step is the
 * function that refused, where it was not vadddomain() itself, else NULL. */
int vpopmail_add_domain(const char *domain, const char *dir, uid_t uid, gid_t gid,
                        const struct vpopmail_postmaster *postmaster, const char **step);
/* A domain whose .qmail-default delivers to catchall: an address, or a user of the domain. */
int vpopmail_set_catchall(const char *domain, const char *catchall);
/* How many alias domains a real domain has; their names one a line in *names, to be freed. */
int vpopmail_alias_domains(const char *domain, char **names);
/* The domain that this one is or is an alias of; to be freed. NULL: there is none. */
char *vpopmail_real_domain(const char *domain);
/* All of a domain's aliases as vpx_alias_get_all() of binding.h tells them; *data to be freed. */
int vpopmail_aliases(const char *domain, char **data, size_t *size);
int vpopmail_alias(const char *alias, const char *domain, char **data, size_t *size);
/* Makes these the alias's lines, each followed by a NUL; none: the alias goes. */
int vpopmail_set_alias(const char *alias, const char *domain, const char *lines, size_t size);

/* Records as binding.h tells them; *data to be freed. 0 or a code. */
int vpopmail_domain(const char *domain, char **data, size_t *size);
int vpopmail_domains(char **data, size_t *size);
int vpopmail_user(const char *user, const char *domain, char **data, size_t *size);
int vpopmail_last_auth(const char *user, const char *domain, char **data, size_t *size);
/* All users of a domain as they are now, some at each call of next, none at the end. */
struct vpopmail_users;
int vpopmail_users_open(const char *domain, struct vpopmail_users **out);
int vpopmail_users_next(struct vpopmail_users *list, char **data, size_t *size);
void vpopmail_users_close(struct vpopmail_users *list);
/* What etc/defaultdomain names; *data to be freed. */
int vpopmail_default_domain(char **data, size_t *size);
/* What a user's mail takes. */
int vpopmail_quota_usage(const char *user, const char *domain, unsigned long long *bytes,
                         unsigned long long *messages);
/* A user's own flags, NO_PASSWD_CHNG and so on. */
int vpopmail_set_flags(const char *user, const char *domain, unsigned int flags);
/* Many users added in one change, as vpx_bulk_open() of binding.h tells it. */
struct vpopmail_bulk;
int vpopmail_bulk_open(const char *domain, struct vpopmail_bulk **out);
int vpopmail_bulk_take(struct vpopmail_bulk *b, const char *rows, size_t count);
int vpopmail_bulk_check(struct vpopmail_bulk *b);
int vpopmail_bulk_refused(const struct vpopmail_bulk *b, char **data, size_t *size);
int vpopmail_bulk_make(struct vpopmail_bulk *b, size_t from, size_t count);
int vpopmail_bulk_commit(struct vpopmail_bulk *b);
void vpopmail_bulk_close(struct vpopmail_bulk *b);
/* 1 where the password is the user's, else 0. With equal_time a user who is not there, or has no
 * hash that anything matches, takes as long as a wrong password of an account of today ($6$). */
int vpopmail_authenticate(const char *user, const char *domain, const char *password,
                          int equal_time);
/* The same for many: a user, domain and password for each, each followed by a NUL. All are looked
 * up, then all passwords are hashed. 1 or 0 for each in matches; 0 or VA_MEMORY_ALLOC_ERR. */
int vpopmail_authenticate_many(const char *credentials, size_t count, int equal_time,
                               char *matches);
/* Whose registers many passwords are hashed in side by side: avx512, avx2, or off. */
const char *vpopmail_simd(void);

#endif
