"""The library's cdb writer and reader: against tinycdb's program, and a maker written in Python."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import cdb
from tests.cdb import Record
from tests.clib import buffer, content, ffi, filled, lib, span

NO_CDB = -errno.EPROTO

needs_tinycdb = pytest.mark.skipif(
    not shutil.which("cdb"), reason="no program `cdb` (Debian package tinycdb)"
)


def colliding() -> list[bytes]:
    """Return keys of two bytes of which several have the same hash."""
    groups: dict[int, list[bytes]] = defaultdict(list)
    for pair in product(range(0, 256, 3), repeat=2):
        groups[cdb.hash_of(bytes(pair))].append(bytes(pair))
    largest = sorted(groups.values(), key=len, reverse=True)[:8]
    assert all(len(keys) > 1 for keys in largest)
    return [key for keys in largest for key in keys]


KEYS = st.one_of(st.sampled_from(colliding()), st.binary(max_size=6), st.just(b""))
VALUES = st.one_of(st.binary(max_size=40), st.just(b""))
RECORDS = st.lists(st.tuples(KEYS, VALUES), max_size=60)
SOME = [
    (b"", b"an empty key"),
    (b"empty value", b""),
    (b"twice", b"first"),
    (b"caf\xc3\xa9\xff", b"\x80\xfe"),
    (b"twice", b"second"),
    (b"lines\nand\0nul", b"a\n+1,1:b->c\n\0"),
    *((key, b"=" + key) for key in colliding()),
]


def made(records: Iterable[Record]) -> bytes:
    """Return the library's cdb of `records`."""
    maker = ffi.new("struct cdb_maker *")
    with tempfile.TemporaryFile() as file:
        lib().cdb_begin(maker, file.fileno())
        for key, value in records:
            lib().cdb_add(maker, span(key), span(value))
        assert lib().cdb_end(maker) == 0
        file.seek(0)
        return file.read()


def found(data: bytes, keys: Sequence[bytes]) -> list[bytes | int]:
    """Look keys up in a file of this data: the value, or 0 for none, or -errno."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return [look_up(file.fileno(), key) for key in keys]


def look_up(fd: int, key: bytes) -> bytes | int:
    answer, value = filled(lib().cdb_find, fd, span(key))
    return value if answer == 1 else answer


def first_values(records: Iterable[Record]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for key, value in records:
        values.setdefault(key, value)
    return values


def dumped(records: Iterable[Record]) -> bytes:
    """Return records as ``cdb -d`` prints and ``cdb -c`` reads them."""
    lines = [b"+%d,%d:%s->%s\n" % (len(k), len(v), k, v) for k, v in records]
    return b"".join([*lines, b"\n"])


def tinycdb(*arguments: str | bytes, text: bytes = b"", status: int = 0) -> bytes:
    done = subprocess.run(["cdb", *arguments], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (status, b"")
    return done.stdout


def test_records_longer_than_a_block_and_many_of_them() -> None:
    records = [(b"%d" % i, b"v" * (i % 400)) for i in range(4000)]
    records += [(b"long", b"x" * 300_000), (b"k" * 200_000, b""), (b"last", b"one")]
    assert made(records) == cdb.make(records)


def test_a_file_that_can_t_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        maker = ffi.new("struct cdb_maker *")
        lib().cdb_begin(maker, file.fileno())
        for i in range(3000):
            lib().cdb_add(maker, span(b"%d" % i), span(b"v" * 100))
        assert lib().cdb_end(maker) == -errno.EBADF


@needs_tinycdb
@pytest.mark.parametrize("records", [[], [(b"", b"")], SOME], ids=["empty", "one", "many"])
def test_tinycdb_reads_ours(tmp_path: Path, records: list[Record]) -> None:
    (tmp_path / "ours").write_bytes(made(records))
    assert tinycdb("-d", f"{tmp_path}/ours") == dumped(records)
    for key, first in first_values(records).items():
        if b"\0" not in key:
            values = [value for other, value in records if other == key]
            assert tinycdb("-q", "--", f"{tmp_path}/ours", key) == b"".join(values)
            assert tinycdb("-q", "-n1", "--", f"{tmp_path}/ours", key) == first
    tinycdb("-q", f"{tmp_path}/ours", b"not there", status=100)


@needs_tinycdb
@pytest.mark.parametrize("records", [[], [(b"", b"")], SOME], ids=["empty", "one", "many"])
def test_we_read_tinycdb_s(tmp_path: Path, records: list[Record]) -> None:
    tinycdb("-c", f"{tmp_path}/its", text=dumped(records))
    data = (tmp_path / "its").read_bytes()
    values = first_values(records)
    assert found(data, list(values)) == list(values.values())
    assert found(data, [b"not there"]) == [0]


@needs_tinycdb
@settings(deadline=None, max_examples=40)
@given(RECORDS)
def test_tinycdb_reads_any_of_ours(records: list[Record]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(made(records))
        file.flush()
        assert tinycdb("-d", file.name) == dumped(records)


@needs_tinycdb
@settings(deadline=None, max_examples=40)
@given(RECORDS, st.lists(KEYS, max_size=5))
def test_we_read_any_of_tinycdb_s(records: list[Record], others: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tinycdb("-c", f"{scratch}/its", text=dumped(records))
        data = Path(scratch, "its").read_bytes()
    values = first_values(records)
    keys = [*values, *others]
    assert found(data, keys) == [values.get(key, 0) for key in keys]


@settings(deadline=None, max_examples=300)
@given(RECORDS, st.lists(KEYS, max_size=5))
def test_written_byte_for_byte_and_read_again(records: list[Record], others: list[bytes]) -> None:
    data = made(records)
    assert data == cdb.make(records)
    values = first_values(records)
    keys = [*values, *others]
    assert found(data, keys) == [values.get(key, 0) for key in keys]


def test_many_and_long_records() -> None:
    records = [(b"user%d" % i, b"v" * (i % 50)) for i in range(20_000)]
    records += [(b"k" * 10_000, b"v" * 1_000_000), (b"k" * 9_999 + b"l", b"other")]
    data = made(records)
    assert data == cdb.make(records)
    picked = [*records[::999], *records[-2:]]
    assert found(data, [key for key, _ in picked]) == [value for _, value in picked]


def with_table(data: bytes, key: bytes, at: int, slots: int) -> bytes:
    """Return a cdb in which the key's hash table is said to be elsewhere."""
    changed = bytearray(data)
    struct.pack_into("<II", changed, cdb.hash_of(key) % cdb.TABLES * 8, at, slots)
    return bytes(changed)


def with_record(data: bytes, at: int) -> bytes:
    """Return a cdb of one record in which its slot points elsewhere."""
    changed = bytearray(data)
    (slots,) = (o for o in range(len(data) - 16, len(data), 8) if any(data[o : o + 8]))
    struct.pack_into("<I", changed, slots + 4, at)
    return bytes(changed)


def with_lengths(data: bytes, key: int, value: int) -> bytes:
    """Return a cdb whose first record has other lengths."""
    changed = bytearray(data)
    struct.pack_into("<II", changed, cdb.HEADER, key, value)
    return bytes(changed)


ONE = cdb.make([(b"key", b"value")])
DAMAGED = {
    "an empty file": b"",
    "half a header": ONE[:1000],
    "a header alone": ONE[: cdb.HEADER],
    "no tables": ONE[:-16],
    "half a slot": ONE[:-12],
    "a table behind the end": with_table(ONE, b"key", len(ONE), 2),
    "a table far behind the end": with_table(ONE, b"key", 0xFFFFFFFF, 2),
    "a table whose last slot is behind 4 GiB": with_table(ONE, b"key", 0xFFFFFFF0, 0xFFFFFFFF),
    "a table of four milliard slots": with_table(ONE, b"key", cdb.HEADER, 0xFFFFFFFF),
    "a record behind the end": with_record(ONE, len(ONE)),
    "a record across the end": with_record(ONE, len(ONE) - 4),
    "a record far behind the end": with_record(ONE, 0xFFFFFFFF),
    "a value longer than the file": with_lengths(ONE, 3, 5 + 17),
    "a value of four gibibytes": with_lengths(ONE, 3, 0xFFFFFFFF),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_an_error(data: bytes) -> None:
    assert found(data, [b"key"]) == [NO_CDB]


@pytest.mark.parametrize("length", [0, 2, 4, 0xFFFFFFFF])
def test_a_record_whose_key_has_another_length_is_another_s(length: int) -> None:
    assert found(with_lengths(ONE, length, 5), [b"key"]) == [0]


def test_a_full_table_without_the_key_comes_to_an_end() -> None:
    entry = struct.pack("<II", cdb.hash_of(b"key") + 256, cdb.HEADER)
    data = with_table(ONE, b"key", cdb.HEADER + 16, 2)[: cdb.HEADER + 16] + entry * 2
    assert found(data, [b"key"]) == [0]


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert look_up(fd, b"key") == -errno.EISDIR
    finally:
        os.close(fd)


@settings(deadline=None, max_examples=300)
@given(
    RECORDS.filter(len),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), max_size=8),
    st.integers(0, 2**20),
)
def test_damage_of_any_kind_does_no_harm(
    records: list[Record], flips: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(made(records))
    for at, bits in flips:
        data[at % len(data)] ^= bits
    del data[end % (2 * len(data)) :]
    for answer in found(bytes(data), [key for key, _ in records]):
        assert isinstance(answer, bytes) or answer in (0, NO_CDB)


def test_what_was_found_before_is_replaced() -> None:
    data = made([(b"a", b"a long value"), (b"b", b"")])
    with tempfile.TemporaryFile() as file, buffer() as value:
        file.write(data)
        file.flush()
        seen = []
        for key in (b"a", b"b"):
            assert lib().cdb_find(file.fileno(), span(key), value) == 1
            seen.append(content(value))
    assert seen == [b"a long value", b""]
