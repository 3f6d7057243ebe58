"""vpopmail's result codes, and the exceptions that a failed call of the API gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


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
    VA_CANNOT_OPEN_DATABASE = -38
    VA_INVALID_IP_ADDRESS = -39
    VA_QUERY_FAILED = -40
    VA_STORE_RESULT_FAILED = -41
    VA_INVALID_OPEN_MODE = -42
    VA_CANNOT_CREATE_DATABASE = -43
    VA_CANNOT_CREATE_TABLE = -44
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


class VpopmailError(Exception):
    """A call of `vpopmail_ext.api` failed; `KINDS` tells which code is which subclass.

    Its own class stands for a code that has no kind of its own.
    """

    code: int
    """The result code, as in `Code`; positive for a program's exit status that is no code."""
    name: str
    """The code's name in ``vpopmail.h``, as ``VA_USER_DOES_NOT_EXIST``; empty where it has none."""
    text: str
    """verror()'s text for the code."""
    about: str
    """What it is about: the domain, the address, what to do; never a password."""

    def __init__(self, code: int, text: str, about: str = "") -> None:
        super().__init__(f"{text}: {about}" if about else text)
        self.code, self.text, self.about = code, text, about
        self.name = _NAMES.get(code, "")

    def __reduce__(self) -> tuple[type[VpopmailError], tuple[int, str, str]]:
        return type(self), (self.code, self.text, self.about)


class DomainExists(VpopmailError, FileExistsError):
    """There is a domain or alias domain of this name already."""


class UserExists(VpopmailError, FileExistsError):
    """There is a user of this name, or something at the path of its directory, already."""


class NoSuchDomain(VpopmailError, LookupError):
    """There is no such domain."""


class NoSuchUser(VpopmailError, LookupError):
    """The domain has no such user."""


class NoSuchAlias(VpopmailError, LookupError):
    """The domain has no such alias, or the alias no such line."""


class InvalidName(VpopmailError, ValueError):
    """The name is none that a user, an alias or a domain may have."""


class InvalidValue(VpopmailError, ValueError):
    """A value that can't be stored: it holds a newline or a colon, or is out of its range."""


class TooLong(VpopmailError, ValueError):
    """A value is longer than vpopmail stores."""


class WeakPassword(VpopmailError, ValueError):
    """The password is not what ``etc/password_strength.conf`` asks for; the text tells what is."""


class NotPermitted(VpopmailError, PermissionError):
    """The process has not the right, or vpopmail's rules forbid it to everybody."""


class StorageFailed(VpopmailError, OSError):
    """A directory or file of vpopmail's or qmail's could not be read, made or changed."""


class NoConnection(VpopmailError, ConnectionError):
    """The database that vpopmail keeps users in can't be reached."""


class QueryFailed(VpopmailError, RuntimeError):
    """The database that vpopmail keeps users in refused a query."""


class BadConfiguration(VpopmailError, RuntimeError):
    """The file that names vpopmail's database can't be understood."""


class CryptFailed(VpopmailError, RuntimeError):
    """crypt(3) gave no hash."""


class OutOfMemory(VpopmailError, MemoryError):
    """Memory ran out."""


class NotSupported(VpopmailError, NotImplementedError):
    """The linked libvpopmail was built without it."""


class ToolFailed(VpopmailError, OSError):
    """A program of ``HOME/bin`` is not there, can't be run, or was ended by a signal."""


@dataclass(frozen=True)
class RefusedUser:
    """One of many users that were to be added, and why it can't be."""

    row: int
    """The how manieth of those given, from 1 on."""
    name: str
    error: VpopmailError


class UsersRefused(VpopmailError, ValueError):
    """Some of many users can't be added, so none was; `code` and `text` are the first one's."""

    refused: tuple[RefusedUser, ...]
    """Every user that can't be added, in the order in which they were given."""

    def __init__(self, refused: Iterable[RefusedUser], domain: str) -> None:
        self.refused, self.domain = tuple(refused), domain
        told = "; ".join(f"row {user.row}: {user.error}" for user in self.refused[:_TOLD])
        more = len(self.refused) - _TOLD
        about = f"{told}; and {more} more" if more > 0 else told
        first = self.refused[0].error
        super().__init__(first.code, first.text, f"{domain}: none was added, for {about}")

    def __reduce__(self) -> tuple[type[UsersRefused], tuple[tuple[RefusedUser, ...], str]]:  # type: ignore[override]
        return type(self), (self.refused, self.domain)


_TOLD = 5
_NAMES = {code.value: code.name for code in Code}
_KINDS: list[tuple[type[VpopmailError], Iterable[int]]] = [
    (DomainExists, (-13,)),
    (UserExists, (-2, -7)),
    (NoSuchDomain, (-11,)),
    (NoSuchUser, (-10,)),
    (InvalidName, (-1, -12)),
    (InvalidValue, (-20, -33, -34, -39)),
    (TooLong, range(-32, -24)),
    (WeakPassword, range(-74, -68)),
    (NotPermitted, (-22, -55)),
    (StorageFailed, (-3, -4, -5, -6, -8, -9, -14, -15, -16, -17, -19, -21, -36, -37)),
    (NoConnection, (-23, -38)),
    (QueryFailed, range(-44, -39)),
    (BadConfiguration, (-35, *range(-54, -44))),
    (CryptFailed, (-18,)),
    (OutOfMemory, (-24,)),
]
KINDS = {code: kind for kind, codes in _KINDS for code in codes}
"""The class of each code; one that is not here is a plain `VpopmailError`."""


def error_of(code: int, text: str, about: str = "") -> VpopmailError:
    """Return the exception for a code; `text` is verror()'s, `about` what the call was about."""
    return KINDS.get(code, VpopmailError)(code, text, about)
