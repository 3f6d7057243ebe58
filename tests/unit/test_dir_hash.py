"""Which directory a user's goes into: .dir-control and .dir_control_free."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clib import ffi, lib, span

TABLE = Path(__file__).with_name("dirhash.tsv")
PLACES = [
    (int(users), place)
    for users, place in (
        line.split("\t") for line in TABLE.read_text().splitlines() if not line.startswith("#")
    )
]
# Where the directory gets a level deeper, and where a wheel goes round.
TURNS = [0, 1, 60, 61, 62, 63, 123, 124, 125, 3903, 3904, 3905, 3906, 3967, 3968, 4198, 4199]


class Directory:
    """A directory with a .dir-control, as the library keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.control = path / ".dir-control"
        self.free = path / ".dir_control_free"
        self.fd = os.open(path, os.O_RDONLY)

    def add(self, with_free: bool = True) -> str:
        return self._change(lib().dir_control_add, with_free)

    def drop(self, place: str = "") -> None:
        self._change(lib().dir_control_drop, span(place.encode()))

    def _change(self, function: Any, argument: Any) -> str:
        """Ready a change and make it; return the place that it tells."""
        change, place = ffi.new("struct change *"), ffi.new("struct dir_place *")
        place.lock.fd = -1
        ids = os.geteuid(), os.getegid()
        assert function(self.fd, *ids, argument, change, place) == 0
        assert lib().change_make(change) == 0
        told = ffi.buffer(place.path.data, place.path.len)[:] if place.path.len else b""
        lib().dir_place_end(place)
        return told.decode()

    def lines(self) -> list[str]:
        return self.control.read_text().split("\n")

    def count(self, users: int) -> None:
        """Change the number of users in the file, and nothing else."""
        _, rest = self.control.read_text().split("\n", 1)
        self.control.write_text(f"{users}\n{rest}")


@pytest.fixture
def directory() -> Iterator[Directory]:
    # Each call syncs what it has written, which a file system in memory does at once.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as path:
        made = Directory(Path(path))
        yield made
        os.close(made.fd)


def test_the_table_is_whole() -> None:
    assert [users for users, _ in PLACES] == list(range(100, 420_001, 100))
    assert [PLACES[turn][1] for turn in TURNS[:5]] == ["0", "1", "y", "z", "0/0"]


def test_every_row_of_the_table(directory: Directory) -> None:
    assert directory.add() == ""
    for row, (users, place) in enumerate(PLACES):
        directory.count(users - 1)
        assert (users, directory.add()) == (users, f"{place}/")
        assert directory.lines()[0] == str(users)
        if row in TURNS:
            check_until_the_next_one(directory, users, place)
            check_a_second_crossing(directory, users, place, PLACES[row + 1 :])


def check_until_the_next_one(directory: Directory, users: int, place: str) -> None:
    text = directory.control.read_text()
    # Whichever number of users it is, except at a multiple of 100.
    for count in (users, users + 50, users + 98, users - 2, 7, 0):
        directory.count(count)
        assert (count, directory.add()) == (count, f"{place}/")
    directory.control.write_text(text)


def check_a_second_crossing(
    directory: Directory, users: int, place: str, after: list[tuple[int, str]]
) -> None:
    text = directory.control.read_text()
    for _, following in after[:3]:
        directory.drop()
        directory.drop()
        assert directory.add() == f"{place}/"
        assert directory.add() == f"{following}/"
        assert directory.lines()[0] == str(users)
        place = following
    directory.control.write_text(text)


def test_the_file_from_the_first_user_on(directory: Directory) -> None:
    assert directory.add() == ""
    assert directory.control.read_text() == "1\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n"
    assert directory.add() == ""
    # Read back, the third number of a triple takes the second's value.
    assert directory.control.read_text() == "2\n0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n\n"
    for count, index, place in ((99, "0 0 0", "0"), (199, "1 0 0", "1"), (299, "2 0 0", "2")):
        directory.count(count)
        assert directory.add() == f"{place}/"
        rest = ["0", "3", "0 0 0", "61 61 61", "0 2 2", index, place, ""]
        assert directory.lines() == [str(count + 1), *rest]
    assert directory.control.stat().st_mode & 0o7777 == 0o600


def test_a_second_crossing_takes_the_next_one(directory: Directory) -> None:
    directory.add()
    directory.count(99)
    places = [directory.add()]
    for _ in range(3):
        directory.drop()
        places.append(directory.add())
    assert places == ["0/", "1/", "2/", "3/"]


def test_a_place_of_the_third_level_ends_in_a_slash_of_its_own(directory: Directory) -> None:
    directory.add()
    directory.drop("0/1/")
    assert directory.add() == "0/1//"


def test_the_count_does_not_go_below_none(directory: Directory) -> None:
    directory.drop()
    assert directory.lines()[0] == "0"
    directory.add()
    directory.drop()
    directory.drop()
    assert directory.lines()[0] == "0"


def test_freed_places_are_used_in_the_order_in_which_they_came(directory: Directory) -> None:
    directory.add()
    directory.count(199)
    assert directory.add() == "0/"
    for place in ("0", "0/1", "0"):
        directory.drop(place)
    directory.drop("")
    assert directory.free.read_text() == "0\n0/1\n0\n"
    assert directory.free.stat().st_mode & 0o7777 == 0o600
    # The count goes up all the same, and the last line stays.
    users = int(directory.lines()[0])
    assert [directory.add() for _ in range(2)] == ["0/", "0/1/"]
    assert directory.lines()[0] == str(users + 2)
    assert directory.lines()[7] == "0"
    assert directory.free.read_text() == "0\n"
    assert directory.free.stat().st_mode & 0o7777 == 0o644
    assert directory.add() == "0/"
    assert directory.free.read_text() == ""
    lock = directory.path / ".dir_control_free.lock"
    assert lock.stat().st_mode & 0o7777 == 0o600


def test_a_freed_place_comes_before_a_crossing(directory: Directory) -> None:
    directory.add()
    directory.count(99)
    assert directory.add() == "0/"
    directory.drop("0")
    assert directory.add() == "0/"
    assert directory.lines()[0] == "100"
    directory.drop("")
    assert directory.add() == "1/"


def test_domains_leave_freed_places_alone(directory: Directory) -> None:
    directory.add()
    directory.free.write_text("z\n")
    assert directory.add(with_free=False) == ""
    assert directory.free.read_text() == "z\n"


@pytest.mark.parametrize("place", ["..", "0/..", "/", "/0", "00", "0//0", "-", "0/ ", "é"])
def test_what_is_no_place_is_not_used(directory: Directory, place: str) -> None:
    directory.add()
    directory.drop(place)
    assert not directory.free.exists()
    directory.free.write_text(f"{place}\n1\n")
    assert directory.add() == ""
    assert directory.free.read_text() == "1\n"
    assert directory.add() == "1/"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "0\n",
        "0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n../../etc\n",
        "0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n" + "0/" * 500 + "\n",
        "7\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n0\n",
        "-1\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n0\n",
        "0\n3\n0 0 0\n999 999 999\n0 2 2\n0 0 0\n0\n",
        "0\n3\n0 0 0\n61 61 61\n0 999999999 2\n0 0 0\n0\n",
        "0\n3\n-1 0 0\n61 61 61\n0 2 2\n0 0 0\n0\n",
        "0\n3\nx\n61 61 61\n0 2 2\n0 0 0\n0\n",
        "0\n3\n" + "0 0 0" * 100 + "\n61 61 61\n0 2 2\n0 0 0\n0\n",
    ],
)
def test_a_damaged_file_keeps_the_count_that_can_be_read(directory: Directory, rest: str) -> None:
    directory.control.write_text(f"5\n{rest}")
    assert directory.add() == ""
    assert directory.control.read_text() == "6\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n"


@pytest.mark.parametrize("text", [b"", b"\n", b"many\n", b"-3\n", b"99999999999999999999\n", b"\0"])
def test_a_count_that_cannot_be_read_begins_anew(directory: Directory, text: bytes) -> None:
    directory.control.write_bytes(text)
    assert directory.add() == ""
    assert directory.control.read_text() == "1\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n"
