/* Files that may be large: read line by line, written in blocks, so that neither takes more memory
 * than a block and the longest line. */
#ifndef VP_STREAM_H
#define VP_STREAM_H

#include <stdint.h>

#include "buf.h"

#define LINE_LARGEST (1 << 20) /* what is longer, as a hole in a file, is no line of an account */

/* Zero it, save for the descriptor of the file. */
struct lines {
    int fd;
    struct buf block;
    size_t from; /* the lines before are taken */
    bool ended;
};
/* The next line, without its newline, which is there until the next call: 1, 0 at the end, or
 * -errno; -EFBIG where it is too long. */
int lines_next(struct lines *l, struct span *line);
void lines_free(struct lines *l);

/* The same to write. What fails is told by writer_end(). */
struct writer {
    int fd;
    struct buf block;
    uint64_t done; /* bytes that have left the block */
    uint64_t sent; /* of these what the disk was told to write */
    int error;
};
void writer_add(struct writer *w, struct span data);
/* Room for that many bytes, which count as written; NULL where there is none. */
char *writer_room(struct writer *w, size_t len);
/* How many bytes the file has. */
uint64_t writer_at(const struct writer *w);
/* Writes what is left, and frees: 0 or -errno. */
int writer_end(struct writer *w);

#endif
