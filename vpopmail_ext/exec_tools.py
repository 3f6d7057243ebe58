"""Run vpopmail's own programs, as the functions with ``_ex`` in their name do."""

import logging
import os
import subprocess

from vpopmail_ext.info import home_dir, info, qmail_dir, tool_path
from vpopmail_ext.linked import lib, log_lines

NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNALLED = 128
BAD_CHAR = 256 - 20
TOO_LONG = 256 - 27

_log = logging.getLogger("vpopmail_ext")
_log.addHandler(logging.NullHandler())


def run(tool: str, *arguments: bytes) -> int:
    """Run ``HOME/bin/TOOL`` with `arguments`, each whole, and return its exit status.

    There is no shell, but the status is what one would tell: 128 + N where signal N ended the
    program, 127 where it is not there, 126 where it can't be started. The program gets
    ``VPOPMAIL_HOME`` and ``QMAIL_HOME``, so that the bundled programs act on the configured
    directories, and a umask of 077, since vpopmail's own write files with hashes by the umask that
    they get; it reads nothing, and what it prints is logged (logger ``vpopmail_ext``, level
    INFO). The arguments are not logged, since one may be a password; while the program runs, the
    system's process list shows them to every local user, as with the PHP extension.

    A newline is refused with 236 (`bad character`), and nothing is run, where the library keeps
    passwords as they are given: its programs would write it into ``vpasswd``. So is, with 229
    (`password too long`), a postmaster whose line there vpopmail before 5.6 would not read whole.
    """
    path = tool_path(tool)
    if any(b"\n" in argument for argument in arguments) and _keeps_passwords():
        _log.error("%s is not run: one of its arguments has a newline", path)
        return BAD_CHAR
    if tool == "vadddomain" and _breaks_store(arguments):
        _log.error("%s is not run: the password is too long for a line of vpasswd", path)
        return TOO_LONG
    try:
        done = subprocess.run(
            [os.fsencode(path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "VPOPMAIL_HOME": home_dir(), "QMAIL_HOME": qmail_dir()},
            umask=0o077,
            check=False,
        )
    except FileNotFoundError:
        _log.error(
            "%s is not there; install vpopmail's programs (build_libvpopmail.sh --prefix) or name "
            "their installation with vpopmail_ext.configure(home=…) or VPOPMAIL_HOME",
            path,
        )
        return NOT_FOUND
    except OSError as error:
        _log.error("%s can't be run: %s", path, error.strerror)
        return NOT_EXECUTABLE
    log_lines(tool, done.stdout)
    lib.vpx_settle()
    _log.debug("%s: exit status %d", path, done.returncode)
    return done.returncode if done.returncode >= 0 else SIGNALLED - done.returncode


def _keeps_passwords() -> bool:
    linked = info()
    return linked.clear_passwords and linked.auth_module == "cdb"


def _breaks_store(arguments: tuple[bytes, ...]) -> bool:
    """Tell whether vadddomain would make a line of vpasswd that vpopmail before 5.6 runs over.

    As csrc/binding/real.h tells it: of 32 bytes for a user name, and lines of 254. It keeps an MD5
    hash beside the password; directory and quota are taken at their longest.
    """
    if not _keeps_passwords() or info().user_name_max > 32:
        return False
    operands = arguments[arguments.index(b"--") + 1 :]
    others = f"postmaster:{'h' * 34}:1:0:Postmaster:{home_dir()}/domains/0//postmaster:{'q' * 20}:"
    return len(os.fsencode(others)) + sum(map(len, operands)) > 254
