/* djb's constant data base: qmail's users/cdb and morercpthosts.cdb, vpopmail's vpasswd.cdb.
 * Slots are filled in the order of the records, so that equal input gives equal bytes. */
#ifndef VP_CDB_H
#define VP_CDB_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct cdb_maker {
    struct buf out;
    struct cdb_record {
        uint32_t hash, at;
    } *records;
    size_t count, room;
    bool failed;
};

void cdb_begin(struct cdb_maker *m);
void cdb_add(struct cdb_maker *m, struct span key, struct span value);
/* The finished file in m->out; 0, or -ENOMEM, or -EFBIG where it would pass 4 GiB. */
int cdb_finish(struct cdb_maker *m);
void cdb_free(struct cdb_maker *m);

/* Looks a key up in an open file: 1 and its value, 0 for none, -EPROTO for a file that is not a
 * sound cdb, or -errno. */
int cdb_find(int fd, struct span key, struct buf *value);

#endif
