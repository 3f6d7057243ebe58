/* Preloaded by test_storm.py: counts the calls of crypt_r and keeps the last one's setting. */
#include <crypt.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>

typedef char *crypt_function(const char *, const char *, struct crypt_data *);

static atomic_int calls;
static char last[CRYPT_GENSALT_OUTPUT_SIZE];

char *crypt_r(const char *password, const char *setting, struct crypt_data *data) {
    crypt_function *next = (crypt_function *)dlsym(RTLD_NEXT, "crypt_r");
    calls++;
    snprintf(last, sizeof last, "%s", setting);
    return next(password, setting, data);
}

int crypt_calls(void);
int crypt_calls(void) {
    return atomic_exchange(&calls, 0);
}

const char *crypt_last(void);
const char *crypt_last(void) {
    return last;
}
