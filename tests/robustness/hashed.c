/* How many hashes are made for sign-ins, whether by crypt_r or in lanes. Run by test_storm.py.
 * Usage: hashed HOME QMAIL many|each EQUAL_TIME (USER DOMAIN PASSWORD)…
 * Prints the number, for `each` one after the other, and the answers. */
#include <crypt.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vauth.h"

struct crypt_job;

static atomic_size_t hashes;
static _Thread_local bool in_batch; /* which has crypt_r make some of them */

char *__real_crypt_r(const char *password, const char *setting, struct crypt_data *data);
char *__wrap_crypt_r(const char *password, const char *setting, struct crypt_data *data);
char *__wrap_crypt_r(const char *password, const char *setting, struct crypt_data *data) {
    hashes += !in_batch;
    return __real_crypt_r(password, setting, data);
}

int __real_crypt_batch(struct crypt_job *const *jobs, size_t count);
int __wrap_crypt_batch(struct crypt_job *const *jobs, size_t count);
int __wrap_crypt_batch(struct crypt_job *const *jobs, size_t count) {
    hashes += count;
    in_batch = true;
    int error = __real_crypt_batch(jobs, count);
    in_batch = false;
    return error;
}

static void put(int match) {
    printf("%zu %d\n", atomic_exchange(&hashes, 0), match);
}

static void many(char **of, size_t count, int equal_time) {
    char all[65536], matches[256] = {0}, *to = all;
    for (size_t i = 0; i < 3 * count; i++)
        to = stpcpy(to, of[i]) + 1;
    if (vpopmail_authenticate_many(all, count, equal_time, matches))
        exit(1);
    int right = 0;
    for (size_t i = 0; i < count; i++)
        right += matches[i];
    put(right);
}

int main(int argc, char **argv) {
    if (argc < 5 || vpopmail_set_home(argv[1], argv[2]))
        return 2;
    int equal_time = atoi(argv[4]);
    if (strcmp(argv[3], "many") == 0)
        many(argv + 5, (size_t)(argc - 5) / 3, equal_time);
    else
        for (char **of = argv + 5; *of; of += 3)
            put(vpopmail_authenticate(of[0], of[1], of[2], equal_time));
    return 0;
}
