"""Any bytes for what Python parses by itself: users/assign, what checkpassword is given, a file to
import.
"""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import torture
from tests.clib import ffi, lib
from vpopmail_ext import checkpassword, users_cdb
from vpopmail_ext.cli import many
from vpopmail_ext.cli.output import UsageError

pytestmark = pytest.mark.torture
SEVERAL = settings(max_examples=int(torture.amount(50, 5_000)), deadline=None)

# --- users/assign ---------------------------------------------------------------------------------

NAMES = st.sampled_from([b"example.com-", b"Example.COM-", b"a.b.c-", b"", b"-", b"x", b"\xff\0-"])
FIELDS = st.sampled_from(
    [
        b"89",
        b"0",
        b"",
        b"-",
        b"/",
        b"/d/example.com",
        b"/d/../e",
        b"d",
        b"example.com",
        b"\0",
        b"\r",
    ]
)
LINES = st.one_of(
    st.builds(
        lambda mark, name, fields: mark + b":".join([name, *fields]),
        st.sampled_from([b"+", b"=", b"?", b""]),
        NAMES,
        st.lists(FIELDS, min_size=5, max_size=8),
    ),
    st.text("+=.:-aA/\0", max_size=20).map(str.encode),
    st.binary(max_size=20),
    st.just(b"."),
)
ASSIGN = st.builds(
    lambda lines, end: b"\n".join(lines) + end, st.lists(LINES), st.sampled_from([b"", b"\n"])
)


def compiled_by_the_library(assign: bytes) -> bytes:
    """Return the cdb that is made where a domain is taken out that there is not."""
    with tempfile.TemporaryDirectory() as top:
        users = Path(top) / "users"
        users.mkdir()
        (users / "assign").write_bytes(assign)
        path = ffi.new("char[]", os.fsencode(top))
        home = ffi.new("struct home *", {"path": path, "qmail": path})
        opened = ffi.new("struct assign *")
        assert lib().assign_begin(home, opened) == 0
        change = ffi.new("struct change *", lib().assign_change(opened))
        assert lib().assign_drop(opened, change, b"is.not.there", ffi.NULL) == 0
        assert lib().change_make(change) == 0
        lib().change_drop(change)
        lib().assign_end(opened)
        return (users / "cdb").read_bytes()


@SEVERAL
@given(ASSIGN)
@example(b"+a-:a:89:89:/a:-:")
@example(b"+a-:a:89:89:/a:-::\n.\n+b-:b:89:89:/b:-::\n")
def test_assign_is_compiled_as_the_library_does(assign: bytes) -> None:
    torture.count("files")
    assert users_cdb.compile_assign(assign) == compiled_by_the_library(assign)


@SEVERAL
@given(ASSIGN)
def test_of_assign_nothing_but_owners_is_given(assign: bytes) -> None:
    torture.count("files")
    given, count = users_cdb.give(assign, (89, 89), (7, 8))
    before, after = assign.split(b"\n"), given.split(b"\n")
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == count
    for old, new in changed:
        fields = old.split(b":")
        assert fields[2:4] == [b"89", b"89"]
        assert new.split(b":") == [*fields[:2], b"7", b"8", *fields[4:]]
    for path in users_cdb.paths(assign):
        assert path.startswith(b"/")
        assert path.strip(b"/")
        assert not {b".", b".."} & set(path.split(b"/"))
        assert b":" + path + b":" in assign


# --- checkpassword --------------------------------------------------------------------------------


@SEVERAL
@given(
    st.one_of(
        st.binary(max_size=600),
        st.lists(st.binary(max_size=300), max_size=5).map(b"\0".join),
        st.integers(505, 520).map(lambda size: b"a\0b\0".ljust(size, b"c")),
    )
)
@example(b"")
@example(b"\0\0")
@example(b"\xff@\xfe\0\xfd\0")
def test_what_checkpassword_is_given(data: bytes) -> None:
    torture.count("inputs")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        descriptor = os.dup(file.fileno())
        with patch.object(checkpassword, "DESCRIPTOR", descriptor):
            given = checkpassword._read()
    parts = data.split(b"\0")
    if len(data) > 512 or len(parts) < 3:
        assert given is None
    else:
        assert given is not None
        assert [os.fsencode(text) for text in given] == parts[:2]


# --- import ---------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(
        ["", "yes", "no", "NO_POP,NO_SMTP", "100M", "NOQUOTA", "$1$a$b", '"', ",", "\r"]
    ),
    st.sampled_from(["alice@example.com", "bob@Example.COM", "@", "a@b@c", "s3cret-PW"]),
    st.text(max_size=8),
)
ROWS = st.builds(
    lambda columns, rows: "\n".join(",".join(row) for row in [columns, *rows]).encode(
        errors="surrogatepass"
    ),
    st.lists(st.sampled_from(many.COLUMNS), max_size=8).map(lambda rest: ["address", *rest]),
    st.lists(st.lists(CELLS, max_size=8), max_size=6),
)


@SEVERAL
@given(st.one_of(ROWS, st.binary(max_size=200), st.binary(max_size=100).map(b"address\n".__add__)))
@example(b"\xef\xbb\xbfaddress,password\nalice@example.com,s3cret-PW\n")
@example(b"address,password\nalice@example.com,\xff\0\n")
@example(b"address\n" + b"x" * 200_000)
def test_a_file_to_import(data: bytes) -> None:
    """Each row is a user's or is refused with its line, or the file is none to import."""
    torture.count("files")
    refused: many.Refused = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with many._opened(file.name) as text:
            try:
                found = many._read(text, refused)
            except (UsageError, csv.Error):
                return
        with many._opened(file.name) as text:
            count = sum(1 for _ in csv.DictReader(text, strict=True))
    lines = [line for line, _ in refused] + [at for each in found.values() for at in each.lines]
    assert len(set(lines)) == len(lines) == count
    for domain, of_domain in found.items():
        assert domain == domain.lower()
        assert len(of_domain.users) == len(of_domain.lines)
