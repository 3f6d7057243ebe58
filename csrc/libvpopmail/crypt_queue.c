/* As many calls run at a time as there are cores, each in the caller's own thread, and a call that
 * finds a core free runs at once. The others wait in a row. When a call ends, the first of them
 * runs and takes along, up to the number of lanes, those behind it that need about as long; so
 * nobody waits for others' work much longer than for his own. */
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

enum state { WAITS, RUNS, DONE };

struct call {
    struct crypt_job job;
    enum hash hash;
    unsigned long blocks;
    int error;
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

/* Gives the core up; returns who is to have it. */
static struct call *leave(void) {
    if (first)
        return take_out(&first);
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

static int run(struct call **calls, size_t count, struct crypt_data *data) {
    struct crypt_job *jobs[LANES_MAX];
    if (count == 1 && !crypt_kernel_alone(calls[0]->hash, crypt_simd()))
        return crypt_r(calls[0]->job.password, calls[0]->job.setting, data) ? 0 : -errno;
    for (size_t i = 0; i < count; i++)
        jobs[i] = &calls[i]->job;
    return crypt_batch(jobs, count);
}

/* Runs the call, and others with it, if nobody has done so. */
static void join(struct call *call, struct crypt_data *data) {
    struct call *calls[LANES_MAX] = {call};
    size_t count = 0;
    pthread_mutex_lock(&guard);
    enter(call);
    pthread_mutex_unlock(&guard);
    wait(call);
    if (call->is == DONE)
        return;
    pthread_mutex_lock(&guard);
    count = gather(calls);
    pthread_mutex_unlock(&guard);
    int error = run(calls, count, data);
    pthread_mutex_lock(&guard);
    struct call *next = leave();
    pthread_mutex_unlock(&guard);
    if (next)
        tell(next, RUNS);
    for (size_t i = 0; i < count; i++)
        calls[i]->error = error;
    for (size_t i = 1; i < count; i++)
        tell(calls[i], DONE);
}

const char *crypt_joined(const char *password, const char *setting, struct crypt_data *data) {
    struct call call = {.job = {password, setting, data->output}, .is = WAITS};
    int cancelable;
    call.hash = crypt_job_hash(&call.job, &call.blocks);
    if (call.hash == HASHES || !crypt_kernel(call.hash, crypt_simd()))
        return crypt_r(password, setting, data);
    /* Others hold on to the call until it is done. */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
    join(&call, data);
    (void)pthread_setcancelstate(cancelable, NULL);
    return call.error ? NULL : data->output;
}
