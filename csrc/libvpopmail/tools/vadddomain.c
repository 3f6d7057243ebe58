/* vadddomain: adds a domain and its postmaster. */
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include "../include/vauth.h"
#include "tool.h"

#define RANDOM_LENGTH 12
#define PASSWORD_MAX 128

static void usage(void) {
    fputs("vadddomain: usage: vadddomain [options] virtual_domain [postmaster password]\n"
          "options: -v (print version number)\n"
          "         -q quota (of the postmaster's account)\n"
          "         -b (bounce mail that matches no user; changes nothing)\n"
          "         -e address (send mail that matches no user there; without an @ to that user)\n"
          "         -u user (take uid, gid and directory from /etc/passwd)\n"
          "         -d dir (directory in which domains/ stands)\n"
          "         -i uid -g gid (owner of the domain)\n"
          "         -O (accepted for bulk adds; changes nothing)\n"
          "         -r[len] (give the postmaster a random password, 12 characters)\n",
          stdout);
}

struct options {
    char *quota, *catchall, *dir, *domain;
    char password[PASSWORD_MAX + 2];
    uid_t uid;
    gid_t gid;
    size_t random;
};

static bool number(const char *text, unsigned int *out) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *out = (unsigned int)value;
    return text[0] >= '0' && text[0] <= '9' && !*end && !errno && value <= 4294967294UL;
}

/* 0, or what to exit with. */
static int take_user(struct options *o, const char *name) {
    const struct passwd *entry = getpwnam(name);
    if (!entry) {
        printf("Error: user %s not found in /etc/passwd\n", name);
        return VA_ILLEGAL_USERNAME;
    }
    o->uid = entry->pw_uid;
    o->gid = entry->pw_gid;
    free(o->dir);
    o->dir = strdup(entry->pw_dir);
    return o->dir ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
}

static int take_option(struct options *o, int option, char *value) {
    unsigned int id;
    switch (option) {
    case 'q':
        o->quota = value;
        return VA_SUCCESS;
    case 'e':
        o->catchall = value;
        return VA_SUCCESS;
    case 'u':
        return take_user(o, value);
    case 'd':
        free(o->dir);
        o->dir = strdup(value);
        return o->dir ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
    case 'i':
    case 'g':
        if (!number(value, &id)) {
            printf("Error: -%c takes a number, not %s\n", option, value);
            return VA_BAD_UID;
        }
        if (option == 'i')
            o->uid = id;
        else
            o->gid = id;
        return VA_SUCCESS;
    case 'r':
        if (value && (!number(value, &id) || id < 1 || id > PASSWORD_MAX)) {
            printf("Error: -r takes a length from 1 to %d, not %s\n", PASSWORD_MAX, value);
            return VA_PASSWD_TOO_LONG;
        }
        o->random = value ? id : RANDOM_LENGTH;
        return VA_SUCCESS;
    default: /* -b, -O, and, as vpopmail does, what it does not know */
        return VA_SUCCESS;
    }
}

static int random_password(char *out, size_t length) {
    static const char signs[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!";
    unsigned char bytes[PASSWORD_MAX];
    if (getrandom(bytes, length, 0) != (ssize_t)length)
        return VA_CRYPT_FAILED;
    for (size_t i = 0; i < length; i++)
        out[i] = signs[bytes[i] % (sizeof signs - 1)]; /* 64 of them: no sign is likelier */
    out[length] = '\0';
    explicit_bzero(bytes, sizeof bytes);
    return VA_SUCCESS;
}

/* Asks without an echo; false at the end of input or for a password that is too long. */
static bool ask(const char *prompt, char *out, size_t size) {
    struct termios was, quiet;
    bool terminal = tcgetattr(STDIN_FILENO, &was) == 0;
    if (terminal) {
        quiet = was;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    fputs(prompt, stdout);
    fflush(stdout);
    bool got = fgets(out, (int)size, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
        putchar('\n');
    }
    if (!got)
        return false;
    size_t length = strcspn(out, "\n");
    bool whole = out[length] == '\n' || feof(stdin);
    out[length] = '\0';
    return whole;
}

static int ask_password(char *out, size_t size) {
    char again[PASSWORD_MAX + 2];
    bool same = ask("Please enter password for postmaster: ", out, size) &&
                ask("enter password again: ", again, sizeof again) && strcmp(out, again) == 0;
    explicit_bzero(again, sizeof again);
    if (!same)
        puts("Error: the passwords are not the same");
    return same ? VA_SUCCESS : VA_ILLEGAL_USERNAME;
}

static int add(const struct options *o, const char *password) {
    struct vpopmail_postmaster postmaster = {password, o->quota, o->catchall};
    const char *step;
    int code = vpopmail_add_domain(o->domain, o->dir, o->uid, o->gid, &postmaster, &step);
    if (code != VA_SUCCESS && !step)
        return tool_fail(code);
    if (code != VA_SUCCESS)
        printf("Error: (%s) %s\n", step, verror(code));
    return code;
}

/* With a password from the arguments, which the list of processes shows no longer. */
static int add_with(struct options *o, char *argument) {
    char *password = strdup(argument);
    if (!password)
        return tool_fail(VA_MEMORY_ALLOC_ERR);
    explicit_bzero(argument, strlen(argument));
    int code = add(o, password);
    explicit_bzero(password, strlen(password));
    free(password);
    return code;
}

static int run(struct options *o, int argc, char **argv) {
    int option, code;
    while ((option = getopt(argc, argv, "vq:be:u:d:i:g:Or::")) != -1) {
        if (option == 'v') {
            printf("version: %s\n", VERSION);
            return VA_SUCCESS;
        }
        if ((code = take_option(o, option, optarg)) != VA_SUCCESS)
            return code;
    }
    if (optind >= argc) {
        usage();
        return VA_SUCCESS;
    }
    o->domain = argv[optind];
    if (optind + 1 < argc)
        return add_with(o, argv[optind + 1]);
    char *password = o->password;
    code = o->random ? random_password(password, o->random)
                     : ask_password(password, sizeof o->password);
    if (code == VA_SUCCESS)
        code = add(o, password);
    if (code == VA_SUCCESS && o->random)
        printf("Random password: %s\n", password);
    return code;
}

int main(int argc, char **argv) {
    struct options o = {0};
    tool_start();
    vpopmail_get_ids(&o.uid, &o.gid);
    int length = vpopmail_get_home(NULL, 0);
    o.dir = malloc((size_t)(length < 0 ? 0 : length) + 1);
    int code = o.dir ? VA_SUCCESS : VA_MEMORY_ALLOC_ERR;
    if (code == VA_SUCCESS && length >= 0)
        (void)vpopmail_get_home(o.dir, (size_t)length + 1);
    if (code == VA_SUCCESS)
        code = run(&o, argc, argv);
    explicit_bzero(o.password, sizeof o.password);
    free(o.dir);
    vclose();
    return code;
}
