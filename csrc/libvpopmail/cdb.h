/* djb's constant data base: qmail's users/cdb and morercpthosts.cdb, vpopmail's vpasswd.cdb.
 * Slots are filled in the order of the records, so that equal input gives equal bytes. */
#ifndef VP_CDB_H
#define VP_CDB_H

#include <stdbool.h>
#include <stdint.h>

#include "stream.h"

struct cdb_maker {
    struct writer file;
    struct cdb_record {
        uint32_t hash, at;
    } *records;
    size_t count, room;
    int error;
};

/* Makes a cdb of an empty file. */
void cdb_begin(struct cdb_maker *m, int fd);
void cdb_add(struct cdb_maker *m, struct span key, struct span value);
/* Writes what is left, and frees: 0 or -errno, -EFBIG where the file would pass 4 GiB. */
int cdb_end(struct cdb_maker *m);

/* Looks a key up in an open file: 1 and its value, 0 for none, -EPROTO for a file that is not a
 * sound cdb, or -errno. */
int cdb_find(int fd, struct span key, struct buf *value);
/* The same in a file's bytes, which the value is a part of. */
int cdb_find_in(struct span file, struct span key, struct span *value);

#endif
