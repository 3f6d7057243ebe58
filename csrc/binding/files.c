/* How a real libvpopmail gets at files, caught where it is linked (ld's --wrap): it opens them by
 * names in directories that others can write to, and follows what it finds there. In the cage
 * nothing is written through a link at the last step of its path, a file that has another name is
 * neither written nor given away, and a link to a directory leads only where its owner may. What
 * is below qmail's directory and vpopmail's etc is the administrator's, whose links are followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vpopmail_config.h"

#include "cage.h"

static bool is_below(const char *path, const char *dir) {
    size_t size = strlen(dir);
    return !strncmp(path, dir, size) && path[size] == '/';
}

static bool is_free(const char *path) {
    return !cage_is_here() || is_below(path, QMAILDIR) || is_below(path, VPOPMAILDIR "/etc");
}

static int refuse(int fd, int error) {
    close(fd);
    errno = error;
    return -1;
}

/* --- opening ------------------------------------------------------------------------------------
 */

static int open_own(const char *path, int flags, mode_t mode) {
    struct stat st;
    int fd = openat(AT_FDCWD, path, (flags & ~O_TRUNC) | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st))
        return refuse(fd, errno);
    if (S_ISREG(st.st_mode) && st.st_nlink > 1)
        return refuse(fd, EMLINK);
    if (flags & O_TRUNC && ftruncate(fd, 0))
        return refuse(fd, errno);
    return fd;
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (is_free(path) || !(flags & (O_WRONLY | O_RDWR | O_CREAT)))
        return openat(AT_FDCWD, path, flags, mode);
    return open_own(path, flags, mode);
}

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode) {
    bool both = strchr(mode, '+') != NULL;
    if (is_free(path) || (mode[0] == 'r' && !both))
        return __real_fopen(path, mode);
    int flags = both ? O_RDWR : O_WRONLY;
    if (mode[0] != 'r')
        flags |= O_CREAT | (mode[0] == 'a' ? O_APPEND : O_TRUNC);
    int fd = open_own(path, flags, 0666);
    FILE *file = fd < 0 ? NULL : fdopen(fd, mode);
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

/* --- owners and modes ---------------------------------------------------------------------------
 */

int __real_chown(const char *path, uid_t uid, gid_t gid);
int __wrap_chown(const char *path, uid_t uid, gid_t gid);
int __wrap_chown(const char *path, uid_t uid, gid_t gid) {
    struct stat st;
    if (is_free(path))
        return __real_chown(path, uid, gid);
    int fd = openat(AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    bool others = fstat(fd, &st) || S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink > 1);
    int result = others ? 0 : fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

int __real_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode) {
    struct stat st;
    if (is_free(path))
        return __real_chmod(path, mode);
    int fd = openat(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) || (S_ISREG(st.st_mode) && st.st_nlink > 1))
        return refuse(fd, EMLINK);
    int result = fchmod(fd, mode);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

/* --- directories --------------------------------------------------------------------------------
 */

static bool leads_astray(const struct stat *link, const struct stat *to) {
    if (S_ISLNK(link->st_mode))
        return link->st_uid != 0 && link->st_uid != geteuid() && link->st_uid != to->st_uid;
    return link->st_dev != to->st_dev || link->st_ino != to->st_ino;
}

int __real_chdir(const char *path);
int __wrap_chdir(const char *path);
int __wrap_chdir(const char *path) {
    struct stat link, to;
    if (is_free(path))
        return __real_chdir(path);
    int fd = openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &to) || fstatat(AT_FDCWD, path, &link, AT_SYMLINK_NOFOLLOW))
        return refuse(fd, errno);
    if (leads_astray(&link, &to))
        return refuse(fd, ELOOP);
    int result = fchdir(fd);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
