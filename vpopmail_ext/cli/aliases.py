"""``vpopmail-ext alias``."""

from __future__ import annotations

from vpopmail_ext import api
from vpopmail_ext.cli.output import show_json, show_table, split_address
from vpopmail_ext.cli.parser import Commands, Options, add_address, command, group


def add(commands: Commands) -> None:
    """Add the group's commands."""
    alias = group(commands, "alias", "aliases: where mail to an address goes")
    made = command(
        alias,
        "list",
        _list,
        "list a domain's aliases, a row for each line",
        example="vpopmail-ext alias list example.com",
    )
    made.add_argument("domain", metavar="DOMAIN")
    made = command(
        alias,
        "add",
        _add,
        "add lines to an alias",
        example="vpopmail-ext alias add info@example.com '&alice@example.com'",
    )
    add_address(made)
    made.add_argument(
        "lines", metavar="LINE", nargs="+", help="as in .qmail: &ADDRESS, |PROGRAM, …"
    )
    made.add_argument("--replace", action="store_true", help="these lines instead of all others")
    made = command(
        alias,
        "delete",
        _delete,
        "delete an alias, or lines of it",
        example="vpopmail-ext alias delete info@example.com '&alice@example.com'",
    )
    add_address(made)
    made.add_argument("lines", metavar="LINE", nargs="*", help="only this; else the whole alias")


def _list(options: Options) -> None:
    aliases = api.aliases(options.domain)
    if options.json:
        show_table(aliases, (), lambda alias: (), True)
    else:
        show_table(
            ((alias.address, line) for alias in aliases for line in alias.lines or (None,)),
            ("alias", "line"),
            lambda row: row,
            False,
        )


def _add(options: Options) -> None:
    name, domain = split_address(options.address)
    if options.replace:
        api.set_alias(name, domain, options.lines)
    else:
        for line in options.lines:
            api.add_alias(name, domain, line)
    if options.json:
        show_json(api.alias(name, domain))


def _delete(options: Options) -> None:
    name, domain = split_address(options.address)
    if not options.lines:
        api.delete_alias(name, domain)
    for line in options.lines:
        api.remove_alias_line(name, domain, line)
