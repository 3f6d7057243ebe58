#include "cdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLES 256
#define HEADER (TABLES * 8)
#define FIRST_SLOTS 8
/* What a file that lies may cost: records of one hash that are looked at, bytes of a value. */
#define ALIKE_MAX 10000
#define VALUE_MAX (1 << 20)

static uint32_t hash_of(struct span key) {
    uint32_t h = 5381;
    for (size_t i = 0; i < key.len; i++)
        h = ((h << 5) + h) ^ (unsigned char)key.data[i];
    return h;
}

static void pack(unsigned char out[4], uint32_t n) {
    out[0] = (unsigned char)n;
    out[1] = (unsigned char)(n >> 8);
    out[2] = (unsigned char)(n >> 16);
    out[3] = (unsigned char)(n >> 24);
}

static uint32_t unpack(const unsigned char in[4]) {
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static void pack_pair(char *out, uint32_t a, uint32_t b) {
    unsigned char pair[8];
    pack(pair, a);
    pack(pair + 4, b);
    memcpy(out, pair, sizeof pair);
}

/* --- making -------------------------------------------------------------------------------------
 */

void cdb_begin(struct cdb_maker *m, int fd) {
    *m = (struct cdb_maker){.file = {.fd = fd}};
    /* Written over at the end, when it is known what to write. */
    char *header = writer_room(&m->file, HEADER);
    if (header)
        memset(header, 0, HEADER);
}

static bool note(struct cdb_maker *m, struct span key) {
    if (m->count == m->room) {
        size_t room = m->room ? m->room * 2 : 64;
        struct cdb_record *records = realloc(m->records, room * sizeof *records);
        if (!records) {
            m->error = -ENOMEM;
            return false;
        }
        m->records = records;
        m->room = room;
    }
    m->records[m->count++] = (struct cdb_record){hash_of(key), (uint32_t)writer_at(&m->file)};
    return true;
}

void cdb_add(struct cdb_maker *m, struct span key, struct span value) {
    size_t len = 8 + key.len + value.len;
    /* Each record comes with two slots at the end. */
    if (!m->error && writer_at(&m->file) + len + (m->count + 1) * 16 > UINT32_MAX)
        m->error = -EFBIG;
    if (m->error || !note(m, key))
        return;
    char *to = writer_room(&m->file, len);
    if (!to)
        return;
    pack_pair(to, (uint32_t)key.len, (uint32_t)value.len);
    if (key.len)
        memcpy(to + 8, key.data, key.len);
    if (value.len)
        memcpy(to + 8 + key.len, value.data, value.len);
}

/* Puts the records of one table, in their order, into twice as many slots and writes those. */
static void add_table(struct cdb_maker *m, const struct cdb_record *records, uint32_t count,
                      char *header) {
    uint32_t slots = count * 2;
    pack_pair(header, (uint32_t)writer_at(&m->file), slots);
    char *table = writer_room(&m->file, (size_t)slots * 8);
    if (!table)
        return;
    memset(table, 0, (size_t)slots * 8);
    for (uint32_t i = 0; i < count; i++) {
        static const char empty[4]; /* no record stands at 0 */
        uint32_t slot = (records[i].hash >> 8) % slots;
        while (memcmp(table + (size_t)slot * 8 + 4, empty, sizeof empty) != 0)
            slot = slot + 1 == slots ? 0 : slot + 1;
        pack_pair(table + (size_t)slot * 8, records[i].hash, records[i].at);
    }
}

static void add_tables(struct cdb_maker *m, char header[HEADER]) {
    /* A counting sort by table keeps the records' order within each. */
    uint32_t start[TABLES + 1] = {0}, next[TABLES];
    struct cdb_record *sorted = malloc((m->count + 1) * sizeof *sorted);
    if (!sorted) {
        m->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < m->count; i++)
        start[(m->records[i].hash & 255) + 1]++;
    for (int t = 0; t < TABLES; t++)
        start[t + 1] += start[t];
    memcpy(next, start, sizeof next);
    for (size_t i = 0; i < m->count; i++)
        sorted[next[m->records[i].hash & 255]++] = m->records[i];
    for (int t = 0; t < TABLES; t++)
        add_table(m, sorted + start[t], start[t + 1] - start[t], header + 8 * (size_t)t);
    free(sorted);
}

int cdb_end(struct cdb_maker *m) {
    char header[HEADER];
    int fd = m->file.fd;
    if (!m->error)
        add_tables(m, header);
    int error = writer_end(&m->file);
    if (m->error)
        error = m->error;
    if (!error && pwrite(fd, header, sizeof header, 0) != (ssize_t)sizeof header)
        error = -EIO;
    free(m->records);
    *m = (struct cdb_maker){.file = {.fd = -1}};
    return error;
}

/* --- looking up ---------------------------------------------------------------------------------
 */

/* An open file, or where its bytes are in memory. */
struct source {
    int fd;
    struct span bytes;
};

/* As many bytes as there are, up to `len`; or -errno. */
static ssize_t read_some(const struct source *s, void *out, size_t len, uint32_t at) {
    if (s->bytes.data) {
        size_t left = at < s->bytes.len ? s->bytes.len - at : 0;
        if (len > left)
            len = left;
        if (len)
            memcpy(out, s->bytes.data + at, len);
        return (ssize_t)len;
    }
    if (len > UINT32_MAX - at) /* no cdb has what lies beyond */
        len = UINT32_MAX - at;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(s->fd, (char *)out + done, len - done, (off_t)at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int read_at(const struct source *s, void *out, size_t len, uint32_t at) {
    ssize_t got = read_some(s, out, len, at);
    return got < 0 ? (int)got : (size_t)got < len ? -EPROTO : 0;
}

static int read_pair(const struct source *s, uint32_t at, uint32_t *a, uint32_t *b) {
    unsigned char pair[8];
    int error = read_at(s, pair, sizeof pair, at);
    *a = unpack(pair);
    *b = unpack(pair + 4);
    return error;
}

/* Where a value is in the file. */
struct place {
    uint32_t at, len;
};

/* 1 where the record at that place has the key. */
static int match(const struct source *s, uint32_t at, struct span key, struct place *value) {
    uint32_t key_len;
    int error = read_pair(s, at, &key_len, &value->len);
    if (error || key_len != key.len)
        return error;
    char block[4096];
    for (size_t done = 0; done < key.len;) {
        size_t n = key.len - done < sizeof block ? key.len - done : sizeof block;
        error = read_at(s, block, n, at + 8 + (uint32_t)done);
        if (error)
            return error;
        if (memcmp(block, key.data + done, n) != 0)
            return 0;
        done += n;
    }
    value->at = at + 8 + key_len;
    return 1;
}

/* The slots of a table, from one on, of which some are read at once. */
struct slots {
    uint32_t table, count, slot;
    unsigned char block[4096];
    size_t at, len; /* of the bytes in the block */
};

/* The next slot, around the end of the table: 0 or -errno. The first read is short, since the first
 * slot is mostly the one; a table that is made to be long is read in few. */
static int next_slot(const struct source *s, struct slots *t, uint32_t *hash, uint32_t *at) {
    if (t->slot == t->count) {
        t->slot = 0;
        t->at = t->len;
    }
    if (t->len - t->at < 8) {
        if (t->table > UINT32_MAX - 8 || t->slot > (UINT32_MAX - 8 - t->table) / 8)
            return -EPROTO;
        size_t more = t->len ? sizeof t->block : FIRST_SLOTS * 8;
        if (more / 8 > t->count - t->slot)
            more = (size_t)(t->count - t->slot) * 8;
        ssize_t got = read_some(s, t->block, more, t->table + t->slot * 8);
        if (got < 8)
            return got < 0 ? (int)got : -EPROTO;
        t->at = 0;
        t->len = (size_t)got;
    }
    *hash = unpack(t->block + t->at);
    *at = unpack(t->block + t->at + 4);
    t->at += 8;
    t->slot++;
    return 0;
}

static int find(const struct source *s, struct span key, struct place *value) {
    struct slots t;
    uint32_t hash = hash_of(key), alike = 0;
    int found = read_pair(s, (hash & 255) * 8, &t.table, &t.count);
    if (found || !t.count)
        return found;
    t.slot = (hash >> 8) % t.count;
    t.at = t.len = 0;
    for (uint32_t tried = 0; tried < t.count && !found; tried++) {
        uint32_t slot_hash = 0, at = 0;
        found = next_slot(s, &t, &slot_hash, &at);
        if (!found && !at)
            return 0;
        if (!found && slot_hash == hash)
            found = ++alike > ALIKE_MAX ? -EPROTO : match(s, at, key, value);
    }
    return found > 0 && value->len > VALUE_MAX ? -EPROTO : found;
}

int cdb_find(int fd, struct span key, struct buf *value) {
    struct source s = {.fd = fd};
    struct place place;
    int found = find(&s, key, &place);
    buf_clear(value);
    char *to = found > 0 ? buf_room(value, place.len) : NULL;
    if (found <= 0)
        return found;
    int error = to ? read_at(&s, to, place.len, place.at) : -ENOMEM;
    if (!error)
        value->len = place.len;
    return error ? error : buf_c(value) ? 1 : -ENOMEM;
}

int cdb_find_in(struct span file, struct span key, struct span *value) {
    struct source s = {.fd = -1, .bytes = file};
    struct place place;
    int found = find(&s, key, &place);
    if (found > 0 && (place.at > file.len || place.len > file.len - place.at))
        return -EPROTO;
    if (found > 0)
        *value = (struct span){file.data + place.at, place.len};
    return found;
}
