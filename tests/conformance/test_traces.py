"""Every recorded call of the PHP extension comes out the same here, save the named differences."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import hashes, tree
from tests.conformance.differences import (
    DIFFERENCES,
    WITH_5_4,
    WITH_5_5,
    WITH_REAL,
    Difference,
)
from tests.conformance.forms import FORM_5_4, FORM_5_6
from tests.conformance.replay import (
    Call,
    Outcome,
    Replay,
    Trace,
    load,
    names,
    outcome_differences,
    place_of_tests,
)
from tests.conformance.tree import Entry, Place, Tree

TOP = Path(__file__).parents[2]
TRACES = {name: load(name, Place()) for name in names()}
CALLS = [(name, call) for name, trace in TRACES.items() for call in trace.calls]
IN_PLACE = place_of_tests()


def test_all_traces_and_calls_are_there() -> None:
    functions = [call for _, call in CALLS if call.function]
    assert (len(TRACES), len(functions), len(CALLS) - len(functions)) == (45, 877, 3)


@pytest.mark.skipif(IN_PLACE is None, reason="neither in tests/container.sh nor in a scratch home")
@pytest.mark.parametrize("name", TRACES)
def test_trace(name: str) -> None:
    # A process of its own, as each was recorded: the kept error, the umask and the directory are
    # the process's. What the library prints would be in its output.
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.replay", name],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0 or done.stdout:
        pytest.fail(f"exit status {done.returncode}\n{done.stdout}", pytrace=False)


def test_each_difference_differs_from_the_trace() -> None:
    calls = {(name, call.number): call for name, call in CALLS}
    idle = [key for key in DIFFERENCES if not _differs(calls[key])]
    assert idle == []


@pytest.mark.parametrize(
    ("release", "before", "own"),
    [("5.6.13", "", WITH_REAL), ("5.4.33", "5.6.13", WITH_5_4), ("5.5.0", "5.6.13", WITH_5_5)],
)
def test_each_difference_of_a_real_library_differs(
    release: str, before: str, own: Mapping[tuple[str, int], Difference]
) -> None:
    for name in {name for name, _ in own}:
        traces = [load(name, Place(), version) for version in (before, release)]
        for key, (one, other) in enumerate(zip(*(trace.calls for trace in traces), strict=True)):
            same = not one.function or _expectation(one) == _expectation(other)
            assert same is ((name, key) not in own), (name, key)


DOMAIN = "/home/vpopmail/domains/example.com"
NEW = "| /home/vpopmail/bin/vdelivermail '' delete\n"
BOUNCED = "| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox\n"


@pytest.mark.parametrize(
    ("name", "before", "changed", "written"),
    [
        (".qmail-default", None, NEW, BOUNCED),
        (".qmail-default", BOUNCED, f"{NEW}./Maildir/\n", f"{BOUNCED}./Maildir/\n"),
        (".qmail-default", "x\n", NEW, NEW),
        (".qmail-info", None, NEW, NEW),
        ("vpasswd", None, "a:H:1:0:A:/a:NOQUOTA\n", "a:H:1:0:A:/a:NOQUOTA:pw:1\n"),
        (
            "vpasswd",
            "a:H:1:0:A:/a:NOQUOTA:old:1\nb:H:1:0:B:/b:NOQUOTA\nc:H:1:0:C:/c:NOQUOTA\n",
            "a:H:1:0:A:/a:5S\nb:H:1:0:B:/b:5S\nc:H:1:0:C:/c:NOQUOTA\nd:J:1:0:D:/d:NOQUOTA\n",
            "a:H:1:0:A:/a:5S:old:1\nb:H:1:0:B:/b:5S:\nc:H:1:0:C:/c:NOQUOTA\n"
            "d:J:1:0:D:/d:NOQUOTA:pw:1\n",
        ),
        (
            "vpasswd",
            "a:H:1:0:A:/a:NOQUOTA:old\nb:H:1:0:B:/b:NOQUOTA:b\n",
            "a:J:1:0:A:/a:NOQUOTA\n",
            "a:J:1:0:A:/a:NOQUOTA:pw:1\n",
        ),
    ],
)
def test_what_another_release_writes(
    name: str, before: str | None, changed: str, written: str
) -> None:
    def files(text: str | None) -> Tree:
        return (
            {}
            if text is None
            else {f"{DOMAIN}/{name}": Entry("file", 0o600, 89, 89, text.encode())}
        )

    arguments = files(changed), files(before), b"pw:1"
    assert FORM_5_4.written(*arguments) == files(written)
    assert FORM_5_6.written(*arguments) == files(changed)


def test_the_hashes_and_texts_of_another_release() -> None:
    md5, sha512 = hashes.crypt(b"pw", b"$1$saltsalt$"), hashes.crypt(b"pw", b"$6$saltsalt$")
    for form, own, other in ((FORM_5_4, md5, sha512), (FORM_5_6, sha512, md5)):
        assert form.is_hash(own, b"pw")
        assert form.verify(b"pw", own)
        assert not form.verify(b"other", own)
        assert not form.is_hash(other, b"pw")
        assert not form.is_hash(b"", b"pw")
    assert (FORM_5_4.is_hash(b"", b""), FORM_5_6.is_hash(b"", b"")) == (True, False)
    assert FORM_5_4.text("user name too long (max=64)") == "user name too long"
    assert FORM_5_6.text("user name too long (max=64)") == "user name too long (max=64)"


def test_every_move_of_the_working_directory_is_named() -> None:
    moved = [
        (name, call.number)
        for name, call in CALLS
        if call.function and call.recorded["cwd"] != tree.WORK
    ]
    assert moved == [key for key in sorted(DIFFERENCES) if 1 in DIFFERENCES[key].rows]


def test_every_narrow_control_file_is_named() -> None:
    narrow = [
        (name, call.number)
        for name, call in CALLS
        if any(_is_control(path) and file.mode != 0o644 for path, file in call.changed.items())
    ]
    assert narrow == []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A scratch place for a stand-in; the process is as before afterwards."""
    cwd, umask = os.getcwd(), os.umask(0o022)
    yield Place(str(tmp_path), own_ids=True)
    os.chdir(cwd)
    os.umask(umask)


@pytest.mark.parametrize("name", TRACES)
def test_the_comparer_finds_nothing_in_what_is_expected(name: str, place: Place) -> None:
    trace = load(name, place)
    replay = StandIn(trace, place).replay
    for call in trace.calls:
        assert replay.step(call) == [], str(call)


def _damage(home: Path) -> Iterator[str]:
    """Damage one thing after the other; yield a part of the complaint that is to come."""
    vpasswd = home / "domains/example.com/vpasswd"
    text = vpasswd.read_bytes()
    vpasswd.write_bytes(text.replace(b"A Person", b"A person"))
    yield "+alice"
    vpasswd.write_bytes(text)
    vpasswd.chmod(0o644)
    yield "expected mode 0600, got 0644"
    vpasswd.chmod(0o600)
    cdb = vpasswd.with_name("vpasswd.cdb")
    data = cdb.read_bytes()
    cdb.write_bytes(data + b"\0")
    yield "laid out differently"
    cdb.write_bytes(data)
    stray = vpasswd.with_name("stray")
    stray.mkdir()
    yield "stray: should not be there"
    stray.rmdir()
    lastauth = vpasswd.with_name("alice") / "lastauth"
    lastauth.unlink()
    yield "lastauth: is missing"
    lastauth.symlink_to("0.0.0.0")
    yield "expected a file, got a link"


def test_the_comparer_finds_each_damage(place: Place) -> None:
    trace = load("auth", place)
    replay = StandIn(trace, place).replay
    for call in trace.calls[:2]:
        assert replay.step(call) == []
    for complaint in _damage(Path(place.path(tree.HOME))):
        texts = tree.differences(replay.expected, tree.scan(place))
        assert len(texts) == 1
        assert complaint in texts[0]


@pytest.mark.parametrize(
    ("setting", "password", "complaint"),
    [
        (b"$6$abcdefgh$", b"s3cretPW", ""),
        (b"$6$abcdefgh$", b"another", "is not one of b's3cretPW'"),
        (b"$6$short$", b"s3cretPW", "has not the form"),
    ],
)
def test_a_hash_is_judged_by_form_and_password(
    place: Place, setting: bytes, password: bytes, complaint: str
) -> None:
    hashed = hashes.crypt(password, setting)
    trace = load("auth", place)
    replay = StandIn(trace, place, lambda _: hashed).replay
    replay.step(trace.calls[0])
    texts = replay.step(trace.calls[1])
    if complaint:
        assert complaint in texts[0]
    else:
        assert texts == []


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"result": 1}, "result: expected True, got 1"),
        ({"warnings": ["x"]}, "warnings: expected [], got ['x']"),
        ({"error": "x"}, "vpopmail_error(): expected 'Success', got 'x'"),
        ({"cwd": False}, "working directory: expected /tmp/rec, got none"),
        ({"umask": 0o22}, "umask: expected 077, got 022"),
        ({"raised": "TypeError"}, "expected no exception, got TypeError"),
    ],
)
def test_each_part_of_an_outcome_counts(other: dict[str, Any], complaint: str) -> None:
    expected = Outcome(True, [], "Success", tree.WORK, 0o77)
    assert list(outcome_differences(expected, expected)) == []
    assert list(outcome_differences(expected, replace(expected, **other))) == [complaint]


@pytest.mark.parametrize(
    ("got", "same"),
    [
        ({"a": ["1"], "B": [], "b": []}, True),
        ({"a": ["1"], "b": [], "B": []}, True),
        ({"B": [], "b": [], "a": ["1"]}, False),
        ({"a": ["1"], "B": []}, False),
        ({"a": ["2"], "B": [], "b": []}, False),
    ],
)
def test_names_are_in_case_insensitive_order(got: dict[str, list[str]], same: bool) -> None:
    expected = Outcome({"a": ["1"], "b": [], "B": []}, [], "Success", tree.WORK, 0o77)
    assert (list(outcome_differences(expected, replace(expected, result=got))) == []) is same


def _differs(call: Call) -> bool:
    if call.difference.rows == (1,):
        return bool(call.recorded["cwd"] != tree.WORK)
    if call.difference.rows == (13,):
        return not any(hashes.verify(call.password, made) for made in _hashes(call.changed))
    plain = replace(call, difference=Difference(()))
    return _expectation(call) != _expectation(plain)


def _expectation(call: Call) -> tuple[Outcome, Tree, list[str]]:
    return call.outcome(0), call.changed, call.removed


def _is_control(path: str) -> bool:
    return path.startswith("/var/qmail/control/") and not path.endswith(".lock")


def _hashes(files: Tree) -> set[bytes]:
    return {hashed for file in files.values() for hashed in hashes.FORM.findall(file.data)}


def _hash_maker() -> Callable[[bytes], bytes]:
    salts = itertools.count()
    return lambda password: hashes.crypt(password, b"$6$%08d$" % next(salts))


class StandIn:
    """In the package's place: does to the disk what is expected, with hashes of its own."""

    def __init__(
        self, trace: Trace, place: Place, make_hash: Callable[[bytes], bytes] | None = None
    ) -> None:
        self.replay = Replay(trace, place, self.perform)
        self._calls = iter(trace.calls)
        self._place = place
        self._make_hash = make_hash or _hash_maker()
        self._hashes = {hashed: hashed for hashed in _hashes(trace.start)}
        self._disk = self._here(trace.start)
        self.replay.lay_out()

    def perform(self, function: str, arguments: list[Any]) -> Outcome:
        """Do what is expected of the next call."""
        call = next(self._calls)
        while not call.function:
            # Done from outside: the replay has put it on the disk.
            for hashed in _hashes(call.changed):
                self._hashes.setdefault(hashed, hashed)
            self._follow(call)
            call = next(self._calls)
        assert (function, len(arguments)) == (call.function, len(call.arguments))
        for hashed in _hashes(call.changed) - self._hashes.keys():
            self._hashes[hashed] = self._make_hash(call.password)
        changed = self._follow(call)
        tree.remove(call.removed, self._place)
        tree.write({**changed, **self._cdbs_beside(changed)}, self._disk, self._place)
        return self.replay.expected_outcome(call)

    def _follow(self, call: Call) -> Tree:
        changed = self._here(call.changed)
        self._disk.update(changed)
        for path in call.removed:
            del self._disk[path]
        return changed

    def _here(self, files: Tree) -> Tree:
        return {path: self._entry_here(path, file) for path, file in files.items()}

    def _entry_here(self, path: str, file: Entry) -> Entry:
        here = self._place.entry(path, file)
        return replace(here, data=hashes.FORM.sub(lambda found: self._hashes[found[0]], here.data))

    def _cdbs_beside(self, changed: Tree) -> Tree:
        return {
            path: file
            for path, file in self._disk.items()
            if file.source and f"{os.path.dirname(path)}/{file.source}" in changed
        }
