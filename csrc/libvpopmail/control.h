/* qmail's control files that name a domain: rcpthosts, morercpthosts, virtualdomains, locals. */
#ifndef VP_CONTROL_H
#define VP_CONTROL_H

#include "change.h"
#include "paths.h"

/* The control files, locked for a change of the domains. */
struct control {
    int dir; /* QMAIL/control */
    struct lock locks[4];
};
/* It is to be there until the change is made or dropped. */
int control_begin(const struct home *home, struct control *control, struct change *c);
void control_end(struct control *control);

/* Readies the files of a new domain or alias domain: NAME in rcpthosts or, from 50 lines on, in
 * morercpthosts, NAME:NAME in virtualdomains, and NAME out of locals. 0 or a code. */
int control_add(struct control *control, struct change *c, const char *name);
/* Readies the files without these names, one a line. */
int control_drop(struct control *control, struct change *c, const struct buf *wanted);

#endif
