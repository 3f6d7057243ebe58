"""``vpopmail-ext limits``."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from vpopmail_ext import api
from vpopmail_ext.cli.output import UsageError, show_json, show_values
from vpopmail_ext.cli.parser import Commands, Options, command, group
from vpopmail_ext.records import Denied, Limits, Quota

_SWITCH = {"yes": True, "no": False}
_ANY = ("any", "-")


def add(commands: Commands) -> None:
    """Add the group's commands."""
    limits = group(commands, "limits", "what a domain and its users may have")
    made = command(
        limits,
        "show",
        _show,
        "show a domain's limits",
        example="vpopmail-ext limits show example.com",
    )
    made.add_argument("domain", metavar="DOMAIN")
    made = command(
        limits,
        "set",
        _set,
        "change a domain's limits; what is not named stays",
        example="vpopmail-ext limits set example.com maxpopaccounts=50 default_quota=100M "
        "disable_imap=yes perm_alias=delete",
    )
    made.add_argument("domain", metavar="DOMAIN")
    made.add_argument(
        "changes",
        metavar="NAME=VALUE",
        nargs="+",
        help="a number or any; yes or no for disable_… and delete_spam; for perm_… what is denied: "
        "none, or some of create,modify,delete; NAME is as limits show prints it",
    )


def _show(options: Options) -> None:
    limits = api.limits(options.domain)
    if options.json:
        show_json(limits)
    else:
        show_values({field.name: getattr(limits, field.name) for field in fields(Limits)})


def _set(options: Options) -> None:
    changes: dict[str, Any] = dict(map(_change, options.changes))
    api.set_limits(options.domain, replace(api.limits(options.domain), **changes))
    if options.json:
        show_json(api.limits(options.domain))


def _change(text: str) -> tuple[str, int | bool | Denied | None]:
    name, equals, value = text.partition("=")
    known = {field.name: field.default for field in fields(Limits)}
    if not equals or name not in known:
        raise UsageError(f"{text!r} is not NAME=VALUE; the names are {', '.join(known)}")
    try:
        return name, _value(name, value, known[name])
    except (KeyError, ValueError):
        raise UsageError(f"{name} can't be {value!r}; --help tells what can be written") from None


def _value(name: str, value: str, default: object) -> int | bool | Denied | None:
    if isinstance(default, bool):
        return _SWITCH[value.lower()]
    if isinstance(default, Denied):
        words = [] if value in ("none", "-") else value.upper().split(",")
        denied = Denied(0)
        for word in words:
            denied |= Denied[word]
        return denied
    if value in _ANY:
        return None
    return Quota.parse(value).size if name == "default_quota" else int(value)
