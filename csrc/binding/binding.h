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

/* 1 where the password is the user's, else 0. With equal_time a user who is not there, or has no
 * hash that anything matches, takes as long as a wrong password of one whose hash is of the kind
 * that the library makes. */
int vpx_auth_user(const char *user, const char *domain, const char *password, int equal_time);
/* The same for many: a user, domain and password for each, each followed by a NUL, and 1 or 0 for
 * each in matches. 0 or VA_MEMORY_ALLOC_ERR. */
int vpx_auth_many(const char *credentials, size_t count, int equal_time, char *matches);

/* The alias's lines, each followed by a NUL; nothing for an alias that is not there. */
int vpx_alias_get(const char *alias, const char *domain, struct vpx_bytes *out);
/* Every alias: an `A` and its name, then an `L` and the line for each of its lines; each followed
 * by a NUL. Aliases come in no particular order. */
int vpx_alias_get_all(const char *domain, struct vpx_bytes *out);

/* --- for vpopmail_ext.api ---
 * A record is a fixed number of fields, each followed by a NUL, numbers in decimal digits. Where
 * nothing is said of it, a function returns a code, VA_DOMAIN_DOES_NOT_EXIST and
 * VA_USER_DOES_NOT_EXIST among them, and gives nothing but for VA_SUCCESS. */

/* The code of what the linked library was built without; vpopmail's own are not positive. */
#define VPX_NOT_SUPPORTED 1

/* A domain's record is 5 fields: its name, its real domain's (the same but for an alias domain),
 * uid, gid, directory. */
/* vget_assign(), which turns its argument into the real domain's name. */
int vpx_domain(const char *domain, struct vpx_bytes *out);
/* All domains and alias domains in the order of users/assign: get_domain_entries(""), then (NULL)
 * until it gives none. VA_CANNOT_READ_ASSIGN; without an assign file there are none. */
int vpx_domains(struct vpx_bytes *out);
/* default_domain(): the text of etc/defaultdomain, empty without one; no NUL after it. */
int vpx_default_domain(struct vpx_bytes *out);

/* A user's record is 9 fields: pw_name, the real domain's name, pw_passwd, pw_uid (the kind:
 * USE_POP or USE_APOP as stored), pw_gid (the flags), pw_flags (with those of the domain's limits),
 * pw_gecos, pw_dir, pw_shell (the quota). pw_clear_passwd stays behind.
 * Where the library shows the domain's accounts to root and its owner alone (the cdb module),
 * others get VA_BAD_UID. */
/* vget_assign(), then vauth_getpw(). */
int vpx_user(const char *user, const char *domain, struct vpx_bytes *out);
/* vauth_user(): 1 and the user's record where the password is right, else 0. */
int vpx_authenticate(const char *user, const char *domain, const char *password, int equal_time,
                     struct vpx_bytes *out);
/* All users of a domain, as they are when the list is opened, in the order in which they are kept:
 * vauth_getall(domain, 1, 0), then (domain, 0, 0) until it gives none; pw_flags by
 * vlimits_get_flag_mask() unless pw_gid has V_OVERRIDE. A malformed entry is left out.
 * vpx_users_next() gives some more whole records, nothing at the end. A list is used by one thread
 * at a time; the real library's is read whole by vpx_users_open(), since it can't be interrupted.
 */
struct vpx_users;
int vpx_users_open(const char *domain, struct vpx_users **out);
int vpx_users_next(struct vpx_users *list, struct vpx_bytes *out);
void vpx_users_close(struct vpx_users *list);

/* Adds many users in one change; with a real library one after the other, which make does, in the
 * order of the rows and by one thread at a time, and close takes back what commit has not kept.
 * open: the domain's limits and the password policy are read. take, as often as there are rows: a
 * row is 7 fields, each followed by a NUL: name, password, `=` and a hash (or nothing), gecos,
 * kind (USE_POP or USE_APOP), flags, quota (empty: the domain's default). check, once: the rows are
 * held against each other and against what the domain has. refused: 4 fields for each row that was
 * refused so far: its number from 0 on, its name, code, text. make, once for every row, by any
 * number of threads: hashes and directories. commit: all of them become users, synced, or none,
 * which also some that are refused now may be the reason for. close, at any time: what is not
 * committed is removed. */
struct vpx_bulk;
int vpx_bulk_open(const char *domain, struct vpx_bulk **out);
int vpx_bulk_take(struct vpx_bulk *bulk, const char *rows, size_t count);
int vpx_bulk_check(struct vpx_bulk *bulk);
int vpx_bulk_refused(struct vpx_bulk *bulk, struct vpx_bytes *out);
int vpx_bulk_make(struct vpx_bulk *bulk, size_t first, size_t count);
int vpx_bulk_commit(struct vpx_bulk *bulk);
void vpx_bulk_close(struct vpx_bulk *bulk);

/* vauth_getpw(), the new pw_gid, vauth_setpw(). */
int vpx_set_flags(const char *user, const char *domain, unsigned int flags);
/* vget_lastauth() and vget_lastauthip(): 2 fields, seconds since 1970 and the address; nothing for
 * a user who never signed in (address NULL_REMOTE_IP, or no lastauth). VPX_NOT_SUPPORTED without
 * ENABLE_AUTH_LOGGING. */
int vpx_last_auth(const char *user, const char *domain, struct vpx_bytes *out);
/* vset_lastauth(): notes a sign-in of now. VPX_NOT_SUPPORTED likewise. */
int vpx_set_last_auth(const char *user, const char *domain, const char *address);
/* readuserquota() of pw_dir/Maildir: what the user's mail takes. */
int vpx_quota_usage(const char *user, const char *domain, unsigned long long *bytes,
                    unsigned long long *messages);
/* vmkpasswd() */
int vpx_rebuild(const char *domain);

/* struct vlimits of vlimits.h, by its names. */
struct vpx_limits {
    int maxpopaccounts, maxaliases, maxforwards, maxautoresponders, maxmailinglists; /* -1: any */
    /* 0: none; diskquota is in megabytes, defaultquota in bytes */
    unsigned long long diskquota, maxmsgcount, defaultquota, defaultmaxmsgcount;
    int disable_pop, disable_imap, disable_dialup, disable_passwordchanging, disable_webmail,
        disable_relay, disable_smtp, disable_spamassassin, delete_spam, disable_maildrop;
    int perm_account, perm_alias, perm_forward, perm_autoresponder, perm_maillist,
        perm_maillist_users, perm_maillist_moderators, perm_quota, perm_defaultquota;
};
/* vget_limits(): the domain's own, else the default ones. */
int vpx_get_limits(const char *domain, struct vpx_limits *out);
/* vset_limits() */
int vpx_set_limits(const char *domain, const struct vpx_limits *limits);

/* valias_remove(): takes every such line out of the alias; without a line left the alias goes.
 * VA_ILLEGAL_USERNAME where there is no such line, alias or domain. */
int vpx_alias_remove(const char *alias, const char *domain, const char *line);
/* Makes these the alias's lines, each followed by a NUL in `lines`: valias_delete(), then
 * valias_insert() for each. The bundled library replaces them at once. */
int vpx_alias_set(const char *alias, const char *domain, const char *lines, size_t size);

/* The text of a code; that of a password-policy code is the calling thread's last one. */
int vpx_error(int code, struct vpx_bytes *out);

/* What is linked, for info(). */
struct vpx_library {
    int bundled;             /* 1 for csrc/libvpopmail, 0 for an installed libvpopmail */
    int has_valias;          /* aliases are kept in SQL */
    int has_policy;          /* passwords are held against etc/password_strength.conf */
    int clear_passwords;     /* they are kept as they were given, beside their hashes */
    int max_user, max_gecos; /* lengths in bytes */
    unsigned int uid, gid;   /* vpopmail's */
    const char *version;     /* the libvpopmail release whose behaviour this is */
    const char *auth_module; /* "cdb", … */
    const char *path;        /* of its file; empty where it is compiled in */
    const char *simd;        /* in whose registers many passwords are hashed: avx512, avx2, off */
};
void vpx_library(struct vpx_library *out);
int vpx_home(struct vpx_bytes *out);
int vpx_qmail(struct vpx_bytes *out);

/* A real library's words since the last time; it is called in a thread of its own, a cage. Every
 * function that returns a code returns VPX_NO_CAGE where the system does not allow that thread. */
#define VPX_NO_CAGE -1000
int vpx_has_words(void);
void vpx_words(struct vpx_bytes *out);
/* To be called after one of vpopmail's own programs has changed the domains: syncs and modes, as
 * after the functions. 0 or VPX_NO_CAGE. */
int vpx_settle(void);
/* Ends what a real library keeps open, and the cage. */
void vpx_close(void);
