"""DJB's checkpassword interface (https://cr.yp.to/checkpwd/interface.html), for vpopmail's users.

qmail-popup and Dovecot give name and password on descriptor 3; the program that they name is run
where the password is right. Exit codes: 1 it is not; 2 misused; 111 it could not be looked up; 3,
for Dovecot, there is no such user.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import NoReturn

from vpopmail_ext import api
from vpopmail_ext.errors import NoSuchDomain, NoSuchUser, VpopmailError
from vpopmail_ext.records import User, UserFlags

DESCRIPTOR = 3
REFUSED, MISUSED, NO_USER, TEMPORARY = 1, 2, 3, 111
_MOST = 512
_SERVICES = {
    "25": "smtp",
    "110": "pop3",
    "143": "imap",
    "465": "smtp",
    "587": "smtp",
    "993": "imap",
    "995": "pop3",
}
_FORBIDDING = {
    "smtp": UserFlags.NO_SMTP,
    "submission": UserFlags.NO_SMTP,
    "pop3": UserFlags.NO_POP,
    "imap": UserFlags.NO_IMAP,
}
# IMAP from the host itself is a webmail program's.
_LOCAL = ("127.0.0.1", "::1")

_log = logging.getLogger("vpopmail_ext")


def run(program: Sequence[str], *, dovecot: bool = False, equal_time: bool = False) -> int:
    """Check what descriptor 3 gives and run `program` in place of this process, or return a code.

    The program gets USER, HOME, SHELL and the working directory; where root runs it, also the
    uid and gid of the domain. With `dovecot` the ids stay and are told by ``userdb_uid`` and
    ``userdb_gid``, and its look-ups without a password (``AUTHORIZED=1``) are answered. With
    `equal_time` a user who is not there takes as long as a wrong password.
    """
    try:
        given = _read()
    except OSError:
        return MISUSED
    if given is None or not program:
        return MISUSED
    name, password = given
    lookup = dovecot and os.environ.get("AUTHORIZED") == "1"
    try:
        user = _look_up(name) if lookup else _sign_in(name, password, equal_time)
        if user is None:
            return NO_USER if lookup else REFUSED
        domain = api.domain(user.domain)
    except (VpopmailError, OSError) as error:
        _log.error("checkpassword: %s", error)
        return TEMPORARY
    environment = {
        **os.environ,
        "USER": user.address,
        "HOME": user.directory,
        "SHELL": "/bin/false",
    }
    if dovecot:
        environment |= {"userdb_uid": str(domain.uid), "userdb_gid": str(domain.gid)}
        environment["EXTRA"] = "userdb_uid userdb_gid"
        if lookup:
            environment["AUTHORIZED"] = "2"
    try:
        if not dovecot:
            _become(domain.uid, domain.gid)
            os.chdir(user.directory)
        _execute(program, environment)
    except OSError as error:
        _log.error("checkpassword: %s", error)
        return TEMPORARY


def _read() -> tuple[str, str] | None:
    """Read descriptor 3 to its end and close it: name, password, timestamp, each before a NUL."""
    data = b""
    while len(data) <= _MOST and (more := os.read(DESCRIPTOR, _MOST + 1)):
        data += more
    os.close(DESCRIPTOR)
    parts = data.split(b"\0")
    if len(data) > _MOST or len(parts) < 3:
        return None
    name, password = (part.decode("utf-8", "surrogateescape") for part in parts[:2])
    return name, password


def _look_up(name: str) -> User | None:
    try:
        return api.user(*api.split_address(name))
    except (NoSuchUser, NoSuchDomain):
        return None


def _sign_in(name: str, password: str, equal_time: bool) -> User | None:
    remote = os.environ.get("TCPREMOTEIP", "")
    service = os.environ.get("SERVICE") or _SERVICES.get(os.environ.get("TCPLOCALPORT", ""), "")
    forbidding = _FORBIDDING.get(service.lower(), UserFlags(0))
    if forbidding is UserFlags.NO_IMAP and remote in _LOCAL:
        forbidding = UserFlags.NO_WEBMAIL
    user = api.sign_in(name, password, forbidding, equal_time=equal_time)
    if user is not None and remote:
        try:
            api.set_last_auth(user, remote)
        except (VpopmailError, OSError) as error:  # no reason to keep the user out
            _log.warning("checkpassword: the sign-in was not noted: %s", error)
    return user


def _become(uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _execute(program: Sequence[str], environment: dict[str, str]) -> NoReturn:
    os.execvpe(program[0], list(program), environment)
