#include "crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

struct worker {
    pthread_t thread;
    crew_work *work;
    void *arg;
    size_t part;
    bool started;
};

size_t crew_size(void) {
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores < CREW_MOST ? (size_t)cores : CREW_MOST;
}

static void *run(void *arg) {
    struct worker *w = arg;
    w->work(w->arg, w->part);
    return NULL;
}

void crew_do(crew_work *work, void *arg, size_t parts) {
    struct worker workers[CREW_MOST];
    sigset_t all, before;
    /* Signals are for the process's own threads. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 1; i < parts; i++) {
        workers[i] = (struct worker){.work = work, .arg = arg, .part = i};
        workers[i].started = pthread_create(&workers[i].thread, NULL, run, &workers[i]) == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    work(arg, 0);
    for (size_t i = 1; i < parts; i++)
        if (workers[i].started)
            (void)pthread_join(workers[i].thread, NULL);
        else
            work(arg, i);
}
