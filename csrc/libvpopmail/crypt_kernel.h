/* Kernels: one compression of a hash for many messages side by side, a lane each; and which of them
 * the processor can run. */
#ifndef VP_CRYPT_KERNEL_H
#define VP_CRYPT_KERNEL_H

#include <stdalign.h>
#include <stdint.h>

#define LANES_MAX 16

/* The methods of crypt(3) that have kernels: $6$, $5$, $1$. */
enum hash { SHA512, SHA256, MD5, HASHES };

enum simd { SIMD_OFF, SIMD_AVX2, SIMD_AVX512 };

struct lanes {
    alignas(64) unsigned char state[512]; /* every lane's first word, every lane's second, … */
    const unsigned char *block[LANES_MAX];
    unsigned char *digest[LANES_MAX]; /* where the lane's state is put, as a digest's bytes */
    uint32_t fresh;                   /* a bit for every lane whose message begins */
};

struct kernel {
    unsigned int lanes;
    void (*compress)(struct lanes *lanes);
};

/* The most that the processor has and the environment's VPOPMAIL_EXT_SIMD (off, avx2 or avx512)
 * allowed when the library was loaded. */
enum simd crypt_simd(void);
const char *crypt_simd_name(void);
/* The kernel that needs no more than that; NULL where there is none. */
const struct kernel *crypt_kernel(enum hash hash, enum simd simd);
/* The kernel of one lane, for a password without company; NULL where crypt_r is as good. */
const struct kernel *crypt_kernel_alone(enum hash hash, enum simd simd);

#endif
