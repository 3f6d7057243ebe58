#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

#include "../include/vpopmail.h"

void tool_start(void) {
    /* secure_getenv: whoever runs a set-uid copy must not choose its directories. */
    if (vpopmail_set_home(secure_getenv("VPOPMAIL_HOME"), secure_getenv("QMAIL_HOME")))
        exit(tool_fail(VA_MEMORY_ALLOC_ERR));
}

int tool_fail(int code) {
    printf("Error: %s\n", verror(code));
    return code;
}
