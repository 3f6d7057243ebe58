/* What a real libvpopmail calls of the C library, caught where it is linked (ld's --wrap): what it
 * prints goes to the cage's words, exit() ends the call and not the process, and what libc keeps
 * one of for the whole process is the cage's own. Outside the cage all is as ever. */
#include <crypt.h>
#include <err.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "cage.h"
#include "own.h"

static bool is_output(FILE *file) {
    return cage_is_here() && (file == stdout || file == stderr);
}

static int say(const char *format, va_list args) {
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    if (n > 0)
        cage_say(text, (size_t)n);
    if (n >= 0)
        free(text);
    return n;
}

static int say_text(const char *text) {
    cage_say(text, strlen(text));
    return 1;
}

/* --- printing -----------------------------------------------------------------------------------
 */

int __real_vfprintf(FILE *file, const char *format, va_list args);
int __wrap_vfprintf(FILE *file, const char *format, va_list args);
int __wrap_vfprintf(FILE *file, const char *format, va_list args) {
    return is_output(file) ? say(format, args) : __real_vfprintf(file, format, args);
}

/* A variadic function NAME that does what the one for a va_list does with FILE. */
#define PRINTS(declaration, file)                                                                  \
    declaration;                                                                                   \
    declaration {                                                                                  \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        int n = __wrap_vfprintf(file, format, args);                                               \
        va_end(args);                                                                              \
        return n;                                                                                  \
    }
PRINTS(int __wrap_printf(const char *format, ...), stdout)
PRINTS(int __wrap_fprintf(FILE *file, const char *format, ...), file)
PRINTS(int __wrap___printf_chk(int flag, const char *format, ...), ((void)flag, stdout))
PRINTS(int __wrap___fprintf_chk(FILE *file, int flag, const char *format, ...), ((void)flag, file))

int __wrap_vprintf(const char *format, va_list args);
int __wrap_vprintf(const char *format, va_list args) {
    return __wrap_vfprintf(stdout, format, args);
}

int __wrap___vfprintf_chk(FILE *file, int flag, const char *format, va_list args);
int __wrap___vfprintf_chk(FILE *file, int flag, const char *format, va_list args) {
    (void)flag;
    return __wrap_vfprintf(file, format, args);
}

int __real_puts(const char *text);
int __wrap_puts(const char *text);
int __wrap_puts(const char *text) {
    return cage_is_here() ? say_text(text), say_text("\n") : __real_puts(text);
}

int __real_fputs(const char *text, FILE *file);
int __wrap_fputs(const char *text, FILE *file);
int __wrap_fputs(const char *text, FILE *file) {
    return is_output(file) ? say_text(text) : __real_fputs(text, file);
}

int __real_fputc(int c, FILE *file);
int __wrap_fputc(int c, FILE *file);
int __wrap_fputc(int c, FILE *file) {
    char text[] = {(char)c, '\0'};
    return is_output(file) ? (cage_say(text, 1), (unsigned char)c) : __real_fputc(c, file);
}

int __wrap_putc(int c, FILE *file);
int __wrap_putc(int c, FILE *file) {
    return __wrap_fputc(c, file);
}

int __wrap_putchar(int c);
int __wrap_putchar(int c) {
    return __wrap_fputc(c, stdout);
}

size_t __real_fwrite(const void *data, size_t size, size_t count, FILE *file);
size_t __wrap_fwrite(const void *data, size_t size, size_t count, FILE *file);
size_t __wrap_fwrite(const void *data, size_t size, size_t count, FILE *file) {
    return is_output(file) ? (cage_say(data, size * count), count)
                           : __real_fwrite(data, size, count, file);
}

void __real_perror(const char *what);
void __wrap_perror(const char *what);
void __wrap_perror(const char *what) {
    int error = errno;
    if (!cage_is_here()) {
        __real_perror(what);
        return;
    }
    if (what && what[0])
        __wrap_printf("%s: ", what);
    __wrap_printf("%s\n", strerrordesc_np(error));
}

void __wrap_warn(const char *format, ...);
void __wrap_warn(const char *format, ...) {
    int error = errno;
    va_list args;
    va_start(args, format);
    if (cage_is_here()) {
        (void)say(format, args);
        __wrap_printf(": %s\n", strerrordesc_np(error));
    } else {
        vwarn(format, args);
    }
    va_end(args);
}

/* --- the system log -----------------------------------------------------------------------------
 */

/* libc keeps one descriptor of the log for the process, which the cage's would be taken for. */
void __wrap_openlog(const char *name, int option, int facility);
void __wrap_openlog(const char *name, int option, int facility) {
    (void)name, (void)option, (void)facility;
}

void __wrap_closelog(void);
void __wrap_closelog(void) {
}

void __wrap_vsyslog(int priority, const char *format, va_list args);
void __wrap_vsyslog(int priority, const char *format, va_list args) {
    (void)priority;
    if (say(format, args) > 0)
        cage_say("\n", 1);
}

void __wrap_syslog(int priority, const char *format, ...);
void __wrap_syslog(int priority, const char *format, ...) {
    va_list args;
    va_start(args, format);
    __wrap_vsyslog(priority, format, args);
    va_end(args);
}

void __wrap___syslog_chk(int priority, int flag, const char *format, ...);
void __wrap___syslog_chk(int priority, int flag, const char *format, ...) {
    (void)flag;
    va_list args;
    va_start(args, format);
    __wrap_vsyslog(priority, format, args);
    va_end(args);
}

/* --- the process --------------------------------------------------------------------------------
 */

_Noreturn void __real_exit(int status);
_Noreturn void __wrap_exit(int status);
_Noreturn void __wrap_exit(int status) {
    if (!cage_is_here())
        __real_exit(status);
    cage_leave(status);
}

/* The library signals every process whose line in ps holds the text qmail-send; here only one that
 * runs that program is told, once all is written, to read its files again. */
int __real_kill(pid_t pid, int signal);
int __wrap_kill(pid_t pid, int signal);
int __wrap_kill(pid_t pid, int signal) {
    if (!cage_is_here() || signal != SIGHUP)
        return __real_kill(pid, signal);
    cage_afterwards(own_reread_qmail);
    return 0;
}

/* --- what libc keeps one of ---------------------------------------------------------------------
 */

/* For salts: from the system, whatever a seed was. */
int __real_rand(void);
int __wrap_rand(void);
int __wrap_rand(void) {
    unsigned number;
    if (!cage_is_here() || getrandom(&number, sizeof number, 0) != sizeof number)
        return __real_rand();
    return (int)(number & RAND_MAX);
}

void __real_srand(unsigned seed);
void __wrap_srand(unsigned seed);
void __wrap_srand(unsigned seed) {
    if (!cage_is_here())
        __real_srand(seed);
}

char *__real_crypt(const char *password, const char *setting);
char *__wrap_crypt(const char *password, const char *setting);
char *__wrap_crypt(const char *password, const char *setting) {
    static struct crypt_data data;
    return cage_is_here() ? crypt_r(password, setting, &data) : __real_crypt(password, setting);
}

char *__real_strtok(char *text, const char *separators);
char *__wrap_strtok(char *text, const char *separators);
char *__wrap_strtok(char *text, const char *separators) {
    static char *rest;
    return cage_is_here() ? strtok_r(text, separators, &rest) : __real_strtok(text, separators);
}

struct tm *__real_gmtime(const time_t *when);
struct tm *__wrap_gmtime(const time_t *when);
struct tm *__wrap_gmtime(const time_t *when) {
    static struct tm parts;
    return cage_is_here() ? gmtime_r(when, &parts) : __real_gmtime(when);
}

struct tm *__real_localtime(const time_t *when);
struct tm *__wrap_localtime(const time_t *when);
struct tm *__wrap_localtime(const time_t *when) {
    static struct tm parts;
    return cage_is_here() ? localtime_r(when, &parts) : __real_localtime(when);
}
