/* vaddaliasdomain: makes one domain an alias of another. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "../include/vauth.h"
#include "tool.h"

static int usage(void) {
    fputs("vaddaliasdomain: usage: [options] real_domain alias_domain\n"
          "options: -v (print version number)\n"
          "note: real_domain and alias_domain may be swapped.\n",
          stdout);
    return VA_ILLEGAL_USERNAME;
}

/* Of the two the one that exists is the real one. */
static int add(char *first, char *second) {
    char *real_first = vpopmail_real_domain(first), *real_second = vpopmail_real_domain(second);
    int code;
    if (!strcasecmp(first, second)) {
        puts("Error: real domain and alias domain are the same!");
        code = usage();
    } else if (!real_first == !real_second) {
        printf(real_first ? "Error: Both '%s' and '%s' exist, unable to create alias.\n"
                          : "Error: Neither '%s' or '%s'  exist, unable to create alias.\n",
               first, second);
        code = VA_ILLEGAL_USERNAME;
    } else {
        code = real_first ? vaddaliasdomain(second, first) : vaddaliasdomain(first, second);
        if (code != VA_SUCCESS)
            code = tool_fail(code);
    }
    free(real_first);
    free(real_second);
    return code;
}

int main(int argc, char **argv) {
    int option;
    tool_start();
    while ((option = getopt(argc, argv, "v")) != -1)
        if (option == 'v') {
            printf("version: %s\n", VERSION);
            return VA_SUCCESS;
        }
    if (optind + 2 != argc)
        return usage();
    int code = add(argv[optind], argv[optind + 1]);
    vclose();
    return code;
}
