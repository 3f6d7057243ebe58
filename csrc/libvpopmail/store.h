/* The accounts of one domain. vpasswd.c keeps them in vpasswd and vpasswd.cdb; vpopmail has SQL
 * ones, which could stand behind the same functions. Answers are 0, 1 for found, or -errno. */
#ifndef VP_STORE_H
#define VP_STORE_H

#include "assign.h"

/* The fields of one account; they point into text. */
struct account {
    struct buf text;
    struct span name, hash, gecos, dir, quota;
    unsigned int kind;  /* USE_POP, USE_APOP */
    unsigned int flags; /* the user's own, NO_PASSWD_CHNG and so on */
};
void account_free(struct account *a);
/* Puts an account together; false where memory ran out. */
bool account_make(struct account *a, struct span name, struct span hash, unsigned int kind,
                  unsigned int flags, struct span gecos, struct span dir, struct span quota);
/* Reads one line; false where it is not a sound one. */
bool account_parse(struct account *a, struct span line);

/* A domain's directory, opened, and its owner. */
struct store {
    int dir;
    uid_t uid;
    gid_t gid;
};

/* Looks a user up by the name in lower case; 0 for none (or a line that is not sound). */
int store_find(const struct store *s, const char *name, struct account *out);
/* The same in the bytes of the look-up file. */
int store_find_in(struct span file, struct span name, struct account *out);
/* For many: the look-up file as it is now, a descriptor or -errno, which may be handed on. */
int store_open_cdb(const struct store *s);
int store_find_at(int fd, const char *name, struct account *out);

/* The lock that vpopmail takes for each change; the functions below are to be called under it. What
 * a crash left half done is completed or undone first. */
int store_lock(const struct store *s, struct lock *lock);
/* The same for a look-up: does nothing where all is done, another process is at work, or we may
 * not. */
void store_repair(const struct store *s);
/* Whether a change was decided that the next one to take the lock is to complete. */
bool store_is_pending(const struct store *s);
/* A change of what this lock is for. */
struct change store_change(const struct store *s);
int store_find_locked(const struct store *s, const char *name, struct account *out);
/* Readies the change; -EEXIST where the name is there already. */
int store_add(const struct store *s, struct change *c, const struct account *a);
/* The same for many, given as lines in the order of their names. */
int store_add_many(const struct store *s, struct change *c, const struct span *lines, size_t count);
/* -ENOENT where the name is not there. */
int store_replace(const struct store *s, struct change *c, const struct account *a);
int store_remove(const struct store *s, struct change *c, struct span name);
/* Makes the look-up file anew from what is stored. */
int store_rebuild(const struct store *s);
/* Opens what is kept, a line an account, for reading bit by bit; the lines are those of that
 * moment. A descriptor or -errno; -ENOENT: there are none yet. */
int store_open(const struct store *s);
/* The name of the account that a line is of. */
struct span store_name(struct span line);

#endif
