"""Passwords by prompt, descriptor or environment: never in the arguments, which all can see."""

from __future__ import annotations

import getpass
import os
import sys

from vpopmail_ext.cli.output import UsageError
from vpopmail_ext.cli.parser import Options, Parser

_MOST = 4096


def add_options(made: Parser) -> None:
    """Add the options that tell where the password comes from."""
    source = made.add_mutually_exclusive_group()
    source.add_argument(
        "--password-fd",
        type=int,
        metavar="N",
        help="read the password from file descriptor N (0: standard input), up to a newline",
    )
    source.add_argument(
        "--password-env", metavar="NAME", help="take the password from environment variable NAME"
    )


def read(options: Options, *, new: bool) -> str:
    """Return the password; a new one is asked for twice."""
    if options.password_fd is not None:
        return _from_descriptor(options.password_fd)
    if options.password_env is not None:
        if options.password_env not in os.environ:
            raise UsageError(f"the environment has no {options.password_env}")
        return os.environ[options.password_env]
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for the password: give it by --password-fd 0 or "
            "--password-env NAME"
        )
    password = getpass.getpass("Password: ")
    if new and getpass.getpass("Once more: ") != password:
        raise UsageError("the two passwords are not the same")
    return password


def _from_descriptor(fd: int) -> str:
    data = b""
    try:
        # Byte by byte: what follows the line may be for somebody else.
        while len(data) <= _MOST and (byte := os.read(fd, 1)) not in (b"", b"\n"):
            data += byte
    except OSError as error:
        raise UsageError(f"descriptor {fd} can't be read: {error.strerror}") from None
    if len(data) > _MOST:
        raise UsageError(f"what descriptor {fd} gives is too long for a password")
    return data.removesuffix(b"\r").decode("utf-8", "surrogateescape")
