"""Large files: read line by line, written in blocks."""

from __future__ import annotations

import errno
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.clib import content, ffi, filled, lib, span
from tests.conftest import Home
from vpopmail_ext import api

BLOCK = 131_072


def lines_of(data: bytes) -> list[bytes]:
    """Return the lines as the library reads them."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        reader, line = ffi.new("struct lines *", {"fd": file.fileno()}), ffi.new("struct span *")
        found = []
        while (more := lib().lines_next(reader, line)) == 1:
            found.append(content(line[0]))
        lib().lines_free(reader)
        assert more == 0
        return found


LENGTHS = st.one_of(
    st.integers(0, 3),
    st.integers(BLOCK - 3, BLOCK + 3),
    st.sampled_from([BLOCK // 2, 2 * BLOCK, 5 * BLOCK]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LENGTHS, max_size=6), st.booleans())
@example([], True)
@example([BLOCK - 1, BLOCK - 1], True)
def test_lines_are_read_whole_wherever_a_block_ends(lengths: list[int], ended: bool) -> None:
    lines = [bytes([65 + i]) * length for i, length in enumerate(lengths)]
    data = b"\n".join([*lines, b""] if ended else lines)
    assert lines_of(data) == (lines if ended or not lines or lines[-1] else lines[:-1])


def test_what_can_t_be_read_is_told(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    reader, line = ffi.new("struct lines *", {"fd": fd}), ffi.new("struct span *")
    assert lib().lines_next(reader, line) == -errno.EISDIR
    lib().lines_free(reader)
    os.close(fd)


def writer(fd: int) -> Any:
    return ffi.new("struct writer *", {"fd": fd})


@settings(max_examples=60, deadline=None)
@given(st.lists(LENGTHS, max_size=6))
def test_what_is_written_comes_out_whole(lengths: list[int]) -> None:
    parts = [bytes([65 + i]) * length for i, length in enumerate(lengths)]
    with tempfile.TemporaryFile() as file:
        w = writer(file.fileno())
        for i, part in enumerate(parts):
            lib().writer_add(w, span(part))
            assert lib().writer_at(w) == sum(lengths[: i + 1])
        assert lib().writer_end(w) == 0
        file.seek(0)
        assert file.read() == b"".join(parts)


def test_a_write_that_fails_is_told_at_the_end() -> None:
    w = writer(-1)
    for _ in range(3):
        lib().writer_add(w, span(b"x" * BLOCK))
    assert lib().writer_end(w) == -errno.EBADF


@pytest.mark.parametrize("size", [0, 1, 4999, 5000, 5001, 100_000])
def test_a_file_is_read_whole_whatever_its_size_was_said_to_be(size: int) -> None:
    data = bytes(range(250)) * 20
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        assert filled(lib().fd_read_sized, file.fileno(), size) == (0, data)


@pytest.mark.parametrize("in_order", [False, True])
def test_all_users_of_a_vpasswd_of_any_size(home: Home, in_order: bool) -> None:
    api.add_domain("one.com", directory=str(home.path), uid=home.uid, gid=home.gid)
    names = [f"user{n:03}" for n in random.Random(1).sample(range(180), 180)]
    gecos = "g" * 100_000
    vpasswd = home.path / "domains/one.com/vpasswd"
    vpasswd.write_text("".join(f"{name}:x:1:0:{gecos}:/d:NOQUOTA\n" for name in names))
    assert vpasswd.stat().st_size > 17 << 20
    assert lib().vpopmail_set_home(os.fsencode(home.path), os.fsencode(home.qmail)) == 0
    found, user = [], lib().vauth_getall(b"one.com", 1, in_order)
    while user:
        found.append(ffi.string(user.pw_name).decode())
        assert ffi.string(user.pw_gecos).decode() == gecos
        user = lib().vauth_getall(ffi.NULL, 0, 0)
    assert found == (sorted(names) if in_order else names)
    with vpasswd.open("a") as file:
        file.truncate(vpasswd.stat().st_size + (2 << 20))
    assert not lib().vauth_getall(b"one.com", 1, in_order)
