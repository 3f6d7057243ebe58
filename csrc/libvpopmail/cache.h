/* Copies in memory of users/cdb and of domains' vpasswd.cdb, for authentication.
 *
 * A copy answers only while the file is the one that was read. The kernel (inotify) queues an event
 * for each change of the file, of its attributes, and of each directory and link that leads to it,
 * before the call that makes the change returns; every look-up asks first whether there is one.
 * What inotify does not tell of (a file system mounted over a directory, a chroot, a write through
 * mmap) is looked for by name every CACHE_CHECK_MS.
 *
 * Files on file systems that other machines may write to, files that are too large, and files that
 * are looked up too seldom are never copied: they are read at each look-up. */
#ifndef VP_CACHE_H
#define VP_CACHE_H

#include "store.h"

#define CACHE_CHECK_MS 20

/* Holds the copies for some look-ups; false where none may be used. Nothing that waits for long may
 * be done until cache_leave(). */
bool cache_enter(void);
void cache_leave(void);
/* Looks up a user by the names as they were given: 1, 0 where there is none or we may not read it,
 * -1 where the copies do not tell and the files have to be read. */
int cache_find(const char *user, const char *domain, struct account *out);

/* Tells of a look-up in the files of a domain (NULL: there was no such domain), so that they are
 * copied when there were enough. */
void cache_note(const struct home *home, const struct domain *domain);

#endif
