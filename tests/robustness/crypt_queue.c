/* crypt_joined() by many threads; crypt_batch() is wrapped, so that batches are counted.
 * Run by test_crypt_queue.py. Usage: crypt_queue alone|storm|fork|cancel. Exits 1 where a hash is
 * wrong or the batches are not as they should be; a call that never ends is ended by SIGALRM. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypt_batch.h"
#include "crypt_queue.h"

#define THREADS 24
#define CALLS 12
#define FORKS 6

static const char *const settings[] = {
    "$6$rounds=1000$abc",
    "$6$rounds=1000$another",
    "$6$rounds=4000$abc",
    "$5$rounds=1000$abc",
    "$1$abcdefgh",
    "$6$rounds=1$abc",
    "ab",
    "*0",
};
static const char *const passwords[] = {"password", "",
                                        "a password of some length, so of more blocks"};
#define SETTINGS (sizeof settings / sizeof *settings)
#define PASSWORDS (sizeof passwords / sizeof *passwords)
static char wanted[PASSWORDS][SETTINGS][CRYPT_OUTPUT_SIZE];

static struct crypt_data data; /* the main thread's */
static atomic_uint batches, wrong, stop;

int __real_crypt_batch(struct crypt_job *const *jobs, size_t count);
int __wrap_crypt_batch(struct crypt_job *const *jobs, size_t count);
int __wrap_crypt_batch(struct crypt_job *const *jobs, size_t count) {
    unsigned long blocks;
    enum hash hash = crypt_job_hash(jobs[0], &blocks);
    const struct kernel *kernel =
        (count == 1 ? crypt_kernel_alone : crypt_kernel)(hash, crypt_simd());
    if (!kernel || count > kernel->lanes)
        wrong++;
    batches += count > 1;
    return __real_crypt_batch(jobs, count);
}

static void call(struct crypt_data *in, unsigned int number) {
    unsigned int p = number % PASSWORDS, s = number / PASSWORDS % SETTINGS;
    const char *hash = crypt_joined(passwords[p], settings[s], in);
    if (!hash || strcmp(hash, wanted[p][s]) != 0)
        wrong++;
}

static struct worker {
    pthread_t thread;
    unsigned int first;
    struct crypt_data data;
} workers[THREADS];

static void *work(void *arg) {
    struct worker *worker = arg;
    for (unsigned int i = 0; i < CALLS; i++) {
        call(&worker->data, worker->first + i);
        pthread_testcancel();
    }
    return NULL;
}

static void *work_until_told(void *arg) {
    while (!stop)
        work(arg);
    return NULL;
}

static void start(unsigned int count, void *function(void *)) {
    for (unsigned int i = 0; i < count; i++) {
        workers[i].first = i * 5;
        if (pthread_create(&workers[i].thread, NULL, function, &workers[i]))
            abort();
    }
}

static void join(unsigned int count) {
    for (unsigned int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
}

static void forks(void) {
    start(THREADS, work_until_told);
    for (int i = 0; i < FORKS; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            start(4, work);
            join(4);
            _exit(wrong != 0);
        }
        if (waitpid(child, &status, 0) != child || status != 0)
            wrong++;
    }
    stop = 1;
    join(THREADS);
}

static void cancels(void) {
    start(THREADS, work_until_told);
    for (unsigned int i = 0; i < THREADS; i += 2) {
        call(&data, i);
        pthread_cancel(workers[i].thread);
    }
    for (unsigned int i = 0; i < THREADS; i += 2)
        pthread_join(workers[i].thread, NULL);
    stop = 1;
    for (unsigned int i = 1; i < THREADS; i += 2)
        pthread_join(workers[i].thread, NULL);
}

int main(int argc, char **argv) {
    const char *what = argc == 2 ? argv[1] : "";
    bool joins = true;
    alarm(120);
    for (unsigned int p = 0; p < PASSWORDS; p++)
        for (unsigned int s = 0; s < SETTINGS; s++)
            strcpy(wanted[p][s], crypt_r(passwords[p], settings[s], &data));
    if (strcmp(what, "fork") == 0) {
        forks();
    } else if (strcmp(what, "cancel") == 0) {
        cancels();
    } else if (strcmp(what, "storm") == 0) {
        start(THREADS, work);
        join(THREADS);
    } else {
        joins = false;
        work(&workers[0]);
    }
    bool expected = joins && crypt_simd() != SIMD_OFF;
    printf("%u wrong, %u batches\n", wrong, batches);
    return wrong || (batches > 0) != expected;
}
