"""``vpopmail-ext import`` and ``export``: users of whole domains, as comma-separated values.

What is said of a file to be imported has no value of it that may be a password: columns may be in
another order than its first line tells, and there may be no such line.
"""

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
from vpopmail_ext.errors import (
    InvalidValue,
    NoSuchDomain,
    NoSuchUser,
    RefusedUser,
    UsersRefused,
    VpopmailError,
)
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
        "add the users of a file, those of a domain in one change; none where a line is refused",
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
        self.named = set[int]()
        """The lines that name this domain; the others' is the default one."""

    def refused(self, user: RefusedUser) -> tuple[int, str]:
        """Return the line of a user who can't be added, and why."""
        line = self.lines[user.row - 1]
        return line, str(user.error) if line in self.named else user.error.text


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
        if "@" in row["address"]:
            of_domain.named.add(line)
    return found


def _check_columns(columns: Sequence[str]) -> None:
    unknown = [at for at, column in enumerate(columns, 1) if column not in COLUMNS]
    if unknown or "address" not in columns:
        about = f"has another name in column {unknown[0]}" if unknown else "has no column address"
        raise UsageError(f"the file's first line {about}; it names some of {', '.join(COLUMNS)}")


def _user(row: dict[str, Any]) -> tuple[str, NewUser]:
    if None in row or None in row.values():
        raise UsageError("has more or fewer values than the first line has columns")
    try:
        name, domain = split_address(row["address"])
    except UsageError:
        raise UsageError("has no address: write user@domain") from None
    value = {column: row.get(column) or None for column in COLUMNS}
    if (value["apop"] or "") not in _SWITCH:
        raise UsageError("apop is yes or no")
    flags = UserFlags(0)
    for word in filter(None, (value["flags"] or "").split(",")):
        if word not in UserFlags.__members__:
            raise UsageError(f"has an unknown flag; there are {', '.join(UserFlags.__members__)}")
        flags |= UserFlags[word]
    user = NewUser(
        name,
        value["password"],
        value["gecos"] or "",
        _SWITCH[value["apop"] or ""],
        _quota(value["quota"]) if value["quota"] else None,
        flags,
        value["password_hash"],
    )
    return domain, user


def _quota(text: str) -> Quota:
    try:
        return Quota.parse(text)
    except InvalidValue:
        raise UsageError("has no quota: write bytes as 100M, messages as 1000C, or both") from None


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
                refused += map(of_domain.refused, error.refused)
            except NoSuchDomain as error:
                refused += [(line, error.text) for line in of_domain.lines]
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
    """Add the users of one domain after the other; where that fails, delete them again."""
    done: list[str] = []
    try:
        for addition in additions:
            addition.commit()
            done.append(addition.domain)
    except BaseException:
        for domain in done:
            for user in found[domain].users:
                _delete(user.name, domain)
        raise


def _delete(name: str, domain: str) -> None:
    """Delete a user that was just added; say so where that can't be done."""
    try:
        api.delete_user(name, domain)
    except NoSuchUser:  # another was faster
        pass
    except (VpopmailError, OSError) as error:
        print(clean(f"{name}@{domain} was added and stays: {error}"), file=sys.stderr)


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
