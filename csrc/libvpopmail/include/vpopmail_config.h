/* What the library is built with where build_libvpopmail.sh has not said otherwise. */
#ifndef VPOPMAIL_CONFIG_H
#define VPOPMAIL_CONFIG_H

/* csrc/libvpopmail of vpopmail_ext; no installed vpopmail defines this. */
#define VPOPMAIL_EXT_BUNDLED 1

/* The vpopmail release whose behaviour this library has. */
#ifndef VERSION
#define VERSION "5.6.13"
#endif

/* Where the installation is as long as vpopmail_set_home() has not said otherwise. */
#define VPOPMAILDIR "/home/vpopmail"
#define DOMAINS_DIR "domains"
#define QMAILDIR "/var/qmail"

/* vpopmail's ids where the owner of VPOPMAILDIR/domains does not tell them. */
#define VPOPMAILUID 89
#define VPOPMAILGID 89

#endif
