/* Codes, their texts, and what an errno becomes. */
#ifndef VP_ERROR_H
#define VP_ERROR_H

/* Keeps the text of a password-policy code for the calling thread's verror(). */
void error_policy_text(const char *text);
/* -errno as the code of a step whose own code is `otherwise`. -ELOOP says that a link, or something
 * else that is not the domain's own, is in the way: such a call is refused with
 * VA_ILLEGAL_USERNAME. */
int error_code(int negative_errno, int otherwise);

#endif
