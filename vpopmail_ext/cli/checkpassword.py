"""``vpopmail-ext checkpassword``."""

from __future__ import annotations

import argparse

from vpopmail_ext import checkpassword
from vpopmail_ext.cli.parser import Commands, Options, add_equal_time, command


def add(commands: Commands) -> None:
    """Add the command."""
    made = command(
        commands,
        "checkpassword",
        _run,
        "check a password from descriptor 3, then run a program, for qmail-popup and Dovecot",
        example="qmail-popup mail.example.com vpopmail-ext checkpassword qmail-pop3d Maildir",
        json=False,
    )
    made.add_argument(
        "--dovecot",
        action="store_true",
        help="tell Dovecot uid and gid instead of taking them on, and answer its look-ups",
    )
    add_equal_time(made)
    made.add_argument("program", metavar="PROGRAM", nargs=argparse.REMAINDER)


def _run(options: Options) -> int:
    return checkpassword.run(
        options.program, dovecot=options.dovecot, equal_time=options.equal_time
    )
