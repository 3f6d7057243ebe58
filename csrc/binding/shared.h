/* What a shared libvpopmail (5.5) has of its auth module: pointers, that it sets when it loads it.
 */
#ifndef VPX_SHARED_H
#define VPX_SHARED_H

extern struct vqpasswd *(*vauth_getpw)(char *user, char *domain);
extern struct vqpasswd *(*vauth_getall)(char *domain, int first, int sorted);
extern int (*vauth_setpw)(struct vqpasswd *pw, char *domain);
extern int (*vmkpasswd)(char *domain);
extern int (*vread_dir_control)(vdir_type *places, char *domain, uid_t uid, gid_t gid);
extern int (*vwrite_dir_control)(vdir_type *places, char *domain, uid_t uid, gid_t gid);
extern int (*vset_lastauth)(char *user, char *domain, char *remoteip);
extern time_t (*vget_lastauth)(struct vqpasswd *pw, char *domain);
extern char *(*vget_lastauthip)(struct vqpasswd *pw, char *domain);
extern int (*valias_insert)(char *alias, char *domain, char *alias_line);
extern int (*valias_remove)(char *alias, char *domain, char *alias_line);
extern int (*valias_delete)(char *alias, char *domain);
extern int (*valias_delete_domain)(char *domain);
extern char *(*valias_select)(char *alias, char *domain);
extern char *(*valias_select_next)();
extern char *(*valias_select_all)(char *alias, char *domain);
extern char *(*valias_select_all_next)(char *alias);

#endif
