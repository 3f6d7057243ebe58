/* library.c as a shared library that loads its auth module (module.c), as vpopmail 5.5 is made: what
 * the module may do is called by pointers. */
#define vauth_open auth_open
#define vauth_getpw auth_getpw
#define vauth_getall auth_getall
#define vauth_setpw auth_setpw
#define vmkpasswd auth_mkpasswd
#define vread_dir_control auth_read_dir_control
#define vwrite_dir_control auth_write_dir_control
#define valias_insert auth_alias_insert
#define valias_remove auth_alias_remove
#define valias_delete auth_alias_delete
#define USAGE_BYTES long
#define USAGE_MESSAGES int
#include "library.c"
#undef vauth_open
#undef vauth_getpw
#undef vauth_getall
#undef vauth_setpw
#undef vmkpasswd
#undef vread_dir_control
#undef vwrite_dir_control
#undef valias_insert
#undef valias_remove
#undef valias_delete

#include <dlfcn.h>

struct vqpasswd *(*vauth_getpw)(char *, char *) = auth_getpw;
struct vqpasswd *(*vauth_getall)(char *, int, int) = auth_getall;
int (*vauth_setpw)(struct vqpasswd *, char *) = auth_setpw;
int (*vmkpasswd)(char *) = auth_mkpasswd;
int (*vread_dir_control)(vdir_type *, char *, uid_t, gid_t) = auth_read_dir_control;
int (*vwrite_dir_control)(vdir_type *, char *, uid_t, gid_t) = auth_write_dir_control;
int (*vset_lastauth)(char *, char *, char *);
time_t (*vget_lastauth)(struct vqpasswd *, char *);
char *(*vget_lastauthip)(struct vqpasswd *, char *);
int (*valias_insert)(char *, char *, char *) = auth_alias_insert;
int (*valias_remove)(char *, char *, char *) = auth_alias_remove;
int (*valias_delete)(char *, char *) = auth_alias_delete;
int verrori; /* which a module takes of the library */
static const char *name;

int vauth_open(int will_update) {
    void *module = dlopen(VPOPMAILDIR "/etc/vpopmail.authmodule", RTLD_NOW);
    if (!module)
        return -66;
    name = dlsym(module, "auth_module_name");
    *(void **)&valias_insert = dlsym(module, "alias_insert");
    return auth_open(will_update);
}

const char *vauth_module_name(void) {
    return name;
}

int vauth_module_feature(const char *feature) {
    return (void)feature, 0;
}
