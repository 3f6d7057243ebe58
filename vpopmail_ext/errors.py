"""vpopmail's result codes, and the warning that a failed call gives."""

from enum import IntEnum


class VpopmailWarning(UserWarning):
    """A call failed. Its text is that of the warning of PHP's extension, to the letter."""


class Code(IntEnum):
    """The result codes of libvpopmail (``vpopmail.h``, ``pwstr.h``); their text is verror()'s."""

    VA_SUCCESS = 0
    VA_ILLEGAL_USERNAME = -1
    VA_USERNAME_EXISTS = -2
    VA_BAD_DIR = -3
    VA_BAD_U_DIR = -4
    VA_BAD_D_DIR = -5
    VA_BAD_V_DIR = -6
    VA_EXIST_U_DIR = -7
    VA_BAD_U_DIR2 = -8
    VA_SUBDIR_CREATION = -9
    VA_USER_DOES_NOT_EXIST = -10
    VA_DOMAIN_DOES_NOT_EXIST = -11
    VA_INVALID_DOMAIN_NAME = -12
    VA_DOMAIN_ALREADY_EXISTS = -13
    VA_COULD_NOT_MAKE_DOMAIN_DIR = -14
    VA_COULD_NOT_OPEN_QMAIL_DEFAULT = -15
    VA_CAN_NOT_MAKE_DOMAINS_DIR = -16
    VA_COULD_NOT_UPDATE_FILE = -17
    VA_CRYPT_FAILED = -18
    VA_COULD_NOT_OPEN_DOT_QMAIL = -19
    VA_BAD_CHAR = -20
    VA_SQWEBMAIL_PASS_FAIL = -21
    VA_BAD_UID = -22
    VA_NO_AUTH_CONNECTION = -23
    VA_MEMORY_ALLOC_ERR = -24
    VA_USER_NAME_TOO_LONG = -25
    VA_DOMAIN_NAME_TOO_LONG = -26
    VA_PASSWD_TOO_LONG = -27
    VA_GECOS_TOO_LONG = -28
    VA_QUOTA_TOO_LONG = -29
    VA_DIR_TOO_LONG = -30
    VA_CLEAR_PASSWD_TOO_LONG = -31
    VA_ALIAS_LINE_TOO_LONG = -32
    VA_NULL_POINTER = -33
    VA_INVALID_EMAIL_CHAR = -34
    VA_PARSE_ERROR = -35
    VA_CANNOT_READ_LIMITS = -36
    VA_CANNOT_READ_ASSIGN = -37
    VA_PARSE_ERROR01 = -45
    VA_PARSE_ERROR02 = -46
    VA_PARSE_ERROR03 = -47
    VA_PARSE_ERROR04 = -48
    VA_PARSE_ERROR05 = -49
    VA_PARSE_ERROR06 = -50
    VA_PARSE_ERROR07 = -51
    VA_PARSE_ERROR08 = -52
    VA_PARSE_ERROR09 = -53
    VA_PARSE_ERROR10 = -54
    VA_CANNOT_DELETE_CATCHALL = -55
    VA_PWSTR_EMPTY = -69
    VA_PWSTR_LENGTH = -70
    VA_PWSTR_ALPHA = -71
    VA_PWSTR_NUMERIC = -72
    VA_PWSTR_OTHER = -73
    VA_PWSTR_DELTA = -74
