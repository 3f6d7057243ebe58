#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "include/vpopmail.h"

static _Thread_local char policy_text[128];

static const char *const texts[] = {
    [0] = "Success",
    [-VA_ILLEGAL_USERNAME] = "Illegal username",
    [-VA_USERNAME_EXISTS] = "Username exists",
    [-VA_BAD_DIR] = "Unable to chdir to vpopmail directory",
    [-VA_BAD_U_DIR] = "Unable to chdir to vpopmail/users directory",
    [-VA_BAD_D_DIR] = "Unable to chdir to vpopmail/domains directory",
    [-VA_BAD_V_DIR] = "Unable to chdir to vpopmail/domains/domain directory",
    [-VA_EXIST_U_DIR] = "User's directory already exists",
    [-VA_BAD_U_DIR2] = "Unable to chdir to user's directory",
    [-VA_SUBDIR_CREATION] = "Creation of user's subdirectories failed",
    [-VA_USER_DOES_NOT_EXIST] = "User does not exist",
    [-VA_DOMAIN_DOES_NOT_EXIST] = "Domain does not exist",
    [-VA_INVALID_DOMAIN_NAME] = "Invalid domain name",
    [-VA_DOMAIN_ALREADY_EXISTS] = "Domain already exists",
    [-VA_COULD_NOT_MAKE_DOMAIN_DIR] = "Could not make domain dir",
    [-VA_COULD_NOT_OPEN_QMAIL_DEFAULT] = "Could not open qmail default",
    [-VA_CAN_NOT_MAKE_DOMAINS_DIR] = "Can not make domains directory",
    [-VA_COULD_NOT_UPDATE_FILE] = "Could not update file",
    [-VA_CRYPT_FAILED] = "Crypt failed",
    [-VA_COULD_NOT_OPEN_DOT_QMAIL] = "Could not open dot qmail file",
    [-VA_BAD_CHAR] = "bad character",
    [-VA_BAD_UID] = "running as invalid uid",
    [-VA_NO_AUTH_CONNECTION] = "no authentication database connection",
    [-VA_MEMORY_ALLOC_ERR] = "memory allocation error",
    [-VA_USER_NAME_TOO_LONG] = "user name too long (max=64)",
    [-VA_DOMAIN_NAME_TOO_LONG] = "domain name too long (max=96)",
    [-VA_PASSWD_TOO_LONG] = "password too long (max=128)",
    [-VA_GECOS_TOO_LONG] = "gecos too long (max=64)",
    [-VA_QUOTA_TOO_LONG] = "quota too long (max=20)",
    [-VA_DIR_TOO_LONG] = "dir too long (max=160)",
    [-VA_CLEAR_PASSWD_TOO_LONG] = "clear password too long (max=128)",
    [-VA_ALIAS_LINE_TOO_LONG] = "alias line too long (max=160)",
    [-VA_NULL_POINTER] = "null pointer",
    [-VA_INVALID_EMAIL_CHAR] = "invalid email character",
    [-VA_PARSE_ERROR] = "parsing database configuration file",
    [-VA_CANNOT_READ_LIMITS] = "can't read domain limits",
    [-VA_CANNOT_READ_ASSIGN] = "can't read users/assign file",
    [45] = "parsing database configuration file - update server",
    [46] = "parsing database configuration file - update port",
    [47] = "parsing database configuration file - update user",
    [48] = "parsing database configuration file - update password",
    [49] = "parsing database configuration file - update database",
    [50] = "parsing database configuration file - readonly server",
    [51] = "parsing database configuration file - readonly port",
    [52] = "parsing database configuration file - readonly user",
    [53] = "parsing database configuration file - readonly password",
    [54] = "parsing database configuration file - readonly database",
    [-VA_CANNOT_DELETE_CATCHALL] = "can't delete catchall account",
};

char *verror(int code) {
    const char *text = NULL;
    if (code <= VA_PWSTR_EMPTY && code >= VA_PWSTR_DELTA)
        text = policy_text[0] ? policy_text : "password suitable";
    else if (code <= 0 && code > -(int)(sizeof texts / sizeof *texts))
        text = texts[-code];
    return (char *)(text ? text : "Unknown error");
}

void error_policy_text(const char *text) {
    (void)snprintf(policy_text, sizeof policy_text, "%s", text);
}

int error_code(int negative_errno, int otherwise) {
    if (negative_errno == -ELOOP)
        return VA_ILLEGAL_USERNAME;
    return negative_errno == -ENOMEM ? VA_MEMORY_ALLOC_ERR : otherwise;
}
