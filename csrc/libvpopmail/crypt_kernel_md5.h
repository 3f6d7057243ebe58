/* One kernel of MD5. crypt_kernel.c includes this for each: with its name (KERNEL) and the number
 * of lanes (LANES). */
#define WORD uint32_t
#define BITS 32
#define STATE_WORDS 4

#define STEP(f, a, b, c, d, i, word, turn)                                                         \
    do {                                                                                           \
        V sum = a + (w[(word) & 15] + md5_constants[i]) + (f);                                     \
        a = b + RIGHT(sum, BITS - (turn));                                                         \
    } while (0)
#define FOUR(F, i, step, from, t0, t1, t2, t3)                                                     \
    do {                                                                                           \
        STEP(F(b, c, d), a, b, c, d, i, (step) * (i) + (from), t0);                                \
        STEP(F(a, b, c), d, a, b, c, i + 1, (step) * ((i) + 1) + (from), t1);                      \
        STEP(F(d, a, b), c, d, a, b, i + 2, (step) * ((i) + 2) + (from), t2);                      \
        STEP(F(c, d, a), b, c, d, a, i + 3, (step) * ((i) + 3) + (from), t3);                      \
    } while (0)
#define SIXTEEN(...) UNROLL for (int i = 0; i < 16; i += 4) FOUR(__VA_ARGS__)
#define F1(x, y, z) (z ^ (x & (y ^ z)))
#if LANES == 1 /* x is the word that the steps wait for: nothing to do with it but once */
#define F2(x, y, z) ((y & ~z) + (x & z))
#else
#define F2(x, y, z) (y ^ (z & (x ^ y)))
#endif
#define F3(x, y, z) (x ^ y ^ z)
#define F4(x, y, z) (y ^ (x | ~z))

KERNEL_ATTRIBUTES static void KERNEL(struct lanes *lanes) {
#if LANES == 1
    typedef WORD V;
#else
    VECTORS;
#endif
    V w[16], s[STATE_ROWS];
    LOAD_BLOCKS(w, lanes);
    LOAD_STATE(s, lanes, md5_start[i_]);
    V a = s[0], b = s[1], c = s[2], d = s[3];
    SIXTEEN(F1, i, 1, 0, 7, 12, 17, 22);
    SIXTEEN(F2, i + 16, 5, 1, 5, 9, 14, 20);
    SIXTEEN(F3, i + 32, 3, 5, 4, 11, 16, 23);
    SIXTEEN(F4, i + 48, 7, 0, 6, 10, 15, 21);
    V sums[] = {a, b, c, d};
    UNROLL for (int i = 0; i < STATE_WORDS; i++) s[i] += sums[i];
    STORE_STATE(s, lanes);
    STORE_DIGESTS(s, lanes);
}

#undef KERNEL
#undef LANES
#undef WORD
#undef BITS
#undef STATE_WORDS
#undef STEP
#undef FOUR
#undef SIXTEEN
#undef F1
#undef F2
#undef F3
#undef F4
