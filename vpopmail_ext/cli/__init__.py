"""The command line ``vpopmail-ext``: an administrator's daily work from the shell."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from vpopmail_ext import errors
from vpopmail_ext.chown import Refused
from vpopmail_ext.cli import (
    accounts,
    administration,
    aliases,
    checkpassword,
    domains,
    limits,
    many,
    migrate,
    shell,
    users,
)
from vpopmail_ext.cli.output import UsageError, clean
from vpopmail_ext.cli.parser import Options, Parser, root
from vpopmail_ext.info import configure

_ABOUT = "Administer vpopmail's domains, users and aliases."
_EXIT = """\
Exit codes: 0 done; 1 the answer is no (auth: wrong password; doctor: something is missing; import:
rows were refused; delete: the question was answered with no; migrate: PHP that could not be
understood); 2 wrong usage; 3 there is no such domain, user or alias; 4 it is there already; 5 a
name, value or password that can't be used; 6 not permitted; 7 a file, directory, program or
database failed; 8 the linked libvpopmail was built without it. checkpassword has those of its
interface: 1, 2, 111, and 3 for Dovecot."""
# The first that fits: FileExistsError and PermissionError are OSErrors too.
_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, 2),
    (LookupError, 3),
    (FileExistsError, 4),
    (ValueError, 5),
    (PermissionError, 6),
    (Refused, 6),
    (NotImplementedError, 8),
    (errors.VpopmailError, 7),
    (OSError, 7),
)
_INTERRUPTED = 130
_NOBODY_READS = 141


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"vpopmail-ext: {clean(record.getMessage())}"


def parser() -> Parser:
    """Return the parser of the whole command line."""
    made, commands = root(_ABOUT, _EXIT)
    for group in (domains, users, aliases, limits, accounts, many, administration):
        group.add(commands)
    checkpassword.add(commands)
    migrate.add(commands)
    shell.add(commands, parser)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default the process's) tell; return the exit code."""
    options = parser().parse_args(arguments)
    log, to_stderr = logging.getLogger("vpopmail_ext"), logging.StreamHandler()
    to_stderr.setFormatter(_Formatter())
    to_stderr.setLevel(logging.WARNING)
    log.addHandler(to_stderr)
    try:
        return _run(options)
    finally:
        log.removeHandler(to_stderr)


def _run(options: Options) -> int:
    try:
        if options.home or options.qmail:
            configure(options.home, options.qmail)
        code: int = options.run(options) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, without a word when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    except tuple(kind for kind, _ in _EXIT_CODES) as error:
        print(f"vpopmail-ext: {clean(str(error))}", file=sys.stderr)
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    return code
