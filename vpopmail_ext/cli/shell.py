"""``vpopmail-ext completion`` and ``man``: the command line told to shells and to man(1)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator

from vpopmail_ext.cli.output import UsageError
from vpopmail_ext.cli.parser import NAME, Commands, Options, Parser, command

SHELLS = ("bash", "zsh", "tcsh")
_SECTIONS = """\
.SH OUTPUT
Lists are tables on a terminal (with the Python package rich, of the extra
.BR cli ).
In a pipe each row is a line, a tab between two columns, without a heading. Where a command has
.BR \\-\\-json ,
it prints JSON.
.SH PASSWORDS
They are asked for on the terminal, or come from a file descriptor or an environment variable, never
from the arguments, which every user of the host can see.
"""
_END = """\
.SH ENVIRONMENT
.TP
.B VPOPMAIL_HOME
vpopmail's directory, where it is not /home/vpopmail.
.TP
.B QMAIL_HOME
qmail's directory, where it is not /var/qmail.
.SH SEE ALSO
.BR dot\\-qmail (5),
.BR qmail\\-users (5),
.BR qmail\\-control (5)
"""


def add(commands: Commands, whole: Callable[[], Parser]) -> None:
    """Add the commands; `whole` gives the parser of the whole command line."""
    made = command(
        commands,
        "completion",
        lambda options: _completion(options, whole()),
        "print what makes a shell complete the commands and options",
        example='eval "$(vpopmail-ext completion bash)"',
        json=False,
    )
    made.add_argument("shell", choices=SHELLS)
    command(
        commands,
        "man",
        lambda options: print("".join(page(whole())), end=""),
        "print the manual page",
        example="vpopmail-ext man | man -l -",
        json=False,
    )


def _completion(options: Options, parser: Parser) -> None:
    try:
        import shtab
    except ImportError:
        text = "completion needs the package shtab: pip install 'vpopmail_ext[cli]'"
        raise UsageError(text) from None
    print(shtab.complete(parser, shell=options.shell))


def page(parser: Parser) -> Iterator[str]:
    """Give the manual page of the command line in man(7)'s macros."""
    yield f'.TH {NAME.upper()} 8 "" "vpopmail_ext" "System administration"\n'
    yield f".SH NAME\n{_roff(NAME)} \\- administer vpopmail's domains, users and aliases\n"
    yield f".SH SYNOPSIS\n.B {_roff(NAME)}\n[\\fIoptions\\fR] \\fIcommand\\fR \\fIarguments\\fR\n"
    yield f".SH DESCRIPTION\n{_roff(parser.description or '')}\n"
    yield ".SH OPTIONS\n"
    yield from _options(parser)
    yield ".SH COMMANDS\n"
    for leaf in leaves(parser):
        usage = " ".join(leaf.format_usage().removeprefix("usage: ").split())
        yield f".SS {_roff(leaf.prog.removeprefix(NAME + ' '))}\n{_roff(leaf.description or '')}\n"
        yield f".PP\n.nf\n{_roff(usage)}\n.fi\n"
        yield from _options(leaf)
        example = (leaf.epilog or "").partition("\n")[2].strip()
        yield f".PP\nExample:\n.PP\n.nf\n.RS\n{_roff(example)}\n.RE\n.fi\n"
    yield _SECTIONS
    title, _, codes = (parser.epilog or "").strip().partition(": ")
    yield f".SH {title.upper()}\n{_roff(codes)}\n"
    yield _END


def leaves(parser: Parser) -> Iterator[Parser]:
    """Give the parsers of the commands that have none below them, in order."""
    below = [
        choice
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for choice in action.choices.values()
    ]
    if not below:
        yield parser
    for choice in below:
        yield from leaves(choice)


def _options(parser: Parser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or not action.help:
            continue
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in action.option_strings)
        value = action.metavar if isinstance(action.metavar, str) else None
        if value is None and action.option_strings and action.nargs != 0:
            value = action.dest.upper()
        shown = " ".join(filter(None, (names, value and f"\\fI{_roff(value)}\\fR")))
        yield f".TP\n{shown}\n{_roff(action.help)}\n"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return "\n".join("\\&" + line if line[:1] in (".",) else line for line in escaped.split("\n"))
