/* Preloaded by test_no_memory.py: has one allocation fail, or all from one on, save those of Python's
 * own. They are counted in memory that the processes share. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANGES 16

struct state {
    long left;    /* allocations up to the one that fails; 0: none does */
    long failed;  /* how many did */
    int all;      /* whether those after it do, too */
    int count;    /* of the ranges of code whose allocations are Python's own */
    struct {
        uintptr_t from, to;
    } own[RANGES];
};

static struct state *volatile state;

void fail_allocations(struct state *shared);
void fail_allocations(struct state *shared) {
    state = shared;
}

static bool fails(const void *caller) {
    struct state *s = state;
    uintptr_t at = (uintptr_t)caller;
    if (!s)
        return false;
    for (int i = 0; i < s->count; i++)
        if (at >= s->own[i].from && at < s->own[i].to)
            return false;
    bool fails = __atomic_sub_fetch(&s->left, 1, __ATOMIC_SEQ_CST) == 0 || (s->all && s->failed);
    if (fails) {
        (void)__atomic_add_fetch(&s->failed, 1, __ATOMIC_SEQ_CST);
        errno = ENOMEM;
    }
    return fails;
}

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}
