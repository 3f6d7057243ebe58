#ifndef VPX_IMPORTS_H
#define VPX_IMPORTS_H

#include <stdbool.h>

/* Has a linked library that is shared call wrap.c and files.c as one does that is an archive. False
 * where that can't be: it is not to be called then. */
#ifdef VPX_SHARED
bool imports_are_caught(void);
#else
static inline bool imports_are_caught(void) {
    return true;
}
#endif

#endif
