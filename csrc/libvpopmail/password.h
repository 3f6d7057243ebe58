/* Hashes by crypt(3), and the policy in etc/password_strength.conf. */
#ifndef VP_PASSWORD_H
#define VP_PASSWORD_H

#include <stdbool.h>

#include "buf.h"
#include "paths.h"

/* A new SHA-512 hash ($6$, 8 salt characters); 0 or VA_CRYPT_FAILED. */
int password_hash(const char *password, struct buf *out);
/* The same for many at once in the lanes of a kernel: each hash is followed by a NUL. All or none.
 */
int password_hash_many(const char *const *passwords, size_t count, struct buf *out);
/* Whether the password is the one of a stored hash, which may begin with {SCHEME}; "" is nobody's.
 * With equal_time a stored hash that nothing matches takes as long as a new one would. */
bool password_matches(const char *password, const char *stored, bool equal_time);
/* The same for many at once, whose stored hashes are at places in `hashes`; false where memory ran
 * out. */
struct password_check {
    const char *password;
    size_t stored;
    bool hashed, matches; /* false at first */
};
bool password_check_many(const char *hashes, struct password_check *checks, size_t count,
                         bool equal_time);

/* etc/password_strength.conf; without it everything is allowed. Where it can't be read for want of
 * memory or descriptors nothing is: a code. */
#define POLICY_RULES 5
struct policy {
    struct policy_rule {
        int test;
        double value;
    } rules[POLICY_RULES];
};
int policy_read(const struct home *home, struct policy *out);
/* 0, or one of VA_PWSTR_… with its text kept for verror(). */
int policy_allows(const struct policy *policy, const char *password);
/* The same by the file as it is now. */
int password_allowed(const struct home *home, const char *password);

#endif
