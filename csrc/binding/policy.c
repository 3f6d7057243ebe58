/* Links where a libvpopmail has a password policy, which came with 5.6. */
int pw_strength(const char *password);
int (*const policy)(const char *) = pw_strength;
