#include "paths.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "file.h"
#include "include/vpopmail.h"
#include "walk.h"

/* Two strings behind a lock; NULL: the default, or what the environment says. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct home told;
static _Atomic unsigned long times_told;

static void before_fork(void) {
    pthread_mutex_lock(&guard);
}

static void after_fork(void) {
    pthread_mutex_unlock(&guard);
}

__attribute__((constructor)) static void at_load(void) {
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* Frees both at unload, so that leak checkers see nothing. */
__attribute__((destructor)) static void at_unload(void) {
    free(told.path);
    free(told.qmail);
    told = (struct home){0};
}

static char *choose(const char *set, const char *fallback) {
    return strdup(set ? set : fallback);
}

int home_hold(struct home *home) {
    pthread_mutex_lock(&guard);
    home->path = choose(told.path, VPOPMAILDIR);
    home->qmail = choose(told.qmail, QMAILDIR);
    home->age = times_told;
    pthread_mutex_unlock(&guard);
    return home->path && home->qmail ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
}

unsigned long home_now(void) {
    return times_told;
}

void home_release(struct home *home) {
    free(home->path);
    free(home->qmail);
    *home = (struct home){0};
}

int home_dir(const char *dir, const char *name) {
    struct buf path = {0};
    buf_fmt(&path, "%s/%s", dir, name);
    int fd = buf_c(&path) ? walk_dir(AT_FDCWD, path.data) : -ENOMEM;
    buf_free(&path);
    return fd;
}

int home_ids(const struct home *home, uid_t *uid, gid_t *gid) {
    struct stat st;
    int fd = home_dir(home->path, DOMAINS_DIR);
    int error = fd < 0 ? fd : fstat(fd, &st) ? -errno : 0;
    fd_close(fd);
    *uid = error ? VPOPMAILUID : st.st_uid;
    *gid = error ? VPOPMAILGID : st.st_gid;
    return error;
}

static int replace(char **slot, const char *value) {
    if (!value)
        return VA_SUCCESS;
    char *copy = strdup(value);
    if (!copy)
        return VA_MEMORY_ALLOC_ERR;
    free(*slot);
    *slot = copy;
    return VA_SUCCESS;
}

int vpopmail_set_home(const char *home, const char *qmail) {
    pthread_mutex_lock(&guard);
    int code = replace(&told.path, home);
    if (code == VA_SUCCESS)
        code = replace(&told.qmail, qmail);
    times_told++;
    pthread_mutex_unlock(&guard);
    return code;
}

static int copy_out(bool want_qmail, char *out, size_t size) {
    struct home home = {0};
    int length = -1;
    if (home_hold(&home) == VA_SUCCESS)
        length = snprintf(out, size, "%s", want_qmail ? home.qmail : home.path);
    home_release(&home);
    return length;
}

int vpopmail_get_home(char *out, size_t size) {
    return copy_out(false, out, size);
}

int vpopmail_get_qmail(char *out, size_t size) {
    return copy_out(true, out, size);
}

void vpopmail_get_ids(uid_t *uid, gid_t *gid) {
    struct home home = {0};
    *uid = VPOPMAILUID;
    *gid = VPOPMAILGID;
    if (home_hold(&home) == VA_SUCCESS)
        (void)home_ids(&home, uid, gid);
    home_release(&home);
}
