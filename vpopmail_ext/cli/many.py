"""``vpopmail-ext import`` and ``export``: users of whole domains, as comma-separated values."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import chain
from typing import Any, TextIO

from vpopmail_ext import api, bulk
from vpopmail_ext.cli.output import (
    UsageError,
    clean,
    drawing,
    flag_names,
    show_json,
    show_table,
    split_address,
)
from vpopmail_ext.cli.parser import Commands, Options, command
from vpopmail_ext.errors import NoSuchDomain, UsersRefused
from vpopmail_ext.records import NewUser, Quota, UserFlags

COLUMNS = ("address", "password", "password_hash", "gecos", "quota", "flags", "apop")
_EXPORTED = tuple(column for column in COLUMNS if column != "password")
_SWITCH = {"": False, "no": False, "yes": True}

Refused = list[tuple[int, str]]
"""Lines of the file, and why they can't be imported."""


def add(commands: Commands) -> None:
    """Add the commands."""
    made = command(
        commands,
        "import",
        _import,
        "add the users of a file, of any number of domains, all or none",
        example="vpopmail-ext import users.csv",
    )
    made.add_argument(
        "file",
        metavar="FILE",
        help=f"comma-separated values, or - for standard input; the first line names the columns, "
        f"some of {', '.join(COLUMNS)}",
    )
    made.add_argument(
        "--threads", type=int, metavar="N", help="hash passwords with so many (else: all cores)"
    )
    made = command(
        commands,
        "export",
        _export,
        "print users, with the hashes of their passwords, as import reads them",
        example="vpopmail-ext export example.com > users.csv",
    )
    made.add_argument("domains", metavar="DOMAIN", nargs="+")


# --- reading --------------------------------------------------------------------------------------


class _Users:
    """The users of one domain in the file, and the lines that they are on."""

    def __init__(self) -> None:
        self.users: list[NewUser] = []
        self.lines: list[int] = []


def _read(file: TextIO, refused: Refused) -> dict[str, _Users]:
    found: dict[str, _Users] = {}
    rows = csv.DictReader(file, strict=True)
    _check_columns(rows.fieldnames or ())
    for row in rows:
        line = rows.line_num
        try:
            domain, user = _user(row)
        except (UsageError, ValueError) as error:
            refused.append((line, str(error)))
            continue
        of_domain = found.setdefault(domain.lower(), _Users())
        of_domain.users.append(user)
        of_domain.lines.append(line)
    return found


def _check_columns(columns: Sequence[str]) -> None:
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or "address" not in columns:
        about = f"has a column {unknown[0]!r}" if unknown else "has no column address"
        raise UsageError(f"the file's first line {about}; it names some of {', '.join(COLUMNS)}")


def _user(row: dict[str, Any]) -> tuple[str, NewUser]:
    if None in row or None in row.values():
        raise UsageError("has more or fewer values than the first line has columns")
    name, domain = split_address(row["address"])
    value = {column: row.get(column) or None for column in COLUMNS}
    if (value["apop"] or "") not in _SWITCH:
        raise UsageError(f"{row['address']}: apop is yes or no, not {value['apop']!r}")
    flags = UserFlags(0)
    for word in filter(None, (value["flags"] or "").split(",")):
        if word not in UserFlags.__members__:
            raise UsageError(f"{row['address']}: there is no flag {word!r}")
        flags |= UserFlags[word]
    user = NewUser(
        name,
        value["password"],
        value["gecos"] or "",
        _SWITCH[value["apop"] or ""],
        Quota.parse(value["quota"]) if value["quota"] else None,
        flags,
        value["password_hash"],
    )
    return domain, user


# --- import ---------------------------------------------------------------------------------------


def _import(options: Options) -> int:
    refused: Refused = []
    with _opened(options.file) as file:
        try:
            found = _read(file, refused)
        except csv.Error as error:
            raise UsageError(f"{options.file}: no comma-separated values: {error}") from None
    with ExitStack() as stack:
        additions: list[bulk.Addition] = []
        for domain, of_domain in found.items():
            try:
                addition = bulk.Addition(domain, of_domain.users, options.threads)
                additions.append(stack.enter_context(addition))
            except UsersRefused as error:
                refused += [(of_domain.lines[u.row - 1], str(u.error)) for u in error.refused]
            except NoSuchDomain as error:
                refused += [(line, str(error)) for line in of_domain.lines]
        if not refused:
            _make(additions)
            _commit(additions, found)
        count = sum(addition.count for addition in additions)
    if options.json:
        lines = [{"line": line, "reason": clean(reason)} for line, reason in sorted(refused)]
        show_json({"imported": 0 if refused else count, "refused": lines})
    elif refused:
        for line, reason in sorted(refused):
            print(f"line {line}: {clean(reason)}", file=sys.stderr)
        print(f"nothing was imported: lines refused: {len(refused)}", file=sys.stderr)
    return 1 if refused else 0


def _opened(name: str) -> AbstractContextManager[TextIO]:
    if name == "-":
        return nullcontext(sys.stdin)
    return open(name, newline="", encoding="utf-8-sig", errors="surrogateescape")


def _make(additions: list[bulk.Addition]) -> None:
    terminal = drawing() if sys.stderr.isatty() else None
    count = sum(addition.count for addition in additions)
    with terminal.progress(count) if terminal else nullcontext(lambda done: None) as show:
        before = 0
        for addition in additions:

            def told(done: int, _: int, before: int = before) -> None:
                show(before + done)

            addition.make(told)
            before += addition.count


def _commit(additions: list[bulk.Addition], found: dict[str, _Users]) -> None:
    done: list[str] = []
    try:
        for addition in additions:
            addition.commit()
            done.append(addition.domain)
    except BaseException:
        for domain in done:
            for user in found[domain].users:
                api.delete_user(user.name, domain)
        raise


# --- export ---------------------------------------------------------------------------------------


def _export(options: Options) -> None:
    listed = [api.users(domain) for domain in options.domains]
    if options.json:
        values = (dict(zip(_EXPORTED, row, strict=True)) for row in chain(*map(_values, listed)))
        show_table(values, (), lambda row: (), True)
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_EXPORTED)
    for users in listed:
        writer.writerows(_values(users))


def _values(users: Iterator[api.User]) -> Iterator[tuple[str, ...]]:
    for user in users:
        flags, apop = ",".join(flag_names(user.flags)), "yes" if user.apop else "no"
        yield user.address, user.password_hash, user.gecos, str(user.quota), flags, apop
