/* vdeldomain: deletes domains or alias domains. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../include/vauth.h"
#include "tool.h"

static void usage(void) {
    fputs("vdeldomain: usage: [options] domain_name\n"
          "options: -v (print version number)\n"
          "options: -f (force delete of virtual domains)\n",
          stdout);
}

static void list(const char *heading, const char *names) {
    puts(heading);
    for (size_t length; *names; names += length + 1) {
        length = strcspn(names, "\n");
        printf("   %.*s\n", (int)length, names);
    }
}

static int delete_domain(char *domain, bool force) {
    char *names = NULL;
    char *real = vpopmail_real_domain(domain);
    bool is_alias = real && strcasecmp(real, domain) != 0;
    int count = is_alias ? 0 : vpopmail_alias_domains(domain, &names), code = VA_SUCCESS;
    free(real);
    if (count < 0) {
        printf("Error: Can't get domain entries - %s\n", verror(count));
        code = count;
    } else if (count > 0 && !force) {
        list("Warning: Alias domains exist:", names);
        puts("   use -f to force delete of domain and all aliases");
    } else {
        code = vdeldomain(domain);
        if (code != VA_SUCCESS) /* a name that is too long is nobody's, as in 5.6.13 */
            code = tool_fail(code == VA_DOMAIN_NAME_TOO_LONG ? VA_DOMAIN_DOES_NOT_EXIST : code);
        else if (count > 0)
            list("Warning: Alias domains deleted:", names);
    }
    free(names);
    return code;
}

int main(int argc, char **argv) {
    bool force = false;
    int option;
    tool_start();
    while ((option = getopt(argc, argv, "vf")) != -1) {
        if (option == 'v') {
            printf("version: %s\n", VERSION);
            return VA_SUCCESS;
        }
        force = force || option == 'f';
    }
    if (optind >= argc) {
        usage();
        return VA_SUCCESS;
    }
    int code = delete_domain(argv[optind], force);
    vclose();
    return code;
}
