"""qmail's ``users/assign`` and the ``users/cdb`` that qmail-newu makes of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import takewhile

_FIELDS = 6
_TABLES = 256
_HEADER = 8 * _TABLES


def give(assign: bytes, old: tuple[int, int], new: tuple[int, int]) -> tuple[bytes, int]:
    """Return the text with the domains of one uid and gid given to another, and their number."""
    before, after = [b"%d" % value for value in old], [b"%d" % value for value in new]
    lines = assign.split(b"\n")
    given = 0
    for at, line in enumerate(_before_the_end(assign)):
        fields = line.split(b":")
        if line.startswith(b"+") and fields[2:4] == before:
            fields[2:4] = after
            lines[at] = b":".join(fields)
            given += 1
    return b"\n".join(lines), given


def paths(assign: bytes) -> list[bytes]:
    """Return the directories of the domains, each once.

    A line whose path is not that of one directory below / is passed over: it is no domain's.
    """
    found = (fields[3] for name, fields in _sound(assign) if name.startswith(b"+"))
    return list(dict.fromkeys(path for path in found if _is_below_the_root(path)))


def _is_below_the_root(path: bytes) -> bool:
    names = {name for name in path.split(b"/") if name}
    return path.startswith(b"/") and bool(names) and not names & {b".", b".."} and b"\0" not in path


def compile_assign(assign: bytes) -> bytes:
    """Return the cdb of an assign file, byte for byte as qmail-newu makes it.

    A malformed line is passed over, as vpopmail_ext does everywhere; qmail-newu gives up at it.
    """
    records: list[tuple[bytes, bytes]] = []
    wild = b""
    for name, fields in _sound(assign):
        key = b"!" + name[1:].lower()
        if name.startswith(b"="):
            key += b"\0"
        elif key[-1:] not in wild and len(name) > 1:
            wild += key[-1:]
        records.append((key, b"\0".join(fields)))
    return _cdb([*records, (b"", wild)])


def _sound(assign: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Give each line's name, with what it begins with, and its six fields, each of which ends."""
    for line in _before_the_end(assign):
        name, *fields = line.split(b":")
        if len(fields) > _FIELDS and name[:1] in (b"+", b"="):
            yield name, fields[:_FIELDS]


def _before_the_end(assign: bytes) -> Iterator[bytes]:
    return takewhile(lambda line: line != b".", assign.split(b"\n"))


def _cdb(records: list[tuple[bytes, bytes]]) -> bytes:
    body = bytearray()
    tables: list[list[tuple[int, int]]] = [[] for _ in range(_TABLES)]
    for key, value in records:
        number = 5381
        for byte in key:
            number = (number * 33 & 0xFFFFFFFF) ^ byte
        tables[number % _TABLES].append((number, _HEADER + len(body)))
        body += struct.pack("<II", len(key), len(value)) + key + value
    header = bytearray()
    for table in tables:
        slots = [(0, 0)] * (2 * len(table))
        header += struct.pack("<II", _HEADER + len(body), len(slots))
        for number, at in table:
            slot = number // _TABLES % len(slots)
            while slots[slot][1]:
                slot = (slot + 1) % len(slots)
            slots[slot] = (number, at)
        body += b"".join(struct.pack("<II", *slot) for slot in slots)
    return bytes(header + body)
