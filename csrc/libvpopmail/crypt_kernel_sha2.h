/* One kernel of SHA-2. crypt_kernel.c includes this for each: with its name (KERNEL), the size of a
 * word in bits (BITS), the number of lanes (LANES). */
#define WORD CAT(CAT(uint, BITS), _t)
#define STATE_WORDS 8
#if BITS == 64
#define ROUNDS 80
#define SUM0 28, 34, 39
#define SUM1 14, 18, 41
#define EXPAND0 1, 8, 7
#define EXPAND1 19, 61, 6
#else
#define ROUNDS 64
#define SUM0 2, 13, 22
#define SUM1 6, 11, 25
#define EXPAND0 7, 18, 3
#define EXPAND1 17, 19, 10
#endif

#define SUM(x, ...) SUM_OF(x, __VA_ARGS__)
#define SUM_OF(x, i, j, k) (RIGHT(x, i) ^ RIGHT(x, j) ^ RIGHT(x, k))
#define EXPAND(x, ...) EXPAND_OF(x, __VA_ARGS__)
#define EXPAND_OF(x, i, j, k) (RIGHT(x, i) ^ RIGHT(x, j) ^ ((x) >> (k)))
#define ROUND(a, b, c, d, e, f, g, h, i)                                                           \
    do {                                                                                           \
        V sum = h + (w[i] + (WORD)(k[i] >> (64 - BITS))) + (SUM(e, SUM1) + (g ^ (e & (f ^ g))));   \
        d += sum;                                                                                  \
        h = sum + (SUM(a, SUM0) + MAJORITY(a, b, c));                                              \
    } while (0)
/* The word of the round 16 after this one. */
#define ROUND_AND_NEXT(a, b, c, d, e, f, g, h, i)                                                  \
    do {                                                                                           \
        ROUND(a, b, c, d, e, f, g, h, i);                                                          \
        w[i] += w[(i + 9) & 15] +                                                                  \
                (EXPAND(w[(i + 1) & 15], EXPAND0) + EXPAND(w[(i + 14) & 15], EXPAND1));            \
    } while (0)
#define EIGHT(DO, i)                                                                               \
    do {                                                                                           \
        DO(a, b, c, d, e, f, g, h, i);                                                             \
        DO(h, a, b, c, d, e, f, g, i + 1);                                                         \
        DO(g, h, a, b, c, d, e, f, i + 2);                                                         \
        DO(f, g, h, a, b, c, d, e, i + 3);                                                         \
        DO(e, f, g, h, a, b, c, d, i + 4);                                                         \
        DO(d, e, f, g, h, a, b, c, i + 5);                                                         \
        DO(c, d, e, f, g, h, a, b, i + 6);                                                         \
        DO(b, c, d, e, f, g, h, a, i + 7);                                                         \
    } while (0)

KERNEL_ATTRIBUTES static void KERNEL(struct lanes *lanes) {
    VECTORS;
    V w[16], s[STATE_ROWS];
    const uint64_t *k = sha2_constants;
    LOAD_BLOCKS(w, lanes);
    UNROLL for (int i = 0; i < 16; i++) w[i] = SWAPPED(w[i]);
    LOAD_STATE(s, lanes, (WORD)(sha2_start[i_] >> (64 - BITS)));
    V a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int i = 16; i < ROUNDS; i += 16) {
        EIGHT(ROUND_AND_NEXT, 0);
        EIGHT(ROUND_AND_NEXT, 8);
        k += 16;
        NOT_KNOWN(k);
    }
    EIGHT(ROUND, 0);
    EIGHT(ROUND, 8);
    V sums[] = {a, b, c, d, e, f, g, h};
    UNROLL for (int i = 0; i < STATE_WORDS; i++) s[i] += sums[i];
    STORE_STATE(s, lanes);
    UNROLL for (int i = 0; i < STATE_WORDS; i++) s[i] = SWAPPED(s[i]);
    STORE_DIGESTS(s, lanes);
}

#undef KERNEL
#undef BITS
#undef LANES
#undef WORD
#undef STATE_WORDS
#undef ROUNDS
#undef SUM0
#undef SUM1
#undef EXPAND0
#undef EXPAND1
#undef SUM
#undef SUM_OF
#undef EXPAND
#undef EXPAND_OF
#undef ROUND
#undef ROUND_AND_NEXT
#undef EIGHT
