/* crypt_r for many threads: calls that would have to share a core share the lanes of a kernel. */
#ifndef VP_CRYPT_QUEUE_H
#define VP_CRYPT_QUEUE_H

#include <crypt.h>

/* As crypt_r; NULL also where memory ran out. */
const char *crypt_joined(const char *password, const char *setting, struct crypt_data *data);

#endif
