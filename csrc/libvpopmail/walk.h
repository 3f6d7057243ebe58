/* Ways that may lead through symbolic links.
 *
 * Root works in directories that others own, who could put a link there to have it work elsewhere.
 * A link that root or the caller itself made is followed. One that somebody else made leads no
 * further than that one could go: to directories of their own, to files that they may read, through
 * directories that they may search; two such links of different owners lead nowhere (-ELOOP).
 * Without any link it is as with open(). */
#ifndef VP_WALK_H
#define VP_WALK_H

#include <sys/stat.h>

/* Opens a directory by a path from directory `at` (AT_FDCWD: an absolute path) or -errno. */
int walk_dir(int at, const char *path);
/* Opens a regular file for reading likewise; -ELOOP also for what is none, or where another name
 * leads to it from a directory of another owner. */
int walk_file(int at, const char *path, struct stat *st);

#endif
