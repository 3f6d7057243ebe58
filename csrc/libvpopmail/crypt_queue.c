/* As many calls run at a time as there are cores, each in the caller's own thread, and a call that
 * finds a core free runs at once. The others wait in a row. When a call ends, the first of them
 * runs and takes along, up to the number of lanes, those behind it that need about as long; so
 * nobody waits for others' work much longer than for his own.
 *
 * A thread that is woken may be put behind another that runs while the core that it is to have is
 * idle. So a thread that has run its own call runs a few of the next, too, where they are like it,
 * and who is woken then is one that waits where that thread has run. */
#include "crypt_queue.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crypt_batch.h"

#define BATCHES_MOST 4 /* by one thread */

enum state { WAITS, RUNS, DONE };

struct call {
    struct crypt_job job;
    struct crypt_data *data;
    enum hash hash;
    unsigned long blocks;
    int error, cpu;
    atomic_uint is; /* an enum state; the call is its own thread's again once it is not WAITS */
    struct call *next;
};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static unsigned int cores = 1, running;
static struct call *first, **last = &first;

/* --- forks: the child has none of the threads that run or wait ----------------------------------
 */

static void before_fork(void) {
    pthread_mutex_lock(&guard);
}

static void after_fork(void) {
    pthread_mutex_unlock(&guard);
}

static void after_fork_in_child(void) {
    running = 0;
    first = NULL;
    last = &first;
    after_fork();
}

__attribute__((constructor)) static void at_load(void) {
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        online = CPU_COUNT(&set);
    if (online > 1)
        cores = (unsigned int)online;
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* --- with the guard held ------------------------------------------------------------------------
 */

static void put_in_row(struct call *call) {
    call->cpu = sched_getcpu();
    *last = call;
    last = &call->next;
}

static struct call *take_out(struct call **at) {
    struct call *call = *at;
    *at = call->next;
    if (!*at)
        last = at;
    return call;
}

static bool alike(const struct call *a, const struct call *b) {
    return a->hash == b->hash && a->blocks <= 2 * b->blocks && b->blocks <= 2 * a->blocks;
}

/* Those that wait and are like `calls[0]`, after it; tells how many there are with it. */
static size_t gather(struct call **calls) {
    size_t count = 1, lanes = crypt_kernel(calls[0]->hash, crypt_simd())->lanes;
    for (struct call **at = &first; *at && count < lanes;)
        if (alike(calls[0], *at))
            calls[count++] = take_out(at);
        else
            at = &(*at)->next;
    return count;
}

/* Takes a core, or a place in the row. */
static void enter(struct call *call) {
    if (running < cores) { /* then nobody waits */
        running++;
        call->is = RUNS;
    } else {
        put_in_row(call);
    }
}

/* The first or, of those that would be in a batch with it, one that waits on this core. */
static struct call **choose(void) {
    size_t seen = 0, lanes = crypt_kernel(first->hash, crypt_simd())->lanes;
    int cpu = sched_getcpu();
    for (struct call **at = &first; *at && seen < lanes; at = &(*at)->next)
        if (alike(first, *at)) {
            if ((*at)->cpu == cpu)
                return at;
            seen++;
        }
    return &first;
}

/* Gives the core up; returns who is to have it. */
static struct call *leave(void) {
    if (first)
        return take_out(choose());
    running--;
    return NULL;
}

/* --- without it ---------------------------------------------------------------------------------
 */

/* With a futex, not a condition: who wakes up needs no lock, for which eight would have to queue.
 */
static void wait(struct call *call) {
    while (call->is == WAITS)
        (void)syscall(SYS_futex, &call->is, FUTEX_WAIT_PRIVATE, WAITS, NULL, NULL, 0);
}

/* The call may be gone before the kernel looks at its address; then nobody waits there, or one who
 * looks again. */
static void tell(struct call *call, enum state is) {
    call->is = is;
    (void)syscall(SYS_futex, &call->is, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ------------------------------------------------------------------------------------------------
 */

static int run(struct call **calls, size_t count) {
    struct crypt_job *jobs[LANES_MAX];
    if (count == 1 && !crypt_kernel_alone(calls[0]->hash, crypt_simd())) {
        const struct crypt_job *job = &calls[0]->job;
        return crypt_r(job->password, job->setting, calls[0]->data) ? 0 : -errno;
    }
    for (size_t i = 0; i < count; i++)
        jobs[i] = &calls[i]->job;
    return crypt_batch(jobs, count);
}

/* Runs a call, and others with it; returns who is to have the core then. */
static struct call *run_batch(struct call *call, const struct call *own) {
    struct call *calls[LANES_MAX] = {call};
    pthread_mutex_lock(&guard);
    size_t count = gather(calls);
    pthread_mutex_unlock(&guard);
    int error = run(calls, count);
    pthread_mutex_lock(&guard);
    struct call *next = leave();
    pthread_mutex_unlock(&guard);
    for (size_t i = 0; i < count; i++) {
        calls[i]->error = error;
        if (calls[i] != own)
            tell(calls[i], DONE);
    }
    return next;
}

/* Runs the call, with others and before others, if nobody has done so. */
static void join(struct call *own) {
    pthread_mutex_lock(&guard);
    enter(own);
    pthread_mutex_unlock(&guard);
    wait(own);
    if (own->is == DONE)
        return;
    struct call *next = run_batch(own, own);
    for (int i = 1; next && i < BATCHES_MOST && alike(own, next); i++)
        next = run_batch(next, own);
    if (next)
        tell(next, RUNS);
}

const char *crypt_joined(const char *password, const char *setting, struct crypt_data *data) {
    struct call call = {.job = {password, setting, data->output}, .data = data, .is = WAITS};
    int cancelable;
    call.hash = crypt_job_hash(&call.job, &call.blocks);
    if (call.hash == HASHES || !crypt_kernel(call.hash, crypt_simd()))
        return crypt_r(password, setting, data);
    /* Others hold on to the call until it is done. */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    join(&call);
    (void)pthread_setcancelstate(cancelable, NULL);
    return call.error ? NULL : data->output;
}
