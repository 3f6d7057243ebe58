/* Accounts, passwords and aliases: the part of libvpopmail's C interface that an auth module has.
 */
#ifndef VAUTH_H
#define VAUTH_H

#include "vpopmail.h"

struct vqpasswd {
    char *pw_name;         /* the user */
    char *pw_passwd;       /* the hash */
    uid_t pw_uid;          /* USE_POP or USE_APOP */
    gid_t pw_gid;          /* the user's own flags */
    gid_t pw_flags;        /* with those of the domain's limits */
    char *pw_gecos;        /* the full name */
    char *pw_dir;          /* the user's directory */
    char *pw_shell;        /* the quota */
    char *pw_clear_passwd; /* always empty here */
};

int vauth_open(int will_update);
void vclose(void);

struct vqpasswd *vauth_user(char *user, char *domain, char *password, char *apop);
struct vqpasswd *vauth_getpw(char *user, char *domain);
/* The first (first != 0) or next user of a domain; sortit: in order of their names. */
struct vqpasswd *vauth_getall(char *domain, int first, int sortit);
int vauth_setpw(struct vqpasswd *pw, char *domain);
/* Notes that a user signed in from an address, in the user's lastauth. */
int vset_lastauth(char *user, char *domain, char *remoteip);

int valias_insert(char *alias, char *domain, char *line);
int valias_remove(char *alias, char *domain, char *line);
int valias_delete(char *alias, char *domain);
int valias_delete_domain(char *domain);
char *valias_select(char *alias, char *domain);
char *valias_select_next(void);
char *valias_select_all(char *alias, char *domain); /* alias: room for 65 bytes */
char *valias_select_all_next(char *alias);

#endif
