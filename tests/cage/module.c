/* The auth module of shared.c: it takes a variable of the library's, prints and exits. */
#include <stdio.h>
#include <stdlib.h>

extern int verrori;
const char auth_module_name[] = NAME;

int alias_insert(char *alias, char *domain, char *line) {
    verrori = printf("alias_insert %s %s %s\n", alias, domain, line);
    exit(4);
}
