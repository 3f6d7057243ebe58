#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

#define BLOCK 131072
#define SENT (2 << 20)

/* Reads as much as there is room for: at least a block, and twice as much whenever a line is longer
 * than what there was, so that no byte is moved or looked at more than a few times. */
static int fill(struct lines *l) {
    size_t left = l->block.len - l->from;
    if (l->from) {
        memmove(l->block.data, l->block.data + l->from, left);
        l->from = 0;
        l->block.len = left;
    }
    size_t more = left < BLOCK ? BLOCK : left;
    char *to = buf_room(&l->block, more);
    ssize_t n;
    if (!to)
        return -ENOMEM;
    do
        n = read(l->fd, to, more);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    l->block.len += (size_t)n;
    l->ended = n == 0;
    return 0;
}

int lines_next(struct lines *l, struct span *line) {
    struct span rest;
    const char *end;
    for (;;) {
        rest = (struct span){l->block.data, l->block.len};
        if (l->from) /* NULL + 0 is not defined */
            rest = (struct span){rest.data + l->from, rest.len - l->from};
        end = rest.len ? memchr(rest.data, '\n', rest.len) : NULL;
        if (end || l->ended || rest.len > LINE_LARGEST)
            break;
        int error = fill(l);
        if (error)
            return error;
    }
    *line = (struct span){rest.data, end ? (size_t)(end - rest.data) : rest.len};
    if (line->len > LINE_LARGEST)
        return -EFBIG;
    l->from += line->len + (end ? 1 : 0);
    return rest.len != 0;
}

void lines_free(struct lines *l) {
    buf_free(&l->block);
}

static void flush(struct writer *w) {
    if (!w->error && w->block.failed)
        w->error = -ENOMEM;
    if (!w->error)
        w->error = fd_write(w->fd, (struct span){w->block.data, w->block.len});
    w->done += w->block.len;
    buf_clear(&w->block);
    /* The disk begins while there is more to come; who syncs the file then waits for less. */
    if (w->done - w->sent >= SENT) {
        (void)sync_file_range(w->fd, (off_t)w->sent, (off_t)(w->done - w->sent),
                              SYNC_FILE_RANGE_WRITE);
        w->sent = w->done;
    }
}

char *writer_room(struct writer *w, size_t len) {
    if (w->block.len && w->block.len + len > BLOCK)
        flush(w);
    char *room = buf_room(&w->block, len);
    if (room)
        w->block.len += len;
    return room;
}

void writer_add(struct writer *w, struct span data) {
    char *room = writer_room(w, data.len);
    if (room && data.len)
        memcpy(room, data.data, data.len);
}

uint64_t writer_at(const struct writer *w) {
    return w->done + w->block.len;
}

int writer_end(struct writer *w) {
    flush(w);
    buf_free(&w->block);
    return w->error;
}
