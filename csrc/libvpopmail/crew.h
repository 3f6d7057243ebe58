/* Work that is cut into parts, which threads do side by side. */
#ifndef VP_CREW_H
#define VP_CREW_H

#include <stddef.h>

#define CREW_MOST 8

/* How many parts are worth it: one for each core that we may use, up to CREW_MOST. */
size_t crew_size(void);
typedef void crew_work(void *arg, size_t part);
/* Does part 0 to parts - 1, at most CREW_MOST of them, and returns when all are done. Who can't
 * have a thread does it alone. */
void crew_do(crew_work *work, void *arg, size_t parts);

#endif
