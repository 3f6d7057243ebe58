#include "qmail.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buf.h"
#include "file.h"

/* The headers may be older than the kernel. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Whether the process of a /proc entry runs that program: by the file that it executes, not by its
 * name, which any process can choose. */
static bool runs(int proc, const char *pid, const char *program) {
    static const char gone[] = " (deleted)"; /* replaced by an upgrade while it runs */
    char exe[4096];
    struct buf link = {0};
    buf_fmt(&link, "%s/exe", pid);
    ssize_t n = buf_c(&link) ? readlinkat(proc, link.data, exe, sizeof exe) : -1;
    buf_free(&link);
    struct span path = {exe, n > 0 ? (size_t)n : 0};
    size_t tail = sizeof gone - 1;
    if (path.len > tail && memcmp(path.data + path.len - tail, gone, tail) == 0)
        path.len -= tail;
    return n > 0 && (size_t)n < sizeof exe && span_is(path, program);
}

static void signal_one(int proc, const char *entry, const char *program) {
    pid_t pid = (pid_t)strtol(entry, NULL, 10);
    if (pid <= 1 || !runs(proc, entry, program))
        return;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    /* Looked at once more now that the number cannot pass to another process. */
    if (runs(proc, entry, program))
        (void)syscall(SYS_pidfd_send_signal, fd, SIGHUP, NULL, 0);
    fd_close(fd);
}

void qmail_reread(const struct home *home) {
    struct buf path = {0};
    buf_fmt(&path, "%s/bin/qmail-send", home->qmail);
    char *program = buf_c(&path) ? realpath(path.data, NULL) : NULL;
    buf_free(&path);
    int fd = program ? dir_open(AT_FDCWD, "/proc", true) : -1;
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        fd_close(fd);
    } else {
        struct dirent *entry;
        while ((entry = readdir(list)))
            if (isdigit((unsigned char)entry->d_name[0]))
                signal_one(fd, entry->d_name, program);
        closedir(list);
    }
    free(program);
}
