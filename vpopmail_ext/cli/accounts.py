"""``vpopmail-ext auth``."""

from __future__ import annotations

import sys

from vpopmail_ext import api
from vpopmail_ext.cli import passwords
from vpopmail_ext.cli.output import clean, show_json, split_address
from vpopmail_ext.cli.parser import Commands, Options, add_address, add_equal_time, command


def add(commands: Commands) -> None:
    """Add the command."""
    made = command(
        commands,
        "auth",
        _auth,
        "tell by the exit code, 0 or 1, whether a password is the user's",
        example="vpopmail-ext auth alice@example.com --password-env PW",
    )
    add_address(made)
    passwords.add_options(made)
    add_equal_time(made)


def _auth(options: Options) -> int:
    name, domain = split_address(options.address)
    password = passwords.read(options, new=False)
    user = api.authenticate(name, domain, password, equal_time=options.equal_time)
    if options.json:
        show_json(user)
    elif user is None:
        print(f"{clean(name)}@{clean(domain)}: no such user or another password", file=sys.stderr)
    return 0 if user is not None else 1
