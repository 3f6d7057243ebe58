#include "cage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the cage, 0 is /dev/null; 1 and 2 are a file in memory that holds what is printed. */
#define OUTPUT 1
#define FIRST_FREE 3
/* A gap of so many closed descriptors is taken for the end of those that are open. */
#define GAP 16
/* What is printed is kept up to here until somebody takes it. */
#define MOST_WORDS ((size_t)1 << 16)
/* How often one looks before one sleeps: the answer to a look-up comes within microseconds. */
#define LOOKS 2000

enum { ANSWERED, CALLED };

/* Held by the caller whose turn it is, and while the process forks. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pthread_t thread;
    bool lives, forked, hooked;
    int refused;
    int looks;
    void (*on_fork)(void);
    void (*after)(void), (*after_each)(void);
    /* The call: what is done and what came of it. */
    void (*work)(void *);
    void *argument;
    bool exited, last;
    _Atomic int state;
} cage;

static pthread_mutex_t words_lock = PTHREAD_MUTEX_INITIALIZER;
static char *words;
static _Atomic size_t words_size;

static _Thread_local bool here;
static jmp_buf out;
static bool inside;
static pid_t process;

bool cage_is_here(void) {
    return here;
}

/* --- passing a call on --------------------------------------------------------------------------
 */

/* Waits until the state is another one than `now`. */
static void wait_while(int now) {
    for (int i = 0; i < cage.looks; i++) {
        if (atomic_load(&cage.state) != now)
            return;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    while (atomic_load(&cage.state) == now)
        syscall(SYS_futex, &cage.state, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void set_state(int next) {
    atomic_store(&cage.state, next);
    syscall(SYS_futex, &cage.state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* --- descriptors --------------------------------------------------------------------------------
 */

static void close_from(int first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0)
        return;
#endif
    long most = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < most; fd++)
        close(fd);
}

bool cage_lost_connection(void) {
    char byte;
    for (int fd = FIRST_FREE, gap = 0; gap < GAP; fd++) {
        /* Nobody is asked anything now, so there is nothing to be read: but the end, or a server's
         * last words. */
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
            return true;
        gap = errno == EAGAIN ? 0 : gap + 1;
    }
    return false;
}

/* Closes what a call has left open; sockets are connections, which the library keeps. */
static void close_left(void) {
    struct stat st;
    for (int fd = FIRST_FREE, gap = 0; gap < GAP; fd++) {
        if (fstat(fd, &st))
            gap++;
        else if (S_ISSOCK(st.st_mode))
            gap = 0;
        else {
            close(fd);
            gap = 0;
        }
    }
}

static int open_own(void) {
    close_from(0);
    if (open("/dev/null", O_RDWR | O_CLOEXEC) != 0)
        return -1;
    /* Not closed on exec, none of the three: the library's own programs have them too. */
    (void)fcntl(0, F_SETFD, 0);
    return memfd_create("vpopmail", 0) == OUTPUT && dup(OUTPUT) == 2 ? 0 : -1;
}

/* --- words --------------------------------------------------------------------------------------
 */

void cage_say(const char *text, size_t size) {
    while (size) {
        ssize_t n = write(OUTPUT, text, size);
        if (n <= 0)
            return;
        text += n;
        size -= (size_t)n;
    }
}

/* Moves what was printed from the cage's file to where cage_words() finds it. */
static void collect_words(void) {
    off_t end = lseek(OUTPUT, 0, SEEK_CUR);
    if (end <= 0)
        return;
    pthread_mutex_lock(&words_lock);
    size_t room = MOST_WORDS - words_size, size = (size_t)end < room ? (size_t)end : room;
    char *grown = size ? realloc(words, words_size + size) : NULL;
    if (grown) {
        words = grown;
        ssize_t n = pread(OUTPUT, words + words_size, size, 0);
        words_size += n > 0 ? (size_t)n : 0;
    }
    pthread_mutex_unlock(&words_lock);
    (void)!ftruncate(OUTPUT, 0);
    lseek(OUTPUT, 0, SEEK_SET);
}

bool cage_has_words(void) {
    return words_size > 0;
}

void cage_words(char **text, size_t *size) {
    pthread_mutex_lock(&words_lock);
    *text = words;
    *size = words_size;
    words = NULL;
    words_size = 0;
    pthread_mutex_unlock(&words_lock);
}

/* --- the thread ---------------------------------------------------------------------------------
 */

_Noreturn void cage_leave(int status) {
    /* A child that the library has forked ends as itself, without the process's own clean-up. */
    if (!inside || getpid() != process)
        _exit(status);
    longjmp(out, 1);
}

void cage_after_each(void (*work)(void)) {
    cage.after_each = work;
}

void cage_afterwards(void (*work)(void)) {
    if (inside && getpid() == process)
        cage.after = work;
    else
        work();
}

static void do_work(void) {
    cage.exited = false;
    cage.after = NULL;
    if (setjmp(out) == 0) {
        inside = true;
        if (cage.work)
            cage.work(cage.argument);
    } else {
        cage.exited = true;
    }
    inside = false;
    if (cage.after)
        cage.after();
    if (cage.after_each)
        cage.after_each();
    close_left();
    collect_words();
    (void)!chdir("/");
    umask(077);
}

/* The library's statics are the parent's: a connection's descriptor is a number that means nothing
 * here. With /dev/null in its place the library can close it and harms nobody. */
static void give_up_connections(void) {
    for (int fd = FIRST_FREE; fd < FIRST_FREE + GAP; fd++)
        if (dup(0) < 0)
            break;
    if (cage.on_fork)
        cage.on_fork();
    close_from(FIRST_FREE);
}

static void *live(void *unused) {
    (void)unused;
    here = true;
    process = getpid();
    if (unshare(CLONE_FS | CLONE_FILES) || open_own()) {
        cage.refused = errno ? errno : EPERM;
        set_state(ANSWERED);
        return NULL;
    }
    (void)!chdir("/");
    umask(077);
    if (cage.forked && setjmp(out) == 0) {
        inside = true;
        give_up_connections();
    }
    inside = cage.forked = false;
    set_state(ANSWERED);
    for (bool last = false; !last;) {
        wait_while(ANSWERED);
        last = cage.last;
        do_work();
        set_state(ANSWERED);
    }
    return NULL;
}

/* --- fork ---------------------------------------------------------------------------------------
 */

static void before_fork(void) {
    if (here)
        return;
    pthread_mutex_lock(&turn);
    pthread_mutex_lock(&words_lock);
}

static void after_fork(void) {
    if (here)
        return;
    pthread_mutex_unlock(&words_lock);
    pthread_mutex_unlock(&turn);
}

static void in_child(void) {
    if (here)
        return;
    cage.forked = cage.forked || cage.lives;
    cage.lives = false;
    free(words); /* the parent tells them */
    words = NULL;
    words_size = 0;
    after_fork();
}

void cage_on_fork(void (*work)(void)) {
    cage.on_fork = work;
}

/* --- calling ------------------------------------------------------------------------------------
 */

static int start(void) {
    sigset_t all, before;
    if (!cage.hooked && pthread_atfork(before_fork, after_fork, in_child))
        return ENOMEM;
    cage.hooked = true;
    cage.looks = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? LOOKS : 0;
    cage.refused = 0;
    cage.last = false;
    atomic_store(&cage.state, CALLED);
    /* Signals are for Python's threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&cage.thread, NULL, live, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return error;
    wait_while(CALLED);
    if (cage.refused)
        pthread_join(cage.thread, NULL);
    cage.lives = !cage.refused;
    return cage.refused;
}

static int call(void (*work)(void *), void *argument, bool last) {
    cage.work = work;
    cage.argument = argument;
    cage.last = last;
    set_state(CALLED);
    wait_while(CALLED);
    return cage.exited ? CAGE_EXITED : 0;
}

int cage_run(void (*work)(void *), void *argument) {
    pthread_mutex_lock(&turn);
    int error = cage.lives ? 0 : start();
    int result = error ? CAGE_REFUSED : call(work, argument, false);
    pthread_mutex_unlock(&turn);
    if (error)
        errno = error;
    return result;
}

void cage_close(void (*work)(void *), void *argument) {
    pthread_mutex_lock(&turn);
    if (cage.lives) {
        (void)call(work, argument, true);
        pthread_join(cage.thread, NULL);
        cage.lives = false;
    }
    pthread_mutex_unlock(&turn);
}
