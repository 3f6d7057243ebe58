/* crypt_batch() against crypt_r() on every kernel that the processor has.
 *
 * The input is cut into jobs: a byte for the kind of setting, one each for the setting's and for
 * the password's length, and then both. What takes long (many rounds, other methods) is left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_batch.h"

#define JOBS 20
#define TEXT 600

static const char *const beginnings[] = {
    "", "$6$rounds=1000$", "$5$rounds=1000$", "$1$", "$6$rounds=1", "$5$rounds=1", "$6$rounds=",
};
#define KINDS (sizeof beginnings / sizeof *beginnings)

struct pair {
    char password[TEXT], setting[TEXT], wanted[CRYPT_OUTPUT_SIZE], got[CRYPT_OUTPUT_SIZE];
};

static size_t take(const unsigned char **data, size_t *size, size_t len, char *out) {
    if (len > *size)
        len = *size;
    memcpy(out, *data, len);
    out[len] = '\0';
    *data += len;
    *size -= len;
    return len;
}

/* About as much as the least of what the kernels do. */
static int is_short(const char *setting) {
    const char *rounds = strstr(setting, "rounds=");
    if (setting[0] == '_' || (setting[0] == '$' && (!setting[1] || !strchr("156", setting[1]))))
        return 0;
    return !rounds || strtoul(rounds + strlen("rounds="), NULL, 10) < 1100;
}

static void compare(struct crypt_job *const *jobs, const struct pair *pairs, size_t count) {
    for (enum simd simd = SIMD_OFF; simd <= crypt_simd(); simd++) {
        if (crypt_batch_by(simd, jobs, count))
            abort();
        for (size_t i = 0; i < count; i++)
            if (strcmp(pairs[i].got, pairs[i].wanted) != 0) {
                fprintf(stderr, "kernel %d, password '%s', setting '%s': %s, not %s\n", (int)simd,
                        pairs[i].password, pairs[i].setting, pairs[i].got, pairs[i].wanted);
                abort();
            }
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static struct pair pairs[JOBS];
    static struct crypt_data in;
    struct crypt_job made[JOBS], *jobs[JOBS];
    size_t count = 0;
    while (count < JOBS && size > 3) {
        struct pair *p = &pairs[count];
        const unsigned char *head = data;
        data += 3;
        size -= 3;
        strcpy(p->setting, beginnings[head[0] % KINDS]);
        take(&data, &size, head[1] % 64, p->setting + strlen(p->setting));
        take(&data, &size, head[2] * 2 + (head[0] & 1), p->password);
        if (!is_short(p->setting))
            continue;
        strcpy(p->wanted, crypt_r(p->password, p->setting, &in));
        made[count] = (struct crypt_job){p->password, p->setting, p->got};
        jobs[count] = &made[count];
        count++;
    }
    compare(jobs, pairs, count);
    return 0;
}
