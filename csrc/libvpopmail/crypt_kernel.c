#include "crypt_kernel.h"

#include <stdlib.h>
#include <string.h>

/* GCC from 12 on, and clang. */
#if defined(__x86_64__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define KERNELS
#endif
#endif

#ifdef KERNELS
#include <immintrin.h>

/* SHA-2's: the fractions of the primes' cube roots and square roots. SHA-256 takes the upper
 * halves. */
static const alignas(16) uint64_t sha2_constants[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};
static const uint64_t sha2_start[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};
/* MD5's: the sines of 1 to 64. */
static const uint32_t md5_constants[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static const uint32_t md5_start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

/* --- what the kernels are made of ---------------------------------------------------------------
 * The vectors are the compiler's own, so the same text serves every width. */

#define CAT(a, b) CAT_OF(a, b)
#define CAT_OF(a, b) a##b
#define UNROLL _Pragma("GCC unroll 16")
/* Keeps the compiler from making of a table's numbers many instructions. */
#define NOT_KNOWN(pointer) __asm__("" : "+r"(pointer))

/* Nothing here is undefined, and to look for it would take the compiler ten times as long. */
#define KERNEL_ATTRIBUTES __attribute__((target(TARGET), no_sanitize("undefined")))

#define VECTORS typedef WORD V __attribute__((vector_size(LANES * BITS / 8)))
#define RIGHT(x, n) (((x) >> (n)) | ((x) << (BITS - (n))))

#define LIST1(DO, s) DO(0, s)
#define LIST4(DO, s) LIST1(DO, s), DO(1, s), DO(2, s), DO(3, s)
#define LIST8(DO, s) LIST4(DO, s), DO(4, s), DO(5, s), DO(6, s), DO(7, s)
#define LIST16(DO, s)                                                                              \
    LIST8(DO, s), DO(8, s), DO(9, s), DO(10, s), DO(11, s), DO(12, s), DO(13, s), DO(14, s),       \
        DO(15, s)
#define LIST(DO, s) CAT(LIST, LANES)(DO, s)

/* A square of LANES words by LANES turned over: at each distance pairs of rows change runs of
 * words. */
#define UPPER(i, s) (i & s ? LANES + i - s : i)
#define LOWER(i, s) (i & s ? LANES + i : i + s)
#define CHANGE(rows, s)                                                                            \
    UNROLL for (int i_ = 0; i_ < LANES; i_++) {                                                    \
        if (i_ & (s))                                                                              \
            continue;                                                                              \
        V upper_ = (rows)[i_], lower_ = (rows)[i_ + (s)];                                          \
        (rows)[i_] = __builtin_shufflevector(upper_, lower_, LIST(UPPER, s));                      \
        (rows)[i_ + (s)] = __builtin_shufflevector(upper_, lower_, LIST(LOWER, s));                \
    }
#define CHANGE1(rows)
#define CHANGE4(rows) CHANGE(rows, 2) CHANGE(rows, 1)
#define CHANGE8(rows) CHANGE(rows, 4) CHANGE4(rows)
#define CHANGE16(rows) CHANGE(rows, 8) CHANGE8(rows)
#define TURN_OVER(rows, count)                                                                     \
    UNROLL for (int from_ = 0; from_ < (count); from_ += LANES) {                                  \
        CAT(CHANGE, LANES)(rows + from_)                                                           \
    }

/* A row of words for every word of the block or of the state, with a column for each lane. */
#define STATE_ROWS (STATE_WORDS > LANES ? STATE_WORDS : LANES)
#define ROW(i) ((unsigned int)(i) / LANES * sizeof(V))
#define LOAD_BLOCKS(w, lanes)                                                                      \
    do {                                                                                           \
        UNROLL for (int i_ = 0; i_ < 16; i_++)                                                     \
            memcpy(&w[i_], (lanes)->block[i_ % LANES] + ROW(i_), sizeof(V));                       \
        TURN_OVER(w, 16)                                                                           \
    } while (0)
#define BIT(i, s) (s) << i
#define LOAD_STATE(s, lanes, start)                                                                \
    do {                                                                                           \
        /* What is true is 1 as a word, and all ones in a vector. */                               \
        V begins_ = 0 - (V)((((lanes)->fresh & (V){LIST(BIT, 1U)}) != 0) & 1);                     \
        UNROLL for (int i_ = 0; i_ < STATE_WORDS; i_++) {                                          \
            memcpy(&s[i_], (lanes)->state + (unsigned int)i_ * sizeof(V), sizeof(V));              \
            s[i_] = (s[i_] & ~begins_) | (begins_ & (start));                                      \
        }                                                                                          \
        UNROLL for (int i_ = STATE_WORDS; i_ < STATE_ROWS; i_++) s[i_] = (V){0};                   \
    } while (0)
#define STORE_STATE(s, lanes) memcpy((lanes)->state, s, STATE_WORDS * sizeof(V))
#define DIGEST_PART (STATE_WORDS < LANES ? STATE_WORDS * BITS / 8 : sizeof(V))
#define STORE_DIGESTS(s, lanes)                                                                    \
    do {                                                                                           \
        TURN_OVER(s, STATE_ROWS)                                                                   \
        UNROLL for (int i_ = 0; i_ < STATE_ROWS; i_++)                                             \
            memcpy((lanes)->digest[i_ % LANES] + ROW(i_), &s[i_], DIGEST_PART);                    \
    } while (0)

/* The order in which a word's bytes are turned round. */
#define SWAP64 0x08090a0b0c0d0e0f, 0x0001020304050607
#define SWAP32 0x0c0d0e0f08090a0b, 0x0405060700010203

/* --- the kernels --------------------------------------------------------------------------------
 */

#define TARGET "avx2,bmi,bmi2"
#define MAJORITY(x, y, z) ((x & y) | (z & (x | y)))
#define SWAPPED(x) (V) _mm256_shuffle_epi8((__m256i)(x), SWAP256(CAT(SWAP, BITS)))
#define SWAP256(...) SWAP256_OF(__VA_ARGS__)
#define SWAP256_OF(h, l) _mm256_set_epi64x(h, l, h, l)

#define KERNEL sha512_avx2
#define BITS 64
#define LANES 4
#include "crypt_kernel_sha2.h"

#define KERNEL sha256_avx2
#define BITS 32
#define LANES 8
#include "crypt_kernel_sha2.h"

#define KERNEL md5_avx2
#define LANES 8
#include "crypt_kernel_md5.h"

#define KERNEL md5_alone
#define LANES 1
#include "crypt_kernel_md5.h"

#include "crypt_kernel_alone.h"

#undef TARGET
#undef MAJORITY
#undef SWAPPED

#define TARGET "avx512f,avx512bw"
#define MAJORITY(x, y, z)                                                                          \
    (V) _mm512_ternarylogic_epi64((__m512i)(x), (__m512i)(y), (__m512i)(z), 0xe8)
#define SWAPPED(x) (V) _mm512_shuffle_epi8((__m512i)(x), SWAP512(CAT(SWAP, BITS)))
#define SWAP512(...) SWAP512_OF(__VA_ARGS__)
#define SWAP512_OF(h, l) _mm512_set4_epi64(h, l, h, l)

#define KERNEL sha512_avx512
#define BITS 64
#define LANES 8
#include "crypt_kernel_sha2.h"

#define KERNEL sha256_avx512
#define BITS 32
#define LANES 16
#include "crypt_kernel_sha2.h"

#define KERNEL md5_avx512
#define LANES 16
#include "crypt_kernel_md5.h"

static const struct kernel kernels[][HASHES] = {
    [SIMD_AVX2] = {{4, sha512_avx2}, {8, sha256_avx2}, {8, md5_avx2}},
    [SIMD_AVX512] = {{8, sha512_avx512}, {16, sha256_avx512}, {16, md5_avx512}},
};
static const struct kernel alone[HASHES] = {[SHA512] = {1, sha512_alone}, [MD5] = {1, md5_alone}};

const struct kernel *crypt_kernel(enum hash hash, enum simd simd) {
    return simd == SIMD_OFF ? NULL : &kernels[simd][hash];
}

const struct kernel *crypt_kernel_alone(enum hash hash, enum simd simd) {
    return simd == SIMD_OFF || !alone[hash].lanes ? NULL : &alone[hash];
}

/* The processor, and the system as well, which has to keep the registers. */
static enum simd processor(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2"))
        return SIMD_OFF;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") ? SIMD_AVX512
                                                                                   : SIMD_AVX2;
}

#else

const struct kernel *crypt_kernel(enum hash hash, enum simd simd) {
    (void)hash;
    (void)simd;
    return NULL;
}

const struct kernel *crypt_kernel_alone(enum hash hash, enum simd simd) {
    return crypt_kernel(hash, simd);
}

static enum simd processor(void) {
    return SIMD_OFF;
}

#endif

static const char *const names[] = {"off", "avx2", "avx512"};
static enum simd allowed;

__attribute__((constructor)) static void at_load(void) {
    const char *wanted = secure_getenv("VPOPMAIL_EXT_SIMD");
    allowed = processor();
    for (enum simd i = SIMD_OFF; wanted && i < allowed; i++)
        if (strcmp(wanted, names[i]) == 0)
            allowed = i;
}

enum simd crypt_simd(void) {
    return allowed;
}

const char *crypt_simd_name(void) {
    return names[allowed];
}
