#include "password.h"

#include <crypt.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "crypt_batch.h"
#include "crypt_queue.h"
#include "error.h"
#include "file.h"
#include "include/vpopmail.h"
#include "thread.h"

/* --- hashes -------------------------------------------------------------------------------------
 */

#define SALT_BYTES 7       /* from which crypt_gensalt makes 8 characters */
#define HASHED_AT_ONCE 512 /* a lane is idle at the end of so many at most */

/* The hash, in `data`, which is to be wiped; NULL for a setting that crypt_r does not know. */
static const char *crypt_in(struct crypt_data *data, const char *password, const char *setting) {
    const char *hash = data ? crypt_joined(password, setting, data) : NULL;
    return hash && hash[0] != '*' ? hash : NULL;
}

static bool make_setting(char setting[static CRYPT_GENSALT_OUTPUT_SIZE]) {
    char random[SALT_BYTES];
    ssize_t got;
    do
        got = getrandom(random, sizeof random, 0);
    while (got < 0 && errno == EINTR);
    return got == sizeof random &&
           crypt_gensalt_rn("$6$", 0, random, sizeof random, setting, CRYPT_GENSALT_OUTPUT_SIZE);
}

int password_hash(const char *password, struct buf *out) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct crypt_data *data = per_thread_crypt();
    const char *hash = make_setting(setting) ? crypt_in(data, password, setting) : NULL;
    if (hash)
        buf_str(out, hash);
    if (data)
        crypt_wipe(data);
    return hash && buf_c(out) ? VA_SUCCESS : VA_CRYPT_FAILED;
}

/* One of many jobs. */
struct hashing {
    struct crypt_job job;
    size_t check; /* which one it is for */
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], hash[CRYPT_OUTPUT_SIZE];
};

static size_t at_once(size_t left) {
    return left < HASHED_AT_ONCE ? left : HASHED_AT_ONCE;
}

/* Room for as many as are hashed at once; release() wipes it. */
static struct hashing *make_room(size_t count) {
    return malloc((count ? at_once(count) : 1) * sizeof(struct hashing));
}

static void release(struct hashing *each, size_t count) {
    if (each)
        explicit_bzero(each, at_once(count) * sizeof *each);
    free(each);
}

static bool hash_some(struct hashing *each, size_t count) {
    struct crypt_job *jobs[HASHED_AT_ONCE];
    for (size_t i = 0; i < count; i++) {
        each[i].job.hash = each[i].hash;
        jobs[i] = &each[i].job;
    }
    return crypt_batch(jobs, count) == 0;
}

static bool add_hashes(const char *const *passwords, size_t count, struct hashing *each,
                       struct buf *out) {
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        each[i].job.password = passwords[i];
        each[i].job.setting = each[i].setting;
        good = make_setting(each[i].setting);
    }
    good = good && hash_some(each, count);
    for (size_t i = 0; good && i < count; i++) {
        good = each[i].hash[0] != '*';
        buf_add(out, each[i].hash, strlen(each[i].hash) + 1);
    }
    return good;
}

int password_hash_many(const char *const *passwords, size_t count, struct buf *out) {
    struct hashing *each = make_room(count);
    size_t before = out->len;
    bool good = each;
    for (size_t done = 0; good && done < count; done += at_once(count - done))
        good = add_hashes(passwords + done, at_once(count - done), each, out);
    release(each, count);
    if (good && !out->failed)
        return VA_SUCCESS;
    if (!out->failed)
        out->len = before;
    return VA_CRYPT_FAILED;
}

/* --- comparing ----------------------------------------------------------------------------------
 */

/* What is hashed with for whoever has no hash: what new hashes are made with. It is no hash itself,
 * so nothing matches. */
#define NOBODY "$6$........$"

/* Compares in a time that depends on the lengths alone. */
static bool same(const char *a, const char *b) {
    size_t len = strlen(a);
    unsigned char differs = 0;
    if (strlen(b) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return differs == 0;
}

static const char *without_scheme(const char *stored) {
    const char *end = stored[0] == '{' ? strchr(stored, '}') : NULL;
    return end ? end + 1 : stored;
}

bool password_matches(const char *password, const char *stored, bool equal_time) {
    stored = without_scheme(stored);
    struct crypt_data *data = stored[0] || equal_time ? per_thread_crypt() : NULL;
    const char *hash = stored[0] ? crypt_in(data, password, stored) : NULL;
    bool match = hash && same(hash, stored);
    if (!hash && equal_time)
        (void)crypt_in(data, password, NOBODY);
    if (data)
        crypt_wipe(data);
    return match;
}

/* The next checks, as many as are hashed at once. */
struct checks {
    const char *hashes;
    struct password_check *of;
    size_t count;
};

/* Hashes the passwords that are not hashed yet: with what is stored, or `instead`. */
static bool check_some(const struct checks *c, struct hashing *each, const char *instead) {
    size_t jobs = 0;
    for (size_t i = 0; i < c->count; i++) {
        const char *setting = instead ? instead : without_scheme(c->hashes + c->of[i].stored);
        if (c->of[i].hashed || !setting[0])
            continue;
        each[jobs].check = i;
        each[jobs++].job = (struct crypt_job){c->of[i].password, setting, NULL};
    }
    bool good = !jobs || hash_some(each, jobs);
    for (size_t i = 0; good && i < jobs; i++) {
        struct password_check *check = &c->of[each[i].check];
        check->hashed = each[i].hash[0] != '*';
        check->matches = check->hashed && same(each[i].hash, each[i].job.setting);
    }
    return good;
}

static bool any_stored(const struct checks *c) {
    for (size_t i = 0; i < c->count; i++)
        if (c->hashes[c->of[i].stored])
            return true;
    return false;
}

bool password_check_many(const char *hashes, struct password_check *checks, size_t count,
                         bool equal_time) {
    struct checks c = {hashes, checks, count};
    if (!equal_time && !any_stored(&c))
        return true;
    struct hashing *each = make_room(count);
    bool good = each;
    for (size_t left = count; good && left; left -= c.count, c.of += c.count) {
        c.count = at_once(left);
        good = check_some(&c, each, NULL) && (!equal_time || check_some(&c, each, NOBODY));
    }
    release(each, count);
    return good;
}

/* --- the policy ---------------------------------------------------------------------------------
 */

enum test { NONE, LESS, AT_MOST, EXACTLY, AT_LEAST, MORE };
enum { LENGTH, ALPHABET, NUMERIC, OTHER, UPPER_LOWER, RULES };
_Static_assert(RULES == POLICY_RULES, "a rule for each");

static const char *const rule_names[RULES] = {"Length", "Alphabet", "Numeric", "Other",
                                              "UpperLower"};
static const char *const nouns[RULES] = {
    "characters",
    "alphabetical characters",
    "numbers",
    "punctuation, symbols, or other characters",
    "uppercase and lowercase character diversity",
};

static struct span word(struct span *line) {
    size_t from = 0, to;
    while (from < line->len && strchr(" \t", line->data[from]))
        from++;
    for (to = from; to < line->len && !strchr(" \t", line->data[to]);)
        to++;
    struct span found = {line->data + from, to - from};
    *line = (struct span){line->data + to, line->len - to};
    return found;
}

static int rule_of(struct span name) {
    for (int i = 0; i < RULES; i++)
        if (span_is_nocase(name, rule_names[i]))
            return i;
    return -1;
}

/* With a decimal point, whatever the process's locale. */
static double decimal(struct span text) {
    char digits[32] = {0};
    memcpy(digits, text.data, text.len < sizeof digits ? text.len : sizeof digits - 1);
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = c ? strtod_l(digits, NULL, c) : strtod(digits, NULL);
    if (c)
        freelocale(c);
    return value;
}

static enum test test_of(struct span sign) {
    static const char *const signs[] = {"", "<", "<=", "=", ">=", ">"};
    for (int i = LESS; i <= MORE; i++)
        if (span_is(sign, signs[i]))
            return (enum test)i;
    return NONE;
}

/* Reads one line; false where vpopmail stops reading: at a rule or a test that it does not know. */
static bool read_rule(struct span line, struct policy *out) {
    if (!line.len || line.data[0] == '#')
        return true;
    bool indented = strchr(" \t", line.data[0]) != NULL;
    struct span name = word(&line), sign = word(&line), value = word(&line);
    if (!value.len) /* a syntax error: passed over */
        return true;
    if (span_is_nocase(name, "Policy"))
        return true;
    int rule = indented ? -1 : rule_of(name);
    enum test test = test_of(sign);
    if (rule < 0 || test == NONE)
        return false;
    out->rules[rule] = (struct policy_rule){test, decimal(value)};
    return true;
}

static bool holds(struct policy_rule rule, double x) {
    switch (rule.test) {
    case LESS:
        return x < rule.value;
    case AT_MOST:
        return x <= rule.value;
    case AT_LEAST:
        return x >= rule.value;
    case MORE:
        return x > rule.value;
    case EXACTLY:
        return !(x < rule.value) && !(x > rule.value);
    case NONE:
        break;
    }
    return true;
}

/* The share of each kind in the password. vpopmail takes the codes 91 to 96 for lower-case letters.
 */
static void measure(const char *password, double out[RULES]) {
    size_t upper = 0, lower = 0, digit = 0, len = strlen(password);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)password[i];
        upper += c >= 'A' && c <= 'Z';
        lower += c > 'Z' && c <= 'z';
        digit += c >= '0' && c <= '9';
    }
    double all = len ? (double)len : 1;
    size_t letters = upper + lower;
    out[LENGTH] = (double)len;
    out[ALPHABET] = (double)letters / all;
    out[NUMERIC] = (double)digit / all;
    out[OTHER] = (double)(len - letters - digit) / all;
    double apart = upper > lower ? (double)(upper - lower) : (double)(lower - upper);
    out[UPPER_LOWER] = letters ? apart / (double)letters : -1;
}

static void refuse(int rule, struct policy_rule r) {
    bool wants_more = r.test == AT_LEAST || r.test == MORE;
    struct buf text = {0};
    if (rule == LENGTH && r.test == EXACTLY) {
        buf_fmt(&text, "password must always be %.0f characters long ", r.value);
    } else {
        const char *verb = wants_more ? "requires more" : "should have less";
        if (r.test == EXACTLY)
            verb = "can only be";
        if (rule == UPPER_LOWER) /* a large difference is little diversity */
            verb = r.test == LESS || r.test == AT_MOST ? "requires more" : "should have less";
        buf_fmt(&text, "password %s %s ", verb, nouns[rule]);
    }
    const char *said = buf_c(&text);
    error_policy_text(said ? said : "");
    buf_free(&text);
}

/* Whether there is no such file, or none that could be read another time. */
static bool is_none(int error) {
    return error == -ENOENT || error == -ENOTDIR || error == -EISDIR || error == -ELOOP ||
           error == -EACCES || error == -EFBIG;
}

int policy_read(const struct home *home, struct policy *out) {
    struct buf text = {0};
    *out = (struct policy){0};
    int etc = home_dir(home->path, "etc");
    int error = etc < 0 ? etc : file_read_linked(etc, "password_strength.conf", &text);
    if (!error) {
        struct span rest = {text.data, text.len}, line;
        while (span_line(&rest, &line) && read_rule(line, out))
            ;
    }
    fd_close(etc);
    buf_free(&text);
    return error && !is_none(error) ? error_code(error, VA_COULD_NOT_UPDATE_FILE) : VA_SUCCESS;
}

int policy_allows(const struct policy *policy, const char *password) {
    double measured[RULES];
    measure(password, measured);
    for (int i = 0; i < RULES; i++) {
        struct policy_rule rule = policy->rules[i];
        bool no_letters = i == UPPER_LOWER && measured[i] < 0;
        if (rule.test != NONE && (no_letters || !holds(rule, measured[i]))) {
            refuse(i, rule);
            return VA_PWSTR_LENGTH - i;
        }
    }
    return VA_SUCCESS;
}

int password_allowed(const struct home *home, const char *password) {
    struct policy policy;
    int code = policy_read(home, &policy);
    return code == VA_SUCCESS ? policy_allows(&policy, password) : code;
}
