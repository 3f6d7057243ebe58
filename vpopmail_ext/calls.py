"""Between `vpopmail_ext.api` and the binding: texts, records, codes as exceptions, programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vpopmail_ext import exec_tools
from vpopmail_ext.errors import (
    Code,
    InvalidValue,
    NotSupported,
    ToolFailed,
    VpopmailError,
    error_of,
)
from vpopmail_ext.info import copy_out, info, tool_path
from vpopmail_ext.linked import lib
from vpopmail_ext.records import Domain, Quota, User, UserFlags, is_apop

_DOMAIN_FIELDS = 5
_USER_FIELDS = 9


def text(parameter: str, value: str) -> bytes:
    """Return a text as the library takes it; TypeError, or InvalidValue for what it can't hold."""
    if not isinstance(value, str):
        raise TypeError(f"{parameter} must be str, not {type(value).__name__}")
    if "\0" in value:
        raise error(Code.VA_BAD_CHAR, f"a NUL in {parameter}")
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        pass
    # Not from that one, which holds what may be a password.
    raise error(Code.VA_BAD_CHAR, f"a surrogate that stands for no byte in {parameter}")


def decoded(data: bytes) -> str:
    """Return a text of the library's."""
    return data.decode("utf-8", "surrogateescape")


def number(parameter: str, value: int, last: int) -> int:
    """Return an int from 0 to `last`; InvalidValue for another."""
    if not 0 <= value <= last:
        raise InvalidValue(
            Code.VA_BAD_CHAR,
            "Number out of range",
            f"{parameter} must be from 0 to {last}, not {value!r}",
        )
    return int(value)


def error(code: int, about: str) -> VpopmailError:
    """Return the exception for a code that a call on this thread just gave."""
    if code == lib.VPX_NOT_SUPPORTED:
        linked = f"libvpopmail {info().vpopmail_version}"
        return NotSupported(code, "Not supported", f"the linked {linked} was built without {about}")
    # The text of a password-policy code is the calling thread's.
    return error_of(code, decoded(copy_out(lib.vpx_error, code)[1]), about)


def check(code: int, about: str) -> None:
    """Raise what a code stands for, unless it is success."""
    if code != 0:
        raise error(code, about)


def fetch(function: Callable[..., int], about: str, *arguments: Any) -> bytes:
    """Return the bytes that a function of the binding gives; raise what its code stands for."""
    code, data = copy_out(function, *arguments)
    check(code, about)
    return data


def split(data: bytes, size: int) -> Iterator[list[bytes]]:
    """Give records of `size` fields, each of which a NUL ends."""
    parts = data.split(b"\0")
    return (parts[at : at + size] for at in range(0, len(parts) - 1, size))


def domains() -> Iterator[Domain]:
    """Give all domains and alias domains."""
    return domains_of(fetch(lib.vpx_domains, "QMAIL/users/assign"))


def domain(name: str) -> Domain:
    """Return a domain or alias domain; NoSuchDomain."""
    return next(domains_of(fetch(lib.vpx_domain, name, text("name", name))))


def domains_of(data: bytes) -> Iterator[Domain]:
    """Read the binding's records of domains."""
    for name, real, uid, gid, directory in split(data, _DOMAIN_FIELDS):
        yield Domain(decoded(name), decoded(real), int(uid), int(gid), decoded(directory))


def users_of(data: bytes) -> Iterator[User]:
    """Read the binding's records of users."""
    for name, domain, hash_, kind, flags, all_flags, gecos, directory, quota in split(
        data, _USER_FIELDS
    ):
        yield User(
            decoded(name),
            decoded(domain),
            decoded(gecos),
            decoded(directory),
            Quota.stored(decoded(quota)),
            UserFlags(int(flags)),
            UserFlags(int(all_flags)),
            is_apop(int(kind)),
            decoded(hash_),
        )


def run_tool(tool: str, about: str, *arguments: bytes) -> None:
    """Run a program of ``HOME/bin``; raise what its exit status, a negative code, stands for."""
    status = exec_tools.run(tool, *arguments)
    code = status - 256
    if status == 0:
        return
    if status == exec_tools.NOT_FOUND:
        reason = "is not there"
    elif status == exec_tools.NOT_EXECUTABLE:
        reason = "can't be run"
    elif code in Code.__members__.values():
        if Code.VA_PWSTR_DELTA <= code <= Code.VA_PWSTR_EMPTY:  # the text stayed with the program
            raise error_of(code, "password refused by etc/password_strength.conf", about)
        raise error(code, about)
    elif status > exec_tools.SIGNALLED:
        reason = f"was ended by signal {status - exec_tools.SIGNALLED}"
    else:
        reason = f"failed with exit status {status}"
    raise ToolFailed(status, "Program failed", f"{tool_path(tool)} {reason}; {about}")
