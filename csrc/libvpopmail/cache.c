#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cdb.h"
#include "walk.h"

#define ALL_BYTES (64L << 20) /* of all copies together */
#define ALL_COPIES 4096
#define CDB_HEADER 2048  /* no cdb is smaller */
#define LINKS 40         /* on the way to one file */
#define TARGET_ROOM 4096 /* what a link leads to is shorter */
#define NAME_ROOM 256    /* longer names are looked up in the files */
#define SLOTS 1024
#define ZFS_SUPER_MAGIC 0x2fc12fc1
/* A file is copied after so many look-ups, and one more for each block: then copying costs about
 * what the look-ups did. */
#define LOOKUPS 4
#define LOOKUP_BLOCK 65536
#define LOOKUPS_AFTER_FAILURE 1000
#define HIGH_DESCRIPTOR 500 /* nobody is soon given such a number by open() */

struct copy {
    struct copy *next;
    char *path;
    size_t key_len; /* of the domain's directory in the path */
    uid_t uid;      /* the domain's */
    long lookups;   /* in the file, since it was last copied or could not be */
    int watch;
    struct stat st;
    char *data; /* NULL: there is no copy now */
    size_t size;
    _Atomic int64_t checked; /* when its name was last seen to lead to it */
};

/* `loading` is for what readers never look at and for whoever changes the rest, which is behind
 * `guard` as well; it is taken first. */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t guard = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static int queue = -1;         /* inotify's; -1 where there are no copies */
static uid_t reader;           /* the effective uid that the copies were made with */
static unsigned long home_age; /* of the installation that they are of */
static struct copy *users, *domains[SLOTS];
static int ways[ALL_COPIES * 2], way_count; /* watches of directories and links */
static int copy_count;
static size_t bytes;
static bool of_parent; /* all this is from before a fork */

static void empty(struct copy *c) {
    if (c->data)
        explicit_bzero(c->data, c->size);
    free(c->data);
    bytes -= c->size;
    c->data = NULL;
    c->size = 0;
    c->lookups = 0;
}

static void copy_free(struct copy *c) {
    if (c) {
        empty(c);
        free(c->path);
        free(c);
    }
}

/* A program may have closed what it did not open, and what has our number now be its own. */
static bool queue_is_ours(void) {
    return inotify_add_watch(queue, "", IN_ATTRIB) < 0 && errno == ENOENT;
}

static void close_queue(void) {
    if (queue >= 0 && queue_is_ours())
        (void)close(queue);
    queue = -1;
}

/* With both locks. */
static void drop_all(void) {
    copy_free(users);
    users = NULL;
    for (size_t i = 0; i < SLOTS; i++)
        while (domains[i]) {
            struct copy *c = domains[i];
            domains[i] = c->next;
            copy_free(c);
        }
    close_queue();
    way_count = copy_count = 0;
    of_parent = false;
}

/* With `loading`: begins anew, for who we are and where the installation is now. */
static void forget(const struct home *home) {
    pthread_rwlock_wrlock(&guard);
    drop_all();
    reader = geteuid();
    home_age = home->age;
    pthread_rwlock_unlock(&guard);
}

static void lock_all(void) {
    pthread_mutex_lock(&loading);
    pthread_rwlock_wrlock(&guard);
}

static void unlock_all(void) {
    pthread_rwlock_unlock(&guard);
    pthread_mutex_unlock(&loading);
}

/* A child shares the queue: what it reads there its parent would never see. What it has of the
 * copies goes when it first looks a user up, since many a child never does. */
static void after_fork_in_child(void) {
    close_queue();
    of_parent = true;
    guard = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
    pthread_mutex_unlock(&loading);
}

__attribute__((constructor)) static void at_load(void) {
    pthread_atfork(lock_all, unlock_all, after_fork_in_child);
}

__attribute__((destructor)) static void at_unload(void) {
    lock_all();
    drop_all();
    unlock_all();
}

/* --- what has changed ---------------------------------------------------------------------------
 */

/* Lets go of what was copied of a file; false where nothing was. */
static bool empty_watched(int watch) {
    bool any = false;
    for (size_t i = 0; i <= SLOTS; i++)
        for (struct copy *c = i < SLOTS ? domains[i] : users; c; c = c->next)
            if (c->data && c->watch == watch) {
                empty(c);
                any = true;
            }
    if (any)
        (void)inotify_rm_watch(queue, watch);
    return any;
}

static bool is_way(int watch) {
    for (int i = 0; i < way_count; i++)
        if (ways[i] == watch)
            return true;
    return false;
}

/* False where everything has to go. */
static bool heed(const struct inotify_event *event) {
    if (event->mask & (IN_Q_OVERFLOW | IN_UNMOUNT))
        return false;
    /* What has a name is about something else in a directory on the way. */
    if (event->len || event->mask & IN_IGNORED)
        return true;
    return empty_watched(event->wd) || !is_way(event->wd);
}

/* With both locks: reads what the kernel has told, and lets go of what it is about. */
static void read_queue(void) {
    _Alignas(struct inotify_event) char block[4096];
    ssize_t n;
    if (!queue_is_ours())
        drop_all();
    while (queue >= 0 && (n = read(queue, block, sizeof block)) > 0) {
        bool keep = true;
        for (ssize_t at = 0; keep && at < n;) {
            const struct inotify_event *event = (const struct inotify_event *)(block + at);
            keep = heed(event);
            at += (ssize_t)(sizeof *event + event->len);
        }
        if (!keep)
            drop_all();
    }
}

/* Events are only taken off the queue by who has all locks, and lets go before: a reader that finds
 * the queue empty finds no copy that an event was about. */
static bool queue_is_empty(void) {
    int waiting;
    return ioctl(queue, FIONREAD, &waiting) == 0 && waiting == 0;
}

static bool same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           same_time(a->st_mtim, b->st_mtim) && same_time(a->st_ctim, b->st_ctim);
}

static int64_t now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_there(const struct copy *c) {
    struct stat st;
    return queue_is_ours() && stat(c->path, &st) == 0 && same_file(&st, &c->st);
}

/* Whether a copy is there and its name, where that was not looked at lately, still leads to it. */
static bool is_usable(struct copy *c) {
    if (!c || !c->data)
        return false;
    int64_t now = now_ms();
    if (now - atomic_load_explicit(&c->checked, memory_order_relaxed) < CACHE_CHECK_MS)
        return true;
    if (!is_there(c))
        return false;
    atomic_store_explicit(&c->checked, now, memory_order_relaxed);
    return true;
}

/* --- looking up ---------------------------------------------------------------------------------
 */

static struct copy **chain(struct span path) {
    uint32_t h = 5381;
    for (size_t i = 0; i < path.len; i++)
        h = h * 33 ^ (unsigned char)path.data[i];
    return &domains[h % SLOTS];
}

static struct copy *domain_copy(struct span path, uid_t uid) {
    struct copy *c = *chain(path);
    while (c && (c->uid != uid || span_cmp((struct span){c->path, c->key_len}, path) != 0))
        c = c->next;
    return c;
}

bool cache_enter(void) {
    pthread_rwlock_rdlock(&guard);
    bool usable =
        queue >= 0 && users && users->data && home_age == home_now() && geteuid() == reader;
    bool told = usable && !queue_is_empty();
    if (usable && !told)
        return true;
    pthread_rwlock_unlock(&guard);
    /* Who is reading a file now reads the queue as well. */
    if (told && pthread_mutex_trylock(&loading) == 0) {
        pthread_rwlock_wrlock(&guard);
        read_queue();
        unlock_all();
    }
    return false;
}

void cache_leave(void) {
    pthread_rwlock_unlock(&guard);
}

/* The text in lower case; its end, or NULL where it is too long. */
static char *lower_to(char *out, const char *text) {
    for (size_t i = 0; i < NAME_ROOM; i++)
        if (!(out[i] = ascii_lower(text[i])))
            return out + i;
    return NULL;
}

int cache_find(const char *user, const char *domain, struct account *out) {
    char name[NAME_ROOM], key[NAME_ROOM + 1] = "!";
    const char *name_end = lower_to(name, user);
    char *key_end = lower_to(key + 1, domain);
    struct domain_record d;
    struct span record;
    if (!name_end || !key_end || !is_usable(users))
        return -1;
    *key_end++ = '-';
    int found = cdb_find_in((struct span){users->data, users->size},
                            (struct span){key, (size_t)(key_end - key)}, &record);
    if (found <= 0)
        return found ? -1 : 0;
    if (!assign_record(record, &d))
        return -1;
    struct copy *c = domain_copy(d.path, d.uid);
    if (!is_usable(c))
        return -1;
    found = store_find_in((struct span){c->data, c->size},
                          (struct span){name, (size_t)(name_end - name)}, out);
    return found < 0 ? -1 : found;
}

/* --- copying ------------------------------------------------------------------------------------
 */

/* With `loading` alone: readers don't look at the ways. */
static bool add_way(int watch) {
    bool room = is_way(watch) || way_count < (int)(sizeof ways / sizeof *ways);
    if (room && !is_way(watch))
        ways[way_count++] = watch;
    return room;
}

static void cut_step(struct buf *path) {
    while (path->len && path->data[--path->len] != '/')
        ;
}

/* Has all that leads to a file watched, link by link, and the file, whose watch it returns, or
 * -errno. What changes on the way after its watch was made is in the queue. */
static int watch_way(struct buf *rest, struct buf *at, int links) {
    struct span left = {rest->data, rest->len}, step;
    int watch = -ENOENT;
    while (span_field(&left, '/', &step)) {
        char target[TARGET_ROOM];
        if (!step.len || span_is(step, "."))
            continue;
        if (span_is(step, "..")) {
            cut_step(at);
            continue;
        }
        buf_char(at, '/');
        buf_span(at, step);
        if (!buf_c(at))
            return -ENOMEM;
        uint32_t mask = IN_ATTRIB | IN_MOVE_SELF | (left.len ? 0 : IN_MODIFY);
        watch = inotify_add_watch(queue, at->data, mask | IN_DONT_FOLLOW);
        if (watch < 0)
            return -errno;
        ssize_t len = readlink(at->data, target, sizeof target);
        if (len < 0 && !left.len)
            return watch;
        if (!add_way(watch))
            return -ENOSPC;
        if (len < 0)
            continue;
        if (len == sizeof target || links == LINKS)
            return -ELOOP;
        struct buf next = {0};
        buf_add(&next, target, (size_t)len);
        buf_char(&next, '/');
        buf_span(&next, left);
        if (target[0] == '/')
            buf_clear(at);
        else
            cut_step(at);
        watch = buf_c(&next) ? watch_way(&next, at, links + 1) : -ENOMEM;
        buf_free(&next);
        return watch;
    }
    return -ENOENT;
}

/* Only where whatever changes a file goes through this machine's kernel. */
static bool is_local(int fd) {
    struct statfs fs;
    if (fstatfs(fd, &fs))
        return false;
    switch ((unsigned long)fs.f_type) {
    case EXT4_SUPER_MAGIC: /* ext2 and ext3, too */
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case ZFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
        return true;
    default:
        return false;
    }
}

static char *read_whole(int fd, size_t size) {
    char *data = malloc(size);
    size_t done = 0;
    while (data && done < size) {
        ssize_t n = pread(fd, data + done, size - done, (off_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            break;
    }
    if (done == size)
        return data;
    if (data)
        explicit_bzero(data, done);
    free(data);
    return NULL;
}

static int open_file(const struct copy *c, const struct domain *domain, struct stat *st) {
    if (!domain)
        return walk_file(AT_FDCWD, c->path, st);
    int dir = domain_dir(domain);
    int fd = dir < 0 ? dir : file_open(dir, c->path + c->key_len + 1, st);
    fd_close(dir);
    return fd;
}

static bool start_queue(void) {
    if (queue >= 0)
        return true;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
    if (high >= 0)
        fd_close(fd);
    pthread_rwlock_wrlock(&guard);
    queue = high >= 0 ? high : fd;
    pthread_rwlock_unlock(&guard);
    return queue >= 0;
}

/* Copies an open file; false where it can't be. */
static bool load(struct copy *c, int fd, const struct stat *st) {
    struct buf path = {0}, at = {0};
    buf_str(&path, c->path);
    int watch = buf_c(&path) && start_queue() ? watch_way(&path, &at, 0) : -1;
    buf_free(&path);
    buf_free(&at);
    char *data = watch >= 0 && is_local(fd) ? read_whole(fd, (size_t)st->st_size) : NULL;
    if (!data)
        return false;
    pthread_rwlock_wrlock(&guard);
    empty(c);
    c->data = data;
    c->size = (size_t)st->st_size;
    c->st = *st;
    c->watch = watch;
    bytes += c->size;
    atomic_store(&c->checked, INT64_MIN / 2);
    /* What changed while it was read is told now. */
    read_queue();
    pthread_rwlock_unlock(&guard);
    return true;
}

static bool is_full(size_t more) {
    return bytes + more > ALL_BYTES || way_count >= ALL_COPIES;
}

/* Counts a look-up in a file, and copies it where there were enough. */
static void note(struct copy *c, const struct home *home, const struct domain *domain) {
    struct stat st;
    if ((c->data && is_there(c)) || ++c->lookups < LOOKUPS)
        return;
    int fd = open_file(c, domain, &st);
    bool fits = fd >= 0 && st.st_size >= CDB_HEADER && st.st_size <= ALL_BYTES;
    if (!fits)
        c->lookups = 0;
    else if (c->lookups >= LOOKUPS + st.st_size / LOOKUP_BLOCK) {
        if (is_full((size_t)st.st_size))
            forget(home);
        else if (!load(c, fd, &st))
            c->lookups = -LOOKUPS_AFTER_FAILURE;
    }
    fd_close(fd);
}

static struct copy *add(struct copy **list, const char *dir, const char *file, uid_t uid) {
    struct buf path = {0};
    buf_fmt(&path, "%s/%s", dir, file);
    struct copy *c = buf_c(&path) ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        buf_free(&path);
        return NULL;
    }
    *c = (struct copy){.path = path.data, .key_len = strlen(dir), .uid = uid};
    pthread_rwlock_wrlock(&guard);
    c->next = *list;
    *list = c;
    pthread_rwlock_unlock(&guard);
    copy_count++;
    return c;
}

static void note_both(const struct home *home, const struct domain *domain) {
    bool lost = queue >= 0 && !queue_is_ours();
    if (lost || of_parent || copy_count >= ALL_COPIES || reader != geteuid() ||
        home_age != home->age)
        forget(home);
    if (users || add(&users, home->qmail, "users/cdb", 0))
        note(users, home, NULL);
    if (domain) {
        struct span path = span_of(domain->path);
        struct copy *c = domain_copy(path, domain->uid);
        if (!c)
            c = add(chain(path), domain->path, "vpasswd.cdb", domain->uid);
        if (c)
            note(c, home, domain);
    }
}

void cache_note(const struct home *home, const struct domain *domain) {
    if (pthread_mutex_trylock(&loading))
        return;
    note_both(home, domain);
    pthread_mutex_unlock(&loading);
}
