/* Compiled and linked before the module is: what it needs of a real libvpopmail, with the argument
 * lists that it is called with. */
#include "real.h"

/* Where the library is shared, what its auth module does is called by pointers. */
#ifdef VPX_SHARED
#define BY_POINTER *const
#define OF_MODULE(name) &name
#else
#define BY_POINTER
#define OF_MODULE(name) name
#endif

int (*const needed_vadddomain)(char *, char *, uid_t, gid_t) = vadddomain;
int (*const needed_vaddaliasdomain)(char *, char *) = vaddaliasdomain;
int (*const needed_vdeldomain)(char *) = vdeldomain;
int (*const needed_vadduser)(char *, char *, char *, char *, int) = vadduser;
int (*const needed_vdeluser)(char *, char *) = vdeluser;
int (*const needed_vpasswd)(char *, char *, char *, int) = vpasswd;
int (*const needed_vsetuserquota)(char *, char *, char *) = vsetuserquota;
struct vqpasswd *(*const needed_vauth_user)(char *, char *, char *, char *) = vauth_user;
struct vqpasswd *(*BY_POINTER const needed_vauth_getpw)(char *, char *) = OF_MODULE(vauth_getpw);
struct vqpasswd *(*BY_POINTER const needed_vauth_getall)(char *, int,
                                                         int) = OF_MODULE(vauth_getall);
int (*BY_POINTER const needed_vauth_setpw)(struct vqpasswd *, char *) = OF_MODULE(vauth_setpw);
#ifndef USE_CDB
int (*BY_POINTER const needed_vread_dir_control)(vdir_type *, char *, uid_t,
                                                 gid_t) = OF_MODULE(vread_dir_control);
int (*BY_POINTER const needed_vwrite_dir_control)(vdir_type *, char *, uid_t,
                                                  gid_t) = OF_MODULE(vwrite_dir_control);
#endif
int (*BY_POINTER const needed_valias_insert)(char *, char *, char *) = OF_MODULE(valias_insert);
int (*BY_POINTER const needed_valias_remove)(char *, char *, char *) = OF_MODULE(valias_remove);
int (*BY_POINTER const needed_valias_delete)(char *, char *) = OF_MODULE(valias_delete);
#ifdef VALIAS
int (*BY_POINTER const needed_valias_delete_domain)(char *) = OF_MODULE(valias_delete_domain);
char *(*BY_POINTER const needed_valias_select)(char *, char *) = OF_MODULE(valias_select);
char *(*BY_POINTER const needed_valias_select_next)() = OF_MODULE(valias_select_next);
char *(*BY_POINTER const needed_valias_select_all)(char *, char *) = OF_MODULE(valias_select_all);
char *(*BY_POINTER const needed_valias_select_all_next)(char *) = OF_MODULE(valias_select_all_next);
#endif
char *(*const needed_vget_assign)(char *, char *, int, uid_t *, gid_t *) = vget_assign;
domain_entry *(*const needed_get_domain_entries)(const char *) = get_domain_entries;
char *(*const needed_verror)(int) = verror;
int (*const needed_vauth_open)(int) = vauth_open;
void (*const needed_vclose)() = vclose;
#ifdef USE_CDB
int (*BY_POINTER const needed_vmkpasswd)(char *) = OF_MODULE(vmkpasswd);
#endif
char *(*const needed_default_domain)() = default_domain;
void (*const needed_lowerit)(char *) = lowerit;
int (*const needed_readuserquota)(const char *, USAGE_BYTES *, USAGE_MESSAGES *) = readuserquota;
int (*const needed_vget_limits)(const char *, struct vlimits *) = vget_limits;
int (*const needed_vset_limits)(const char *, const struct vlimits *) = vset_limits;
int (*const needed_vlimits_get_flag_mask)(struct vlimits *) = vlimits_get_flag_mask;
#ifdef ENABLE_AUTH_LOGGING
int (*BY_POINTER const needed_vset_lastauth)(char *, char *, char *) = OF_MODULE(vset_lastauth);
time_t (*BY_POINTER const needed_vget_lastauth)(struct vqpasswd *,
                                                char *) = OF_MODULE(vget_lastauth);
char *(*BY_POINTER const needed_vget_lastauthip)(struct vqpasswd *,
                                                 char *) = OF_MODULE(vget_lastauthip);
#endif
