"""The spellings of a quota, and what Maildir/maildirsize counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clib import ffi, filled, lib, span
from vpopmail_ext import Code

SPELLINGS = {
    # A number of bytes.
    "5242880": "5242880S",
    "5242880S": "5242880S",
    "5120K": "5242880S",
    "5M": "5242880S",
    "5MB": "5242880S",
    "1048576": "1048576S",
    "1M": "1048576S",
    "1MB": "1048576S",
    "1024K": "1048576S",
    "1024KB": "1048576S",
    "1048576S": "1048576S",
    "100s": "100S",
    "1234567890123456789S": "1234567890123456789S",
    # K, M, B and S in either case.
    "5m": "5242880S",
    "5mb": "5242880S",
    "5Mb": "5242880S",
    "5mBs": "5242880S",
    "5k": "5120S",
    "5b": "5S",
    # A number of messages: capital C alone.
    "1000C": "1000C",
    "10c": "10S",
    # Both, the last of a kind; empty parts are ignored.
    "1mbs,1000C": "1048576S,1000C",
    "1000C,10MBS": "10485760S,1000C",
    "1kb,5C,7C": "1024S,7C",
    "1,2,3": "3S",
    "5C,5": "5S,5C",
    "5C,5S,C": "5S",
    "5C,x": "5C",
    "10M,": "10485760S",
    ",10M": "10485760S",
    ",,5,,": "5S",
    # Fractions are ignored, and only K and M multiply.
    "1.5M": "1048576S",
    "5G": "5S",
    "5T": "5S",
    "10M ": "10S",
    " 10M": "10485760S",
    "\t5M": "5242880S",
    "5\nM": "5242880S",
    "+5": "5S",
    "1:2": "1S",
    # What stands before M or K at the very end matters no more than what stands elsewhere.
    "5CS": "5S",
    "5KM": "5242880S",
    "5MM": "5242880S",
    "5SB": "5S",
    "5MSB": "5S",
    "5MSS": "5S",
    "5MBB": "5S",
    "1024KBB": "1024S",
    "5SC": "5C",
    # Nothing usable.
    "": "",
    ",": "",
    "0": "",
    "0C": "",
    "0S,0C": "",
    "abc": "",
    "C": "",
    "S": "",
    "M": "",
    "C5": "",
    "0x10": "",
    # In capitals and alone.
    "NOQUOTA": "NOQUOTA",
    "noquota": "",
    "NOQUOTA,5": "5S",
    "5,NOQUOTA": "",
    # As far as the number goes, and the text.
    "9223372036854775807": "9223372036854775807S",
    "18446744073709551616": "9223372036854775807S",
    "1000000000000K": "1024000000000000S",
}
TOO_LONG = [
    "-5",
    "-5C",
    "-1K",
    "99999999999999K,1C",
    "1000000000000000M",
    "1000000000,1000000000C",
    "9223372036854775807,1C",
]


def parsed(spelling: str) -> tuple[int, str]:
    code, text = filled(lib().quota_parse, spelling.encode())
    return code, text.decode()


@pytest.mark.parametrize(("spelling", "stored"), SPELLINGS.items())
def test_spelling(spelling: str, stored: str) -> None:
    assert parsed(spelling) == (0, stored)


@pytest.mark.parametrize("spelling", TOO_LONG)
def test_too_long(spelling: str) -> None:
    assert parsed(spelling)[0] == Code.VA_QUOTA_TOO_LONG


@given(st.integers(0, 10**9), st.integers(0, 10**7), st.sampled_from(["", "K", "M", "k", "m"]))
@settings(deadline=None)
def test_what_is_stored_is_a_spelling_of_itself(size: int, messages: int, unit: str) -> None:
    bytes_ = size * {"": 1, "k": 2**10, "m": 2**20}[unit.lower()]
    parts = [f"{bytes_}S"] * (bytes_ > 0) + [f"{messages}C"] * (messages > 0)
    stored = ",".join(parts)
    code = 0 if len(stored) <= 20 else int(Code.VA_QUOTA_TOO_LONG)
    assert parsed(f"{size}{unit},{messages}C")[0] == code
    if code == 0:
        assert parsed(f"{size}{unit},{messages}C")[1] == stored
        assert parsed(stored) == (0, stored)


@given(st.text("0123456789KMBSCkmbsc,+- .NOQUTA", max_size=20))
@settings(deadline=None, max_examples=300)
def test_any_spelling_is_stored_in_20_bytes_or_refused(spelling: str) -> None:
    code, stored = parsed(spelling)
    assert (code == Code.VA_QUOTA_TOO_LONG) == (len(stored) > 20)
    assert code in (0, Code.VA_QUOTA_TOO_LONG)


class Mailbox:
    """A user's directory in a domain's."""

    def __init__(self, domain: Path) -> None:
        self.domain = domain
        self.maildir = domain / "alice/Maildir"
        for part in ("cur", "new", "tmp"):
            (self.maildir / part).mkdir(parents=True)
        self.fd = os.open(domain, os.O_RDONLY)

    def put(self, path: str, size: int = 10) -> None:
        message = self.maildir / path
        message.parent.mkdir(parents=True, exist_ok=True)
        message.write_bytes(b"x" * size)

    def store(self, quota: str) -> int:
        store = ffi.new(
            "struct store *", {"dir": self.fd, "uid": os.geteuid(), "gid": os.getegid()}
        )
        places = span(f"{self.domain}/alice".encode()), span(quota.encode())
        change = ffi.new("struct change *", lib().store_change(store))
        answer: int = lib().maildir_size(store, change, bytes(self.domain), *places)
        if answer == 0:
            answer = lib().change_make(change)
        lib().change_drop(change)
        return answer

    def counted(self) -> tuple[int, int]:
        """Return bytes and messages, as the file tells them."""
        assert self.store("5242880S") == 0
        quota, counts, end = (self.maildir / "maildirsize").read_text().split("\n")
        assert (quota, end) == ("5242880S", "")
        size, messages = counts.split(" ")
        return int(size), int(messages)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    made = Mailbox(tmp_path)
    yield made
    os.close(made.fd)


def test_an_empty_maildir(mailbox: Mailbox) -> None:
    assert mailbox.counted() == (0, 0)
    assert (mailbox.maildir / "maildirsize").stat().st_mode & 0o7777 == 0o600


def test_as_recorded(mailbox: Mailbox) -> None:
    mailbox.put("cur/1.a", 1000)
    mailbox.put("new/2.b,S=2000", 2000)
    mailbox.put("cur/3.c,S=777:2,S", 500)
    mailbox.put(".Sent/cur/4.d", 300)
    mailbox.put(".Sent/maildirfolder", 99)
    mailbox.put(".Trash/cur/5.e", 400)
    mailbox.put("cur/6.f:2,T", 400)
    assert mailbox.counted() == (4077, 4)


@pytest.mark.parametrize(
    ("name", "size", "messages"),
    [
        ("plain", 10, 1),
        ("empty,S=0", 0, 1),
        # The size in the name; the last one that it tells.
        ("m,S=50", 50, 1),
        ("m,S=50:2,S", 50, 1),
        ("m,S=50,W=60", 50, 1),
        ("m,S=50,S=70", 70, 1),
        ("m,S=50:2,S,S=70", 70, 1),
        ("m,S=x", 0, 1),
        ("m,S=", 0, 1),
        # Not a size.
        ("m.S=50", 10, 1),
        ("S=50", 10, 1),
        ("m,s=50", 10, 1),
        # Trashed, by the flags alone.
        ("m:2,T", 0, 0),
        ("m:2,ST", 0, 0),
        ("m,S=50:2,FRST", 0, 0),
        ("m:2,t", 10, 1),
        ("g,T", 10, 1),
        ("m:1,T", 10, 1),
        ("T", 10, 1),
        ("mT:2,S", 10, 1),
        # Names that start with a dot.
        (".hidden", 0, 0),
        (".hidden,S=50", 0, 0),
    ],
)
@pytest.mark.parametrize("part", ["cur", "new", ".Sent/cur", ".Sent.2024/new"])
def test_message(mailbox: Mailbox, part: str, name: str, size: int, messages: int) -> None:
    mailbox.put(f"{part}/{name}")
    assert mailbox.counted() == (size, messages)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("tmp/m", False),
        ("m", False),
        ("Sent/cur/m", False),
        (".Sent/m", False),
        (".Sent/tmp/m", False),
        (".Sent/.Deeper/cur/m", False),
        (".Trash/cur/m", False),
        (".Trash/new/m", False),
        (".Trash.x/cur/m", True),
        (".Trashes/new/m", True),
        (".trash/new/m", True),
    ],
)
def test_folder(mailbox: Mailbox, path: str, counts: bool) -> None:
    mailbox.put(path)
    assert mailbox.counted() == ((10, 1) if counts else (0, 0))


def test_a_directory_among_the_messages_counts_with_its_own_size(mailbox: Mailbox) -> None:
    directory = mailbox.maildir / "cur/directory"
    directory.mkdir()
    assert mailbox.counted() == (directory.stat().st_size, 1)


@pytest.mark.parametrize("quota", ["NOQUOTA", ""])
def test_no_quota_removes_the_file(mailbox: Mailbox, quota: str) -> None:
    mailbox.put("cur/1.a")
    mailbox.counted()
    for _ in range(2):
        assert mailbox.store(quota) == 0
        assert not (mailbox.maildir / "maildirsize").exists()
