/* crypt(3) for many passwords at once: SHA-512-crypt ($6$), SHA-256-crypt ($5$) and MD5-crypt ($1$)
 * side by side in the lanes of a kernel, the rest by crypt_r. */
#ifndef VP_CRYPT_BATCH_H
#define VP_CRYPT_BATCH_H

#include <crypt.h>
#include <stddef.h>

#include "crypt_kernel.h"

struct crypt_job {
    const char *password, *setting;
    char *hash; /* CRYPT_OUTPUT_SIZE bytes for what crypt_r gives: for a failure *0 or *1 */
};

/* Whose kernel the job is for, and how long it takes, in blocks; HASHES for one that is crypt_r's.
 */
enum hash crypt_job_hash(const struct crypt_job *job, unsigned long *blocks);

/* Fills in every job's hash; 0, or -ENOMEM and every hash is empty. */
int crypt_batch(struct crypt_job *const *jobs, size_t count);
/* The same with the kernels that need no more than `simd`, which the processor must have. */
int crypt_batch_by(enum simd simd, struct crypt_job *const *jobs, size_t count);

/* Wipes what crypt_r left. */
void crypt_wipe(struct crypt_data *data);

#endif
