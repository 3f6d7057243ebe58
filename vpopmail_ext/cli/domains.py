"""``vpopmail-ext domain``."""

from __future__ import annotations

from vpopmail_ext import api
from vpopmail_ext.cli import passwords
from vpopmail_ext.cli.output import confirm, show_json, show_table
from vpopmail_ext.cli.parser import Commands, Options, add_yes, command, group


def add(commands: Commands) -> None:
    """Add the group's commands."""
    domain = group(commands, "domain", "virtual domains and alias domains")
    command(
        domain,
        "list",
        _list,
        "list all domains and alias domains",
        example="vpopmail-ext domain list --json",
    )
    made = command(
        domain,
        "add",
        _add,
        "add a domain",
        example="vpopmail-ext domain add example.com --postmaster",
    )
    made.add_argument("name", metavar="DOMAIN")
    made.add_argument("--dir", metavar="DIR", help="keep it under DIR/domains (else vpopmail's)")
    made.add_argument("--uid", type=int, help="its owner (else vpopmail's)")
    made.add_argument("--gid", type=int, help="its owner's group (else vpopmail's)")
    made.add_argument(
        "--postmaster", action="store_true", help="add postmaster too, with a password"
    )
    passwords.add_options(made)
    made = command(
        domain,
        "delete",
        _delete,
        "delete a domain with its users and their mail, or an alias domain alone",
        example="vpopmail-ext domain delete example.com --yes",
    )
    made.add_argument("name", metavar="DOMAIN")
    add_yes(made)
    made = command(
        domain,
        "alias",
        _alias,
        "make another name for a domain",
        example="vpopmail-ext domain alias example.com example.net",
    )
    made.add_argument("name", metavar="DOMAIN")
    made.add_argument("alias", metavar="ALIAS")


def _list(options: Options) -> None:
    show_table(
        api.domains(),
        ("domain", "alias of", "uid", "gid", "directory"),
        lambda d: (d.name, d.real_name if d.is_alias else None, d.uid, d.gid, d.directory),
        options.json,
    )


def _add(options: Options) -> None:
    password = passwords.read(options, new=True) if options.postmaster else None
    api.add_domain(options.name, directory=options.dir, uid=options.uid, gid=options.gid)
    if password is not None:
        try:
            api.add_user("postmaster", options.name, password, gecos="Postmaster")
        except BaseException:
            api.delete_domain(options.name)
            raise
    if options.json:
        show_json(api.domain(options.name))


def _delete(options: Options) -> int:
    domain = api.domain(options.name)
    what = "" if domain.is_alias else " with all its users, their mail and its alias domains"
    if not confirm(f"Delete {domain.name}{what}?", options.yes):
        return 1
    api.delete_domain(domain.name)
    return 0


def _alias(options: Options) -> None:
    api.add_alias_domain(options.name, options.alias)
    if options.json:
        show_json(api.domain(options.alias))
