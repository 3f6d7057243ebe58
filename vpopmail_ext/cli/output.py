"""What the commands print: tables on a terminal, columns in a pipe, JSON where it is asked for."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import IntFlag
from types import ModuleType
from typing import Any

from vpopmail_ext import api


class UsageError(Exception):
    """The command line can't be followed; the text says what to write."""


def clean(text: str) -> str:
    """Return a text that a terminal shows: control characters and odd bytes by their numbers."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def word(value: object) -> str:
    """Return a value as the tables have it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, IntFlag):
        return ",".join(flag_names(value)) or "-"
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return clean(str(value))


def flag_names(value: IntFlag) -> list[str]:
    """Return the names of the flags in a value; bits without a name as a number."""
    known = [flag for flag in type(value) if flag & value]
    rest = int(value) & ~sum(known)
    return [str(flag.name) for flag in known] + ([hex(rest)] if rest else [])


def plain(value: object) -> Any:
    """Return a value as JSON has it; a user's hash stays out."""
    if isinstance(value, IntFlag):
        return flag_names(value)
    if is_dataclass(value):
        return {
            field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def show_table(
    rows: Iterable[Any],
    columns: Sequence[str],
    cells: Callable[[Any], Iterable[object]],
    as_json: bool,
) -> None:
    """Print a row for each of `rows`: `cells` gives its values, which `columns` name.

    JSON has the rows themselves. In a pipe a row is a line, a tab between two values, and rows are
    printed as they come.
    """
    if as_json:
        _show_array(map(plain, rows))
    elif sys.stdout.isatty() and (terminal := drawing()):
        terminal.show(columns, ([word(cell) for cell in cells(row)] for row in rows))
    else:
        for row in rows:
            print(*map(word, cells(row)), sep="\t")


def drawing() -> ModuleType | None:
    """Return `vpopmail_ext.cli.terminal`; None where rich, of the extra ``cli``, is not there."""
    try:
        return importlib.import_module("vpopmail_ext.cli.terminal")
    except ImportError:
        return None


def show_values(values: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    show_table(values.items(), ("", ""), lambda item: item, False)


def show_json(value: object) -> None:
    """Print one value as JSON."""
    print(json.dumps(plain(value), indent=2))


def _show_array(items: Iterable[object]) -> None:
    before = "[\n"
    for item in items:
        print(before, json.dumps(item), sep="", end="")
        before = ",\n"
    print("[]" if before == "[\n" else "\n]")


def split_address(address: str) -> tuple[str, str]:
    """Return the user and the domain of an address; without a domain it is the default one."""
    name, at, domain = address.rpartition("@")
    if at:
        return name, domain
    default = api.default_domain()
    if default is None:
        raise UsageError(f"{address} is no address: write user@domain")
    return address, default


def confirm(question: str, yes: bool) -> bool:
    """Ask on the terminal whether to go on, unless `yes` was told on the command line."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{question} To do it without being asked, add --yes")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
