/* What the fuzz targets share. Each includes the source whose inner functions it calls; the rest
 * of the library is linked from an archive, compiled for libFuzzer (see __main__.py). */
#ifndef VP_FUZZ_H
#define VP_FUZZ_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* Ends the process where what has to hold does not. */
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy that ends where its block ends, so that a byte read after it is seen. */
static inline struct span held(const unsigned char *data, size_t size) {
    char *copy = malloc(size ? size : 1);
    HOLDS(copy);
    if (size)
        memcpy(copy, data, size);
    return (struct span){copy, size};
}

static inline struct span of(const struct buf *b) {
    return (struct span){b->data, b->len};
}

static inline bool equal(struct span a, struct span b) {
    return span_cmp(a, b) == 0;
}

/* Takes what stands before the first NUL off the input. */
static inline struct span before_nul(struct span *rest) {
    struct span part = {"", 0};
    (void)span_field(rest, '\0', &part);
    return part;
}

/* A file in memory alone, that is made once for the process. */
static inline int memory_file(struct span content) {
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    HOLDS(fd >= 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    HOLDS(fd_write(fd, content) == 0);
    return fd;
}

/* The directory that the process was started in, which is its own. */
static inline int scratch(void) {
    static int fd = -1;
    if (fd < 0)
        fd = dir_open(AT_FDCWD, ".", false);
    HOLDS(fd >= 0);
    return fd;
}

#endif
