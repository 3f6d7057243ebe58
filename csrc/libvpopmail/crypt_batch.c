/* The lanes' messages are those of Drepper's "Unix crypt using SHA-256 and SHA-512", by whose names
 * they go here (MD5-crypt lacks DP and DS: its P and S are the password and the salt):
 *   B   password, salt, password
 *   A   password, salt, B for as many bytes as the password has, then by the bits of that length
 *   DP  the password as often as it has bytes; P is DP's digest for as many bytes
 *   DS  the salt 16 times and as often as A's first byte says; S is its digest likewise
 *   C   the rounds: A's digest, later the round's before, with P and S, in one of eight orders
 * Every lane is at a place of its own in a password of its own; one with nothing left to do goes on
 * with the next job.
 *
 * What is done, and so the time that it takes, depends on the lengths of password and salt, on the
 * rounds, and in A (for MD5) and DS (for SHA) on bits of that length and on the first byte of A's
 * digest: the algorithm's own, and crypt_r's. So do the reading of a setting and the spelling of a
 * hash with the same 64 characters, as crypt_r does it. The kernels have no branch and no look-up
 * that depends on what they hash. All that was worked in is wiped.
 *
 * Of what others maintain, John the Ripper has SHA-crypt in lanes, but is a program, takes 79 bytes
 * at most and wants passwords of one length together; intel-ipsec-mb has SHA-512 alone in lanes,
 * inside a library for IPsec. */
#include "crypt_batch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define PASSWORD_MAX (CRYPT_MAX_PASSPHRASE_SIZE - 1)
#define SALT_MAX 16
#define BLOCK_MAX 128
#define DIGEST_MAX 64
#define LAYOUTS 8
/* A round's longest message, with its padding. */
#define ROUND_MAX                                                                                  \
    ((DIGEST_MAX + 2 * PASSWORD_MAX + SALT_MAX + 17 + BLOCK_MAX - 1) / BLOCK_MAX * BLOCK_MAX)
#define CYCLE 42 /* what a round's message is made of depends on its number modulo 2, 3 and 7 */

struct method {
    char prefix[4];
    size_t salt_max, block, digest;
    bool sha; /* has rounds= and is big-endian */
    /* In which order the digest's bytes are spelled. */
    unsigned char order[DIGEST_MAX];
};

static const struct method methods[HASHES] = {
    [SHA512] = {"$6$", 16, 128, 64, true, {0,  21, 42, 22, 43, 1,  44, 2,  23, 3,  24, 45, 25,
                                           46, 4,  47, 5,  26, 6,  27, 48, 28, 49, 7,  50, 8,
                                           29, 9,  30, 51, 31, 52, 10, 53, 11, 32, 12, 33, 54,
                                           34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59,
                                           17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41, 63}},
    [SHA256] = {"$5$", 16, 64, 32, true, {0,  10, 20, 21, 1,  11, 12, 22, 2,  3,  13,
                                          23, 24, 4,  14, 15, 25, 5,  6,  16, 26, 27,
                                          7,  17, 18, 28, 8,  9,  19, 29, 31, 30}},
    [MD5] = {"$1$", 8, 64, 16, false, {0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11}},
};

/* --- settings -----------------------------------------------------------------------------------
 */

static const char alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Without a branch or a look-up: a stored hash is looked at, too. */
static bool is_in_alphabet(char c) {
    unsigned int u = (unsigned char)c;
    return (u - '.' <= '9' - '.') | (u - 'A' < 26) | (u - 'a' < 26);
}

static size_t salt_length(const char *text) {
    size_t len = 0;
    while (is_in_alphabet(text[len]))
        len++;
    return len;
}

/* Whether all the text is of the alphabet and $. */
static bool is_plain(const char *text) {
    bool plain = true;
    for (; *text; text++)
        plain &= is_in_alphabet(*text) | (*text == '$');
    return plain;
}

struct setting {
    enum hash hash; /* HASHES: left to crypt_r */
    unsigned long rounds;
    struct span rounds_text; /* as in rounds=5000$ */
    struct span salt;
};

/* Reads what stands between rounds= and $; 0 for a number that crypt_r does not take. */
static unsigned long read_rounds(const char *text, size_t *len) {
    unsigned long rounds = 0;
    *len = strspn(text, "0123456789");
    if (text[0] == '0' || *len < 4 || *len > 9 || text[*len] != '$')
        return 0;
    for (size_t i = 0; i < *len; i++)
        rounds = rounds * 10 + (unsigned long)(text[i] - '0');
    return rounds;
}

/* Takes only what is beyond doubt; crypt_r has the last word on everything else. */
static struct setting read_setting(const char *text) {
    static const char rounds[] = "rounds=";
    struct setting s = {.hash = 0, .rounds = 0};
    while (s.hash < HASHES && strncmp(text, methods[s.hash].prefix, 3) != 0)
        s.hash++;
    if (s.hash == HASHES)
        return s;
    const struct method *method = &methods[s.hash];
    s.rounds = method->sha ? 5000 : 1000;
    text += 3;
    if (method->sha && strncmp(text, rounds, sizeof rounds - 1) == 0) {
        size_t digits;
        s.rounds = read_rounds(text + sizeof rounds - 1, &digits);
        s.rounds_text = (struct span){text, sizeof rounds - 1 + digits + 1};
        text += s.rounds ? s.rounds_text.len : 0;
    }
    s.salt = (struct span){text, salt_length(text)};
    if (!s.rounds || !is_plain(text + s.salt.len))
        s.hash = HASHES;
    if (s.salt.len > method->salt_max)
        s.salt.len = method->salt_max;
    return s;
}

/* --- a lane -------------------------------------------------------------------------------------
 */

enum message { B, A, DP, DS, C, MESSAGES };

/* One of a round's eight messages: where in the text it begins, and the digest in it. */
struct layout {
    size_t at, blocks, digest;
};

struct lane {
    alignas(64) unsigned char text[LAYOUTS * ROUND_MAX];
    unsigned char digests[MESSAGES][DIGEST_MAX];
    unsigned char p[PASSWORD_MAX], s[SALT_MAX];
    size_t password_len;
    struct setting setting;
    struct crypt_job *job; /* NULL: nothing left to do */
    enum message message;
    size_t blocks; /* of the message that are ready in the text, with the one at work */
    /* The messages before C, which are written block by block. */
    struct span piece; /* what is left of the piece that is being copied */
    size_t pieces;     /* those begun */
    size_t written;    /* bytes */
    bool ended;
    /* C. */
    struct layout layouts[LAYOUTS];
    unsigned long rounds; /* left */
    unsigned int turn;    /* 0 to CYCLE - 1 */
};

struct batch {
    const struct method *method;
    const struct kernel *kernel;
    struct crypt_job *const *jobs;
    size_t left;
    unsigned int busy;
    unsigned char layout[CYCLE]; /* each turn's */
    struct lanes lanes;
    struct lane lane[];
};

/* Ends a message of `length` bytes, of which the last `at` are in the text; tells how many blocks
 * these have become. */
static size_t end_message(const struct method *m, unsigned char *text, size_t at, size_t length) {
    size_t blocks = (at + 1 + m->block / 8 + m->block - 1) / m->block, size = blocks * m->block;
    memset(text + at, 0, size - at);
    text[at] = 0x80;
    for (size_t i = 0; i < 8; i++)
        text[m->sha ? size - 1 - i : size - 8 + i] = (unsigned char)((uint64_t)length * 8 >> 8 * i);
    return blocks;
}

static bool piece_of_a(const struct method *m, const struct lane *l, size_t n, struct span *out) {
    size_t len = l->password_len, chunks = (len + m->digest - 1) / m->digest;
    struct span password = {l->job->password, len},
                digest = {(const char *)l->digests[B], m->digest};
    if (n < 3) {
        struct span first[] = {password, {m->prefix, m->sha ? 0 : 3}, l->setting.salt};
        *out = first[n];
        return true;
    }
    n -= 3;
    if (n < chunks) {
        *out = digest;
        if (n == chunks - 1)
            out->len = len - n * m->digest;
        return true;
    }
    n -= chunks;
    bool odd = len >> n & 1;
    if (m->sha)
        *out = odd ? digest : password;
    else
        *out = (struct span){odd ? "" : password.data, 1};
    return len >> n != 0;
}

/* The n-th piece of the message; false at its end. */
static bool piece(const struct method *m, const struct lane *l, size_t n, struct span *out) {
    if (l->message == A)
        return piece_of_a(m, l, n, out);
    bool salt = l->message == DS || (l->message == B && n == 1);
    *out = salt ? l->setting.salt : (struct span){l->job->password, l->password_len};
    return n < (l->message == B    ? 3
                : l->message == DP ? l->password_len
                                   : 16 + (size_t)l->digests[A][0]);
}

/* The message's next block, with the padding's own after the last. */
static void write_block(const struct method *m, struct lane *l) {
    size_t at = 0;
    while (at < m->block && !l->ended) {
        if (!l->piece.len) {
            l->ended = !piece(m, l, l->pieces++, &l->piece);
            continue;
        }
        size_t len = l->piece.len < m->block - at ? l->piece.len : m->block - at;
        memcpy(l->text + at, l->piece.data, len);
        l->piece = (struct span){l->piece.data + len, l->piece.len - len};
        at += len;
    }
    l->written += at;
    l->blocks = l->ended ? end_message(m, l->text, at, l->written) : 1;
}

static void begin_message(struct batch *b, unsigned int i, enum message message) {
    struct lane *l = &b->lane[i];
    l->message = message;
    l->piece = (struct span){NULL, 0};
    l->pieces = l->written = 0;
    l->ended = false;
    write_block(b->method, l);
    b->lanes.fresh |= 1U << i;
    b->lanes.block[i] = l->text;
    b->lanes.digest[i] = l->digests[message];
}

/* --- the rounds ---------------------------------------------------------------------------------
 */

static void put(struct lane *l, size_t *at, const void *data, size_t len) {
    memcpy(l->text + *at, data, len);
    *at += len;
}

/* Writes the eight messages, all but the digests in them. */
static void lay_out(const struct method *m, struct lane *l) {
    size_t at = 0;
    for (unsigned int i = 0; i < LAYOUTS; i++) {
        struct layout *layout = &l->layouts[i];
        bool odd = i & 1;
        layout->at = at;
        if (odd) {
            put(l, &at, l->p, l->password_len);
        } else {
            layout->digest = at;
            at += m->digest;
        }
        if (i & 2)
            put(l, &at, l->s, l->setting.salt.len);
        if (i & 4)
            put(l, &at, l->p, l->password_len);
        if (odd) {
            layout->digest = at;
            at += m->digest;
        } else {
            put(l, &at, l->p, l->password_len);
        }
        size_t len = at - layout->at;
        layout->blocks = end_message(m, l->text + layout->at, len, len);
        at = layout->at + layout->blocks * m->block;
    }
}

static void begin_round(struct batch *b, unsigned int i) {
    struct lane *l = &b->lane[i];
    const struct layout *layout = &l->layouts[b->layout[l->turn]];
    l->turn = l->turn + 1 < CYCLE ? l->turn + 1 : 0;
    l->blocks = layout->blocks;
    b->lanes.fresh |= 1U << i;
    b->lanes.block[i] = l->text + layout->at;
    /* Straight into the next round's message. */
    b->lanes.digest[i] =
        --l->rounds ? l->text + l->layouts[b->layout[l->turn]].digest : l->digests[C];
}

static void begin_rounds(struct batch *b, unsigned int i) {
    struct lane *l = &b->lane[i];
    lay_out(b->method, l);
    memcpy(l->text + l->layouts[b->layout[0]].digest, l->digests[A], b->method->digest);
    l->message = C;
    l->rounds = l->setting.rounds;
    l->turn = 0;
    begin_round(b, i);
}

/* --- from job to job ----------------------------------------------------------------------------
 */

static void spell(const struct method *m, const struct lane *l, char *out) {
    const struct setting *s = &l->setting;
    const struct span parts[] = {span_of(m->prefix), s->rounds_text, s->salt, {"$", 1}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].len) {
            memcpy(out, parts[i].data, parts[i].len);
            out += parts[i].len;
        }
    for (size_t i = 0; i < m->digest; i += 3) {
        size_t bytes = m->digest - i < 3 ? m->digest - i : 3;
        uint32_t bits = 0;
        for (size_t j = 0; j < bytes; j++)
            bits = bits << 8 | l->digests[C][m->order[i + j]];
        for (size_t j = 0; j <= bytes; j++, bits >>= 6)
            *out++ = alphabet[bits & 63];
    }
    *out = '\0';
}

/* Leaves the lane with a message of zeroes to itself, or begins with the next job. */
static void take(struct batch *b, unsigned int i) {
    struct lane *l = &b->lane[i];
    explicit_bzero(l, sizeof *l);
    b->lanes.fresh |= 1U << i;
    b->lanes.block[i] = l->text;
    b->lanes.digest[i] = l->digests[C];
    if (!b->left)
        return;
    b->left--;
    b->busy++;
    l->job = *b->jobs++;
    l->setting = read_setting(l->job->setting);
    l->password_len = strlen(l->job->password);
    begin_message(b, i, B);
}

static void repeat(unsigned char *out, size_t len, const unsigned char *digest, size_t size) {
    for (size_t i = 0; i < len; i++)
        out[i] = digest[i % size];
}

static void next_message(struct batch *b, unsigned int i) {
    const struct method *m = b->method;
    struct lane *l = &b->lane[i];
    switch (l->message) {
    case B:
        begin_message(b, i, A);
        break;
    case A:
        if (m->sha) {
            begin_message(b, i, DP);
            break;
        }
        memcpy(l->p, l->job->password, l->password_len);
        memcpy(l->s, l->setting.salt.data, l->setting.salt.len);
        begin_rounds(b, i);
        break;
    case DP:
        repeat(l->p, l->password_len, l->digests[DP], m->digest);
        begin_message(b, i, DS);
        break;
    case DS:
        repeat(l->s, l->setting.salt.len, l->digests[DS], m->digest);
        begin_rounds(b, i);
        break;
    default:
        spell(m, l, l->job->hash);
        b->busy--;
        take(b, i);
    }
}

/* After a compression. */
static void advance(struct batch *b, unsigned int i) {
    struct lane *l = &b->lane[i];
    if (!l->job)
        return;
    if (--l->blocks) {
        b->lanes.fresh &= ~(1U << i);
        b->lanes.block[i] += b->method->block;
    } else if (l->rounds) {
        begin_round(b, i);
    } else if (l->message != C && !l->ended) {
        b->lanes.fresh &= ~(1U << i);
        b->lanes.block[i] = l->text;
        write_block(b->method, l);
    } else {
        next_message(b, i);
    }
}

static void run(struct batch *b) {
    for (unsigned int i = 0; i < CYCLE; i++)
        b->layout[i] = (unsigned char)((i & 1) | (i % 3 ? 2 : 0) | (i % 7 ? 4 : 0));
    for (unsigned int i = 0; i < LANES_MAX; i++)
        if (i < b->kernel->lanes)
            take(b, i);
    while (b->busy) {
        b->kernel->compress(&b->lanes);
        for (unsigned int i = 0; i < b->kernel->lanes; i++)
            advance(b, i);
    }
    /* Zeroes in every lane: nothing is left in the registers, or where the kernel kept them. */
    b->kernel->compress(&b->lanes);
}

static int run_lanes(const struct kernel *kernel, enum hash hash, struct crypt_job *const *jobs,
                     size_t count) {
    struct batch *b =
        aligned_alloc(alignof(struct batch), sizeof *b + kernel->lanes * sizeof *b->lane);
    if (!b)
        return -ENOMEM;
    *b = (struct batch){.method = &methods[hash], .kernel = kernel, .jobs = jobs, .left = count};
    run(b);
    free(b);
    return 0;
}

/* libxcrypt's crypt_r wipes what it worked in, but for the hash. Another's may not. */
void crypt_wipe(struct crypt_data *data) {
#ifdef XCRYPT_VERSION_NUM
    explicit_bzero(data->output, sizeof data->output);
#else
    explicit_bzero(data, sizeof *data);
#endif
}

static int run_alone(struct crypt_job *const *jobs, size_t count) {
    struct crypt_data *data = calloc(1, sizeof *data);
    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const char *hash = crypt_r(jobs[i]->password, jobs[i]->setting, data);
        /* Some libcrypts answer NULL. */
        memcpy(jobs[i]->hash, hash ? hash : "*0", hash ? strlen(hash) + 1 : 3);
        crypt_wipe(data);
    }
    free(data);
    return 0;
}

enum hash crypt_job_hash(const struct crypt_job *job, unsigned long *blocks) {
    size_t len = job->password && job->setting ? strlen(job->password) : PASSWORD_MAX + 1;
    if (len > PASSWORD_MAX)
        return HASHES;
    struct setting s = read_setting(job->setting);
    if (s.hash < HASHES) {
        const struct method *m = &methods[s.hash];
        *blocks = s.rounds * (1 + (m->digest + 2 * len + s.salt.len + m->block / 8) / m->block);
    }
    return s.hash;
}

int crypt_batch_by(enum simd simd, struct crypt_job *const *jobs, size_t count) {
    struct crypt_job **chosen = calloc(count ? count : 1, sizeof *chosen);
    enum hash *hashes = calloc(count ? count : 1, sizeof *hashes);
    int error = chosen && hashes ? 0 : -ENOMEM;
    unsigned long blocks;
    for (size_t i = 0; !error && i < count; i++)
        hashes[i] = crypt_job_hash(jobs[i], &blocks);
    for (enum hash hash = 0; !error && hash <= HASHES; hash++) {
        const struct kernel *kernel = hash < HASHES ? crypt_kernel(hash, simd) : NULL;
        const struct kernel *alone = hash < HASHES ? crypt_kernel_alone(hash, simd) : NULL;
        size_t n = 0, last;
        for (size_t i = 0; i < count; i++)
            if (hashes[i] == hash)
                chosen[n++] = jobs[i];
        /* A job with all lanes to itself is better off without them. */
        last = !kernel ? n : n % kernel->lanes == 1;
        if (n > last)
            error = run_lanes(kernel, hash, chosen, n - last);
        if (!error && last)
            error = alone ? run_lanes(alone, hash, chosen + n - last, last)
                          : run_alone(chosen + n - last, last);
    }
    for (size_t i = 0; error && i < count; i++)
        explicit_bzero(jobs[i]->hash, CRYPT_OUTPUT_SIZE);
    free(hashes);
    free(chosen);
    return error;
}

int crypt_batch(struct crypt_job *const *jobs, size_t count) {
    return crypt_batch_by(crypt_simd(), jobs, count);
}
