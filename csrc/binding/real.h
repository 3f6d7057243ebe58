/* A call of a real libvpopmail: what is common to real.c and real_records.c. */
#ifndef VPX_REAL_H
#define VPX_REAL_H

#include <stdbool.h>
#include <stddef.h>
/* What the library's headers take for granted. */
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "binding.h"
/* The library's, in the order that they need. */
#include "vpopmail_config.h"

#include "config.h"
#ifdef VPX_SHARED
/* Its vauthmodule.h would define, in each of our files, pointers of its own. */
#define VAUTH_MODULE
#include "storage.h"
#endif
#include "vpopmail.h"

#include "vauth.h"
#include "vlimits.h"
#ifdef VPX_SHARED
#include "shared.h"
/* What readuserquota() counts in. */
#define USAGE_BYTES long
#define USAGE_MESSAGES int
/* The directory of domains below the one that it is in: vadddomain() wants to be told it. */
#define DOMAINS_BELOW "/domains"
#define HAS_AUTH_LOGGING (vauth_module_feature("AUTH_LOGGING") != 0)
#else
#define USAGE_BYTES storage_t
#define USAGE_MESSAGES storage_t
#define DOMAINS_BELOW ""
#define HAS_AUTH_LOGGING true
#endif

/* Room for an argument: more than any that the checks let through, and than the 97 bytes of the
 * real domain's name that the library writes over an alias domain's. */
#define ROOM 1024

struct call {
    char user[ROOM], domain[ROOM], text[ROOM], more[ROOM];
    unsigned uid, gid;
    int number, code;
    bool asks_nobody;                    /* needs no server */
    bool changes_domains, changes_users; /* of c.domain, which no other process may then */
    bool equal_time;
    struct vpx_bytes *out;
    void *other;
    void (*work)(struct call *c);
    char policy[ROOM];
};

/* Whether users are in vpasswd. */
#ifdef USE_CDB
#define IN_CDB true
#else
#define IN_CDB false
#endif

/* Whether a password can't be kept: where users are in vpasswd, the clear one may end its line. */
#if defined USE_CDB && defined CLEAR_PASS
#define BREAKS_LINE(password) (strchr(password, '\n') != NULL)
#else
#define BREAKS_LINE(password) ((void)(password), false)
#endif

/* The longest line of vpasswd that the library reads whole when it makes vpasswd.cdb; it writes
 * past the end of its buffer where one is longer. */
#if MAX_PW_NAME > 32
#define LONGEST_LINE 510
#else
#define LONGEST_LINE 254 /* before 5.6 */
#endif

/* Copies an argument; false where it is longer than anything the library takes. */
bool call_put(char *to, const char *argument);
/* Does the work in the cage, with a connection where the library has one; its code. What the call
 * holds is wiped. */
int call_run(void (*work)(struct call *c), struct call *c);
/* Hashes the call's text for nothing, after a sign-in that failed, where equal_time asks for it:
 * the user (NULL: there is none) has no hash that was compared. */
void call_take_time(const struct call *c, const struct vqpasswd *user);
/* Whether the library reads the line of vpasswd whole that it makes of this. */
bool call_line_fits(const struct vqpasswd *pw);
/* Keeps the library's answer, with the text that goes with it. */
void call_answer(struct call *c, int code);
/* What is done in the cage of vpx_add_user() and others, by what the call holds; its code. */
void call_add_user(struct call *c);
void call_del_user(struct call *c);
void call_set_quota(struct call *c);
/* New flags and, unless it is NULL, another hash. */
void call_set_record(struct call *c, unsigned int flags, const char *hash);
/* Where the call's domain is; it becomes the real one's name. */
struct place {
    char dir[ROOM];
    uid_t uid;
    gid_t gid;
};
bool call_find_domain(struct call *c, struct place *p);
/* Adds mark, text and a NUL. */
void append(struct vpx_bytes *out, const char *mark, const char *text);

#endif
