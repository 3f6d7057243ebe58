"""djb's cdb, written for the tests alone, so that they do not judge the library by its own code.

`of` is the rule by which vpopmail and qmail make a cdb of a text file beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

TABLES = 256
HEADER = TABLES * 8

Record = tuple[bytes, bytes]


def hash_of(key: bytes) -> int:
    """Return cdb's hash of a key."""
    value = 5381
    for byte in key:
        value = ((value << 5) + value ^ byte) & 0xFFFFFFFF
    return value


def make(records: Iterable[Record]) -> bytes:
    """Return the cdb of `records`: in their order, and so are the slots filled."""
    body = bytearray()
    tables: list[list[tuple[int, int]]] = [[] for _ in range(TABLES)]
    for key, value in records:
        number = hash_of(key)
        tables[number % TABLES].append((number, HEADER + len(body)))
        body += struct.pack("<II", len(key), len(value)) + key + value
    header = bytearray()
    for table in tables:
        slots = _slots(table)
        header += struct.pack("<II", HEADER + len(body), len(slots))
        for slot in slots:
            body += struct.pack("<II", *slot)
    return bytes(header + body)


def read(data: bytes) -> list[Record]:
    """Return a cdb's records in their order. ValueError where the data is no cdb."""
    try:
        return list(_records(data))
    except struct.error as error:
        raise ValueError(f"not a cdb: {error}") from error


def get(data: bytes, key: bytes) -> bytes | None:
    """Look a key up through the hash tables, as a reader of the file does."""
    number = hash_of(key)
    table, size = struct.unpack_from("<II", data, number % TABLES * 8)
    for step in range(size):
        slot = (number // TABLES + step) % size
        found, at = struct.unpack_from("<II", data, table + slot * 8)
        if at == 0:
            return None
        record = _record(data, at)
        if found == number and record[0] == key:
            return record[1]
    return None


def of(name: str, text: bytes) -> bytes:
    """Return the cdb that belongs to the text file `name`: vpasswd, assign or morercpthosts."""
    return make(_RULES[name](text))


def _slots(table: list[tuple[int, int]]) -> list[tuple[int, int]]:
    slots = [(0, 0)] * (2 * len(table))
    for number, at in table:
        slot = number // TABLES % len(slots)
        while slots[slot][1] != 0:
            slot = (slot + 1) % len(slots)
        slots[slot] = (number, at)
    return slots


def _records(data: bytes) -> Iterator[Record]:
    tables = struct.unpack_from(f"<{2 * TABLES}I", data)
    at, end = HEADER, min(tables[::2])
    while at < end:
        record = _record(data, at)
        yield record
        at += 8 + len(record[0]) + len(record[1])


def _record(data: bytes, at: int) -> Record:
    key_size, value_size = struct.unpack_from("<II", data, at)
    start = at + 8
    key, value = struct.unpack_from(f"{key_size}s{value_size}s", data, start)
    return key, value


def _of_vpasswd(text: bytes) -> Iterator[Record]:
    for line in _lines(text):
        name, _, rest = line.partition(b":")
        yield name, rest


def _of_assign(text: bytes) -> Iterator[Record]:
    last_characters = b""
    for line in _lines(text):
        if line.startswith(b"."):
            break
        name, *fields = line[1:].split(b":")
        if line.startswith(b"+"):
            key = b"!" + name.lower()
            if name[-1:] not in last_characters:
                last_characters += name[-1:]
        else:
            key = b"!" + name.lower() + b"\0"
        yield key, b"\0".join(fields[:6])
    yield b"", last_characters


def _of_morercpthosts(text: bytes) -> Iterator[Record]:
    for line in _lines(text):
        host = line.lower().rstrip(b" \t")
        if host and not host.startswith(b"#"):
            yield host, b""


def _lines(text: bytes) -> list[bytes]:
    return text.removesuffix(b"\n").split(b"\n") if text else []


_RULES: dict[str, Callable[[bytes], Iterator[Record]]] = {
    "vpasswd": _of_vpasswd,
    "assign": _of_assign,
    "morercpthosts": _of_morercpthosts,
}
