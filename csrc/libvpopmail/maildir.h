/* A user's directory: Maildir, lastauth, and the quota's Maildir/maildirsize. */
#ifndef VP_MAILDIR_H
#define VP_MAILDIR_H

#include "store.h"

#define NOQUOTA "NOQUOTA"

/* Readies PLACE/NAME (place ends in a slash or is empty) with Maildir, lastauth and, for a quota
 * other than NOQUOTA, maildirsize. -EEXIST where something is there already. */
int maildir_make(const struct store *s, struct change *c, struct span place, const char *name,
                 struct span quota);
/* Opens a hashed directory of the domain, or another by a path of which no step is a link; made
 * where it is missing if that is wanted. */
int place_open(const struct store *s, struct span place, bool make);
/* Removes it where it is empty: 0 or -errno. */
int place_remove(const struct store *s, struct span place);
/* Whether a user's directory of that name would stand where the domain keeps a file, now or later.
 */
bool maildir_is_file(const char *name);
/* -ELOOP where a user's directory is not the domain's to write to or remove; -ENOENT where it is
 * gone. */
int maildir_check(const struct store *s, const char *domain_path, struct span path);
/* Opens a user's directory by its path. */
int maildir_open(const struct store *s, const char *domain_path, struct span path);
/* Readies that a user's directory goes. -ENOENT where there is none, -ELOOP where it is not the
 * domain's to remove. */
int maildir_drop(const struct store *s, struct change *c, const char *domain_path,
                 struct span path);
/* The hashed directory of the domain that a user's path lies in; empty for none. */
struct span maildir_place(const char *domain_path, struct span path);
/* Counts the messages and readies maildirsize; without a quota readies that it goes. */
int maildir_size(const struct store *s, struct change *c, const char *domain_path, struct span path,
                 struct span quota);

/* The size and number of the messages that count for the quota. */
int maildir_usage(const struct store *s, const char *domain_path, struct span path,
                  unsigned long long *bytes, unsigned long long *count);

/* A quota as vpasswd has it, from any of the spellings that vpopmail takes. 0 or VA_QUOTA_TOO_LONG.
 */
int quota_parse(const char *spelling, struct buf *out);
void quota_text(unsigned long long bytes, unsigned long long messages, struct buf *out);

#endif
