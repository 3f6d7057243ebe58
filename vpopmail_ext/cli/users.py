"""``vpopmail-ext user``."""

from __future__ import annotations

from vpopmail_ext import api
from vpopmail_ext.cli import passwords
from vpopmail_ext.cli.output import (
    confirm,
    plain,
    show_json,
    show_table,
    show_values,
    split_address,
    word,
)
from vpopmail_ext.cli.parser import Commands, Options, add_address, add_yes, command, group
from vpopmail_ext.errors import NotSupported
from vpopmail_ext.records import LastAuth, User, UserFlags


def add(commands: Commands) -> None:
    """Add the group's commands."""
    user = group(commands, "user", "users of a domain")
    made = command(
        user,
        "list",
        _list,
        "list a domain's users",
        example="vpopmail-ext user list example.com",
    )
    made.add_argument("domain", metavar="DOMAIN")
    made = command(
        user,
        "show",
        _show,
        "show a user, with what the mail takes and the last sign-in",
        example="vpopmail-ext user show alice@example.com",
    )
    add_address(made)
    made = command(
        user,
        "add",
        _add,
        "add a user",
        example="vpopmail-ext user add alice@example.com --gecos 'Alice A.'",
    )
    add_address(made)
    made.add_argument("--gecos", metavar="NAME", default="", help="the full name")
    made.add_argument("--apop", action="store_true", help="mark the user for APOP")
    passwords.add_options(made)
    made = command(
        user,
        "delete",
        _delete,
        "delete a user with the mail",
        example="vpopmail-ext user delete alice@example.com --yes",
    )
    add_address(made)
    add_yes(made)
    made = command(
        user,
        "passwd",
        _passwd,
        "change a user's password",
        example="vpopmail-ext user passwd alice@example.com --password-fd 0 < file",
    )
    add_address(made)
    passwords.add_options(made)
    made = command(
        user,
        "quota",
        _quota,
        "set a user's quota: 100M, 1G,5000C, NOQUOTA",
        example="vpopmail-ext user quota alice@example.com 1G,5000C",
    )
    add_address(made)
    made.add_argument("quota", metavar="QUOTA", help="bytes (K, M, G, T), messages (C), or NOQUOTA")
    made = command(
        user,
        "flags",
        _flags,
        "show or change a user's flags",
        example="vpopmail-ext user flags alice@example.com --add NO_POP --remove NO_IMAP",
    )
    add_address(made)
    names = [str(flag.name) for flag in UserFlags]
    for option, words in (("--add", "set this flag"), ("--remove", "clear this flag")):
        made.add_argument(
            option, metavar="FLAG", choices=names, action="append", default=[], help=words
        )
    made.add_argument("--clear", action="store_true", help="clear all others")


def _list(options: Options) -> None:
    show_table(
        api.users(options.domain),
        ("address", "name", "quota", "flags"),
        lambda user: (user.address, user.gecos, user.quota, user.flags),
        options.json,
    )


def _show(options: Options) -> None:
    user = api.user(*split_address(options.address))
    usage, last = api.quota_usage(user), _last_auth(user)
    if options.json:
        show_json({**plain(user), "usage": plain(usage), "last_auth": plain(last)})
        return
    percent = "" if usage.percent is None else f", {usage.percent} %"
    show_values(
        {
            "address": user.address,
            "name": user.gecos,
            "directory": user.directory,
            "quota": user.quota,
            "used": f"{usage.size} bytes, {usage.messages} messages{percent}",
            "flags": user.flags,
            "with the domain's": user.effective_flags,
            "APOP": user.apop,
            "last sign-in": last and f"{word(last.time)} from {last.address}",
        }
    )


def _last_auth(user: User) -> LastAuth | None:
    try:
        return api.last_auth(user)
    except NotSupported:
        return None


def _add(options: Options) -> None:
    name, domain = split_address(options.address)
    password = passwords.read(options, new=True)
    api.add_user(name, domain, password, gecos=options.gecos, apop=options.apop)
    _show_changed(options, name, domain)


def _show_changed(options: Options, name: str, domain: str) -> None:
    if options.json:
        show_json(api.user(name, domain))


def _delete(options: Options) -> int:
    user = api.user(*split_address(options.address))
    if not confirm(f"Delete {user.address} with the mail?", options.yes):
        return 1
    api.delete_user(user.name, user.domain)
    return 0


def _passwd(options: Options) -> None:
    name, domain = split_address(options.address)
    api.set_password(name, domain, passwords.read(options, new=True))
    _show_changed(options, name, domain)


def _quota(options: Options) -> None:
    name, domain = split_address(options.address)
    api.set_quota(name, domain, options.quota)
    _show_changed(options, name, domain)


def _flags(options: Options) -> None:
    user = api.user(*split_address(options.address))
    flags = UserFlags(0) if options.clear else user.flags
    for name in options.add:
        flags |= UserFlags[name]
    for name in options.remove:
        flags &= ~UserFlags[name]
    changes = options.clear or options.add or options.remove
    if changes:
        api.set_flags(user.name, user.domain, flags)
    if options.json:
        show_json(flags)
    elif not changes:
        print(word(flags))
