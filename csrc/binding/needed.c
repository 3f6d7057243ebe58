/* Compiled and linked before the module is: what it needs of a real libvpopmail, with the argument
 * lists that it is called with. */
#include "real.h"

int (*const needed_vadddomain)(char *, char *, uid_t, gid_t) = vadddomain;
int (*const needed_vaddaliasdomain)(char *, char *) = vaddaliasdomain;
int (*const needed_vdeldomain)(char *) = vdeldomain;
int (*const needed_vadduser)(char *, char *, char *, char *, int) = vadduser;
int (*const needed_vdeluser)(char *, char *) = vdeluser;
int (*const needed_vpasswd)(char *, char *, char *, int) = vpasswd;
int (*const needed_vsetuserquota)(char *, char *, char *) = vsetuserquota;
struct vqpasswd *(*const needed_vauth_user)(char *, char *, char *, char *) = vauth_user;
struct vqpasswd *(*const needed_vauth_getpw)(char *, char *) = vauth_getpw;
struct vqpasswd *(*const needed_vauth_getall)(char *, int, int) = vauth_getall;
int (*const needed_vauth_setpw)(struct vqpasswd *, char *) = vauth_setpw;
#ifndef USE_CDB
int (*const needed_vread_dir_control)(vdir_type *, char *, uid_t, gid_t) = vread_dir_control;
int (*const needed_vwrite_dir_control)(vdir_type *, char *, uid_t, gid_t) = vwrite_dir_control;
#endif
int (*const needed_valias_insert)(char *, char *, char *) = valias_insert;
int (*const needed_valias_remove)(char *, char *, char *) = valias_remove;
int (*const needed_valias_delete)(char *, char *) = valias_delete;
#ifdef VALIAS
int (*const needed_valias_delete_domain)(char *) = valias_delete_domain;
char *(*const needed_valias_select)(char *, char *) = valias_select;
char *(*const needed_valias_select_next)() = valias_select_next;
char *(*const needed_valias_select_all)(char *, char *) = valias_select_all;
char *(*const needed_valias_select_all_next)(char *) = valias_select_all_next;
#endif
char *(*const needed_vget_assign)(char *, char *, int, uid_t *, gid_t *) = vget_assign;
domain_entry *(*const needed_get_domain_entries)(const char *) = get_domain_entries;
char *(*const needed_verror)(int) = verror;
int (*const needed_vauth_open)(int) = vauth_open;
void (*const needed_vclose)() = vclose;
#ifdef USE_CDB
int (*const needed_vmkpasswd)(char *) = vmkpasswd;
#endif
char *(*const needed_default_domain)() = default_domain;
void (*const needed_lowerit)(char *) = lowerit;
int (*const needed_readuserquota)(const char *, storage_t *, storage_t *) = readuserquota;
int (*const needed_vget_limits)(const char *, struct vlimits *) = vget_limits;
int (*const needed_vset_limits)(const char *, const struct vlimits *) = vset_limits;
int (*const needed_vlimits_get_flag_mask)(struct vlimits *) = vlimits_get_flag_mask;
#ifdef ENABLE_AUTH_LOGGING
int (*const needed_vset_lastauth)(char *, char *, char *) = vset_lastauth;
time_t (*const needed_vget_lastauth)(struct vqpasswd *, char *) = vget_lastauth;
char *(*const needed_vget_lastauthip)(struct vqpasswd *, char *) = vget_lastauthip;
#endif
