/* .dir-control: how many users a domain has (or domains vpopmail has), and the directory that the
 * next one goes into: none below 100, then a new one at each crossing of a multiple of 100. */
#ifndef VP_DIR_CONTROL_H
#define VP_DIR_CONTROL_H

#include <sys/types.h>

#include "buf.h"

/* Counts one up in the .dir-control of a directory and writes to out the directory for the new one,
 * with a slash at its end where it is not empty. A place in .dir_control_free is used first. */
int dir_control_add(int dir, uid_t uid, gid_t gid, bool with_free, struct buf *out);
/* Counts one down; `place` (without a slash at the end), unless empty, goes to .dir_control_free.
 */
int dir_control_drop(int dir, uid_t uid, gid_t gid, struct span place);

#endif
