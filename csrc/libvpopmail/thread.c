#include "thread.h"

#include <crypt.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release(void *arg) {
    struct per_thread *t = arg;
    account_free(&t->account);
    account_free(&t->all_account);
    buf_free(&t->all);
    buf_free(&t->aliases);
    buf_free(&t->alias_name);
    buf_free(&t->entries);
    buf_free(&t->match_real);
    buf_free(&t->entry_text);
    buf_free(&t->assign_dir);
    free(t->crypt);
    free(t);
}

static void make_key(void) {
    (void)pthread_key_create(&key, release);
}

struct per_thread *per_thread(void) {
    (void)pthread_once(&once, make_key);
    struct per_thread *t = pthread_getspecific(key);
    if (!t) {
        t = calloc(1, sizeof *t);
        if (t && pthread_setspecific(key, t)) {
            free(t);
            t = NULL;
        }
    }
    return t;
}

struct crypt_data *per_thread_crypt(void) {
    struct per_thread *t = per_thread();
    if (t && !t->crypt)
        t->crypt = calloc(1, sizeof *t->crypt);
    return t ? t->crypt : NULL;
}

void per_thread_free(void) {
    (void)pthread_once(&once, make_key);
    struct per_thread *t = pthread_getspecific(key);
    if (t) {
        (void)pthread_setspecific(key, NULL);
        release(t);
    }
}
