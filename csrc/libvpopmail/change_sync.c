/* Waiting for the disk. */
#include <fcntl.h>
#include <time.h>

#include "change_parts.h"
#include "crew.h"

#define WAVE 32
#define SLOW_NS 1000000L

/* What is waited for at once. */
struct wave {
    int fds[WAVE];
    size_t count, done;
    _Atomic int error;
};

static void sync_part(void *wave, size_t part) {
    struct wave *w = wave;
    for (size_t i = w->done + part; i < w->count && !w->error; i += CREW_MOST) {
        int error = fd_sync(w->fds[i]);
        if (error)
            w->error = error;
    }
}

static long now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

/* For the first one a file system with a journal writes that, with all of them in it. Those after
 * it then take no time, unless the disk is slow to tell that it has everything, as it is asked to
 * each time: then the rest are waited for side by side. */
static void wave_sync(struct wave *w) {
    bool slow = false;
    for (w->done = 0; w->done < w->count && !slow && !w->error; w->done++) {
        long before = now_ns();
        w->error = fd_sync(w->fds[w->done]);
        slow = w->done && now_ns() - before > SLOW_NS;
    }
    size_t left = w->count - w->done;
    if (left && !w->error)
        crew_do(sync_part, w, left < CREW_MOST ? left : CREW_MOST);
    w->count = 0;
}

static void wave_add(struct wave *w, int fd) {
    if (fd >= 0 && w->count == WAVE)
        wave_sync(w);
    if (fd >= 0)
        w->fds[w->count++] = fd;
}

static int wave_end(struct wave *w) {
    wave_sync(w);
    return w->error;
}

/* The directories from this one on, which may be the same by several names. */
static void add_dirs(struct wave *w, const struct change *c, size_t from) {
    for (size_t i = from; i < c->dir_count; i++) {
        struct stat st = {.st_dev = c->dirs[i].device, .st_ino = c->dirs[i].inode};
        if (change_dir_of(c, &st) == i)
            wave_add(w, c->dirs[i].fd);
    }
}

static void add_open(struct wave *w, const struct change *c) {
    for (size_t i = 0; i < c->open_count; i++)
        wave_add(w, c->open[i]);
}

/* The first wave: all that is new, and on several file systems the directories that it is in.
 * Before the first is waited for, all are on their way to the disk. */
int change_sync_new(struct change *c, bool told) {
    struct wave w = {0};
    for (size_t i = 0; i < c->open_count; i++)
        (void)sync_file_range(c->open[i], 0, 0, SYNC_FILE_RANGE_WRITE);
    for (size_t i = 0; i < c->count; i++)
        if (c->files[i].fd >= 0)
            (void)sync_file_range(c->files[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    if (told)
        wave_add(&w, c->fd);
    for (size_t i = 0; i < c->count; i++)
        wave_add(&w, c->files[i].fd);
    add_open(&w, c);
    if (told && change_is_scattered(c))
        add_dirs(&w, c, 1);
    int error = wave_end(&w);
    change_close_open(c);
    return error;
}

/* The second wave: the directories in which something has changed, the journal's own before the
 * others, and places of trees. */
int change_sync_changed(struct change *c) {
    struct wave w = {0};
    add_dirs(&w, c, 0);
    add_open(&w, c);
    int error = wave_end(&w);
    change_close_open(c);
    return error;
}
