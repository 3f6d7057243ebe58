"""How the commands of ``vpopmail-ext`` are put together."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from vpopmail_ext.info import VERSION

Options: TypeAlias = argparse.Namespace
Parser: TypeAlias = argparse.ArgumentParser
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[Options], int | None]

NAME = "vpopmail-ext"


def root(about: str, epilog: str) -> tuple[Parser, Commands]:
    """Return the parser of the whole command line, and what its commands are added to."""
    made = argparse.ArgumentParser(
        NAME,
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"{NAME} {VERSION}")
    made.add_argument(
        "--home", metavar="DIR", help="vpopmail's directory (else VPOPMAIL_HOME, /home/vpopmail)"
    )
    made.add_argument(
        "--qmail", metavar="DIR", help="qmail's directory (else QMAIL_HOME, /var/qmail)"
    )
    return made, made.add_subparsers(metavar="COMMAND", required=True)


def group(commands: Commands, name: str, summary: str) -> Commands:
    """Add a group of commands, as ``domain``; return what its commands are added to."""
    made = commands.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    return made.add_subparsers(metavar="COMMAND", required=True)


def command(
    commands: Commands, name: str, run: Run, summary: str, *, example: str, json: bool = True
) -> Parser:
    """Add a command; `example` is shown by ``--help``. `json`: it has the option ``--json``."""
    made = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(run=run, json=False)
    if json:
        made.add_argument("--json", action="store_true", help="print JSON")
    return made


def add_address(made: Parser) -> None:
    """Add the argument ADDRESS: user@domain, or a user of the default domain."""
    made.add_argument("address", metavar="ADDRESS", help="user@domain")


def add_equal_time(made: Parser) -> None:
    """Add the option ``--equal-time``."""
    made.add_argument(
        "--equal-time",
        action="store_true",
        help="take as long for a user who is not there as for a wrong password",
    )


def add_yes(made: Parser) -> None:
    """Add the option ``--yes``, which stands for the answer to the question."""
    made.add_argument("--yes", action="store_true", help="do it without a question")
