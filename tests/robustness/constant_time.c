/* Compares two texts many times, as hashes are compared: run by test_secrets.py, which counts the
 * instructions. Usage: constant_time TEXT OTHER. */
#include "../../csrc/libvpopmail/password.c"

int main(int argc, char **argv) {
    static bool (*const volatile compare)(const char *, const char *) = same;
    int alike = 0;
    for (int i = 0; argc == 3 && i < 20000; i++)
        alike += compare(argv[1], argv[2]);
    return alike != 0 && alike != 20000;
}
