/* SHA-512 for one message: a half faster than libxcrypt's. The rounds are a chain of single words;
 * the words of the rounds to come are made beside it, two at a time, by the vector units, which
 * have nothing else to do. */
#define BITS 64
typedef uint64_t __attribute__((vector_size(16), may_alias)) PAIR;
typedef uint64_t __attribute__((may_alias)) STATE;

/* Two words of the message, with the constants of their rounds. */
#define READY(i)                                                                                   \
    do {                                                                                           \
        PAIR sum_ = w[i] + k[i];                                                                   \
        memcpy(&ready[2 * (i)], &sum_, sizeof sum_);                                               \
    } while (0)
#define BETWEEN(i) __builtin_shufflevector(w[(i) & 7], w[((i) + 1) & 7], 1, 2)
#define SPREAD(x, i, j, n) (RIGHT(x, i) ^ RIGHT(x, j) ^ ((x) >> (n)))
/* The words of the two rounds 16 after these. */
#define NEXT(i)                                                                                    \
    do {                                                                                           \
        w[i] +=                                                                                    \
            BETWEEN((i) + 4) + SPREAD(BETWEEN(i), 1, 8, 7) + SPREAD(w[((i) + 7) & 7], 19, 61, 6);  \
        READY(i);                                                                                  \
    } while (0)
#define NONE(i)
#define SUM(x, i, j, n) (RIGHT(x, i) ^ RIGHT(x, j) ^ RIGHT(x, n))
/* `b_and_c` is where b and c differ: a and b of the round before, so half of the majority is there.
 */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                           \
    do {                                                                                           \
        uint64_t one_ = h + ready[i], two_ = SUM(e, 14, 18, 41) + (g ^ (e & (f ^ g)));             \
        uint64_t a_and_b = a ^ b;                                                                  \
        d += one_;                                                                                 \
        d += two_;                                                                                 \
        h = one_ + (b ^ (a_and_b & b_and_c));                                                      \
        h += two_ + SUM(a, 28, 34, 39);                                                            \
        b_and_c = a_and_b;                                                                         \
    } while (0)
#define EIGHT(THEN, i)                                                                             \
    do {                                                                                           \
        ROUND(a, b, c, d, e, f, g, h, 2 * (i));                                                    \
        ROUND(h, a, b, c, d, e, f, g, 2 * (i) + 1);                                                \
        THEN(i);                                                                                   \
        ROUND(g, h, a, b, c, d, e, f, 2 * (i) + 2);                                                \
        ROUND(f, g, h, a, b, c, d, e, 2 * (i) + 3);                                                \
        THEN((i) + 1);                                                                             \
        ROUND(e, f, g, h, a, b, c, d, 2 * (i) + 4);                                                \
        ROUND(d, e, f, g, h, a, b, c, 2 * (i) + 5);                                                \
        THEN((i) + 2);                                                                             \
        ROUND(c, d, e, f, g, h, a, b, 2 * (i) + 6);                                                \
        ROUND(b, c, d, e, f, g, h, a, 2 * (i) + 7);                                                \
        THEN((i) + 3);                                                                             \
    } while (0)

KERNEL_ATTRIBUTES static void sha512_alone(struct lanes *lanes) {
    const PAIR *k = (const PAIR *)sha2_constants;
    STATE *s = (STATE *)lanes->state;
    uint64_t ready[16];
    PAIR w[8];
    if (lanes->fresh & 1)
        memcpy(s, sha2_start, sizeof sha2_start);
    UNROLL for (int i = 0; i < 8; i++) {
        memcpy(&w[i], lanes->block[0] + (size_t)i * sizeof(PAIR), sizeof(PAIR));
        w[i] = (PAIR)_mm_shuffle_epi8((__m128i)w[i], _mm_set_epi64x(SWAP64));
        READY(i);
    }
    uint64_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    uint64_t b_and_c = b ^ c;
    for (int i = 16; i < 80; i += 16) {
        k += 8;
        NOT_KNOWN(k);
        EIGHT(NEXT, 0);
        EIGHT(NEXT, 4);
    }
    EIGHT(NONE, 0);
    EIGHT(NONE, 4);
    const uint64_t sums[] = {a, b, c, d, e, f, g, h};
    UNROLL for (int i = 0; i < 8; i++) {
        s[i] += sums[i];
        uint64_t bytes = __builtin_bswap64(s[i]);
        memcpy(lanes->digest[0] + (size_t)i * sizeof bytes, &bytes, sizeof bytes);
    }
}

#undef BITS
#undef READY
#undef BETWEEN
#undef SPREAD
#undef NEXT
#undef NONE
#undef SUM
#undef ROUND
#undef EIGHT
