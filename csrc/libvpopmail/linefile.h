/* Text files of one entry a line that vpopmail keeps in order: users/assign and qmail's control
 * files. The key of a line is its name (of an assign line what stands between the first character
 * and the colon, without the dash; else what stands before a colon) with the last two labels moved
 * to the front: mail.b.com is b.com.mail. Empty labels don't count, and a name of less than two
 * labels is its own key. */
#ifndef VP_LINEFILE_H
#define VP_LINEFILE_H

#include "buf.h"

/* Writes to out the file `text` with the line added: before the first greater key, or, where the
 * file is out of order, sorted whole. An assign file ends in a dot. 0 or -ENOMEM. */
int linefile_add(struct span text, struct span line, bool assign, struct buf *out);

typedef bool linefile_test(struct span line, const void *arg);
/* Writes to out the lines for which test is false; how many were left out, or -ENOMEM. */
long linefile_drop(struct span text, linefile_test *test, const void *arg, struct buf *out);

#endif
