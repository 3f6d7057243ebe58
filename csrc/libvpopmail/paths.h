/* Where the installation is. */
#ifndef VP_PATHS_H
#define VP_PATHS_H

#include <sys/types.h>

/* vpopmail's home and qmail's directory as they were when the call began. */
struct home {
    char *path;
    char *qmail;
    unsigned long age; /* what home_now() was then */
};

/* 0 or VA_MEMORY_ALLOC_ERR; home_release() afterwards in both cases. */
int home_hold(struct home *home);
void home_release(struct home *home);
/* How often the two were told; another number, and they may be others. */
unsigned long home_now(void);
/* vpopmail's ids: the owner of HOME/domains, else those of vpopmail_config.h, and -errno. */
int home_ids(const struct home *home, uid_t *uid, gid_t *gid);
/* Opens DIR/NAME (a directory of the installation) for openat(); a descriptor or -errno. */
int home_dir(const char *dir, const char *name);

#endif
