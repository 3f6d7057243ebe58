/* The cage of a linked real libvpopmail: one thread that owns it. The library changes its working
 * directory and umask, leaves descriptors open, prints and exits; that thread has a directory, a
 * umask and descriptors of its own, so nobody else in the process sees any of it. */
#ifndef VPX_CAGE_H
#define VPX_CAGE_H

#include <stdbool.h>
#include <stddef.h>

/* Runs work(argument) in the cage, after the calls that came before: 0; CAGE_EXITED where the
 * library called exit(); CAGE_REFUSED where the system does not let a thread have its own directory
 * and descriptors. The library's statics are nobody else's until work has returned. */
#define CAGE_EXITED 1
#define CAGE_REFUSED 2
int cage_run(void (*work)(void *), void *argument);

/* Ends the cage, after work(argument) in it where there is one. The next cage_run makes it anew. */
void cage_close(void (*work)(void *), void *argument);

/* What is to be done in a new cage of a forked child before anything else: give up, without using
 * them, the connections that the parent's library has. */
void cage_on_fork(void (*work)(void));

/* What is to be done in the cage after each work, also one that the library has left by exit(). */
void cage_after_each(void (*work)(void));

/* Whether the calling thread is the cage's. */
bool cage_is_here(void);
/* Ends the work that the cage does, or the library's own forked child. Only there. */
_Noreturn void cage_leave(int status);
/* Has work() done once, after the work that the cage does; at once in the library's own forked
 * child. Only there. */
void cage_afterwards(void (*work)(void));
/* Whether the other end of a connection that the library keeps has closed it. Only there. */
bool cage_lost_connection(void);
/* Puts words among what the library has printed. Only there. */
void cage_say(const char *words, size_t size);

bool cage_has_words(void);
/* Takes what has been printed since the last time; *words to be freed. */
void cage_words(char **words, size_t *size);

#endif
