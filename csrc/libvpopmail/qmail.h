#ifndef VP_QMAIL_H
#define VP_QMAIL_H

#include "paths.h"

/* Has this qmail's qmail-send, where it runs and may be signalled, read its control files again. */
void qmail_reread(const struct home *home);

#endif
