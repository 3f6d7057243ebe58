/* QMAIL/users/assign and users/cdb: which domains there are. */
#ifndef VP_ASSIGN_H
#define VP_ASSIGN_H

#include "change.h"
#include "paths.h"

/* A domain as users/cdb has it. */
struct domain {
    char *name; /* of the real domain */
    char *path;
    uid_t uid;
    gid_t gid;
};

/* The same as parts of a users/cdb record. */
struct domain_record {
    struct span name, path;
    uid_t uid;
    gid_t gid;
};
/* False where the record's value is not a sound one. */
bool assign_record(struct span value, struct domain_record *out);

/* Looks a domain up by its name or an alias domain's, in lower case: 1, 0 for none, or a code. */
int assign_find(const struct home *home, const char *name, struct domain *out);
void domain_free(struct domain *d);
/* The domain's directory, opened; or -errno. Root is not led elsewhere by its owner's links. */
int domain_dir(const struct domain *d);

/* users/assign, locked for a change of the domains. What a crash left half done is completed or
 * undone first. */
struct assign {
    const struct home *home;
    int users; /* QMAIL/users */
    struct lock lock;
    struct buf text;
};
int assign_begin(const struct home *home, struct assign *a);
void assign_end(struct assign *a);
/* A change of the domains: of files in QMAIL/users and in directories that are declared to it. */
struct change assign_change(const struct assign *a);
/* For a look-up: completes what a crash left half done, where another process is not at it and we
 * may. */
void assign_repair(const struct home *home);
/* Readies the new assign and its cdb; 0 or a code. */
int assign_add(struct assign *a, struct change *c, const char *name, const struct domain *d);
/* Takes out the line of this name, or those of every domain that is `real`. */
int assign_drop(struct assign *a, struct change *c, const char *name, const char *real);

/* One line of assign; false where it is none of a domain. */
struct assign_line {
    struct span name, real, uid, gid, path;
};
bool assign_parse(struct span line, struct assign_line *out);
/* The text of assign without a lock, for listings; 0 or a code. */
int assign_read(const struct home *home, struct buf *text);

#endif
