/* What the command-line tools share. They exit with the library's code, as vpopmail's do. */
#ifndef VP_TOOL_H
#define VP_TOOL_H

/* Tells the library the directories of VPOPMAIL_HOME and QMAIL_HOME, where those are set. */
void tool_start(void);
/* Prints `Error: TEXT`; the code. */
int tool_fail(int code);

#endif
