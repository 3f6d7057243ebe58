/* The C that Python sees. cffi parses this file as it stands and binding.c includes it, so every
 * function is declared once. Strings are NUL-terminated bytes and are never changed. */

/* A block of bytes that vpx_free() releases. */
struct vpx_bytes {
    char *data;
    size_t size;
};

void vpx_free(struct vpx_bytes *bytes);

/* Where the installation is. NULL leaves a directory as it is. 0, or -1 where the linked library
 * has its directories compiled in and these are others. */
int vpx_configure(const char *home, const char *qmail);

/* Each returns a code of vpopmail.h: 0 or negative. */
int vpx_add_domain(const char *domain, const char *dir, unsigned int uid, unsigned int gid);
int vpx_del_domain(const char *domain);
int vpx_add_alias_domain(const char *alias_domain, const char *real_domain);
int vpx_add_user(const char *user, const char *domain, const char *password, const char *gecos,
                 int apop);
int vpx_del_user(const char *user, const char *domain);
int vpx_passwd(const char *user, const char *domain, const char *password, int apop);
int vpx_set_user_quota(const char *user, const char *domain, const char *quota);
int vpx_alias_add(const char *alias, const char *domain, const char *line);
int vpx_alias_del(const char *alias, const char *domain);
int vpx_alias_del_domain(const char *domain);

/* 1 where the password is the user's, else 0. */
int vpx_auth_user(const char *user, const char *domain, const char *password);

/* The alias's lines, each followed by a NUL; nothing for an alias that is not there. */
int vpx_alias_get(const char *alias, const char *domain, struct vpx_bytes *out);
/* Every alias: an `A` and its name, then an `L` and the line for each of its lines; each followed
 * by a NUL. Aliases come in no particular order. */
int vpx_alias_get_all(const char *domain, struct vpx_bytes *out);

/* The text of a code; that of a password-policy code is the calling thread's last one. */
int vpx_error(int code, struct vpx_bytes *out);

/* What is linked, for info(). */
struct vpx_library {
    int bundled;             /* 1 for csrc/libvpopmail, 0 for an installed libvpopmail */
    int has_valias;          /* aliases are kept in SQL */
    unsigned int uid, gid;   /* vpopmail's */
    const char *version;     /* the libvpopmail release whose behaviour this is */
    const char *auth_module; /* "cdb", … */
};
void vpx_library(struct vpx_library *out);
int vpx_home(struct vpx_bytes *out);
int vpx_qmail(struct vpx_bytes *out);
