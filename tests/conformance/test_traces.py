"""Every recorded call of the PHP extension comes out the same here, save the named differences."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import hashes, tree
from tests.conformance.differences import DIFFERENCES
from tests.conformance.replay import (
    Call,
    Outcome,
    Replay,
    Trace,
    load,
    names,
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


def test_hashes_are_of_the_passwords_of_their_calls(tmp_path: Path) -> None:
    """Also the ones that stand in for what a difference makes."""
    place = Place(str(tmp_path), own_ids=True)
    for name, trace in TRACES.items():
        for call, texts in _replayed(trace, place):
            assert [text for text in texts if text.startswith("hash")] == [], (name, str(call))


@pytest.mark.parametrize("name", TRACES)
def test_the_comparer_finds_nothing_in_what_is_expected(name: str, tmp_path: Path) -> None:
    place = Place(str(tmp_path), own_ids=True)
    for call, texts in _replayed(load(name, place), place):
        assert texts == [], str(call)


def _damage(found: Path) -> Iterator[tuple[str, str]]:
    """Damage one thing after the other; yield what is damaged and a word of the complaint."""
    vpasswd = found / "domains/example.com/vpasswd"
    text = vpasswd.read_bytes()
    vpasswd.write_bytes(text.replace(b"A Person", b"A person"))
    yield "a line", "+alice"
    vpasswd.write_bytes(text)
    vpasswd.chmod(0o644)
    yield "a mode", "expected mode 0600, got 0644"
    vpasswd.chmod(0o600)
    cdb = vpasswd.with_name("vpasswd.cdb")
    data = cdb.read_bytes()
    cdb.write_bytes(data + b"\0")
    yield "a cdb", "laid out differently"
    cdb.write_bytes(data)
    (vpasswd.parent / "stray").mkdir()
    yield "a directory too many", "stray: should not be there"
    (vpasswd.parent / "stray").rmdir()
    (vpasswd.parent / "alice/lastauth").unlink()
    yield "a file too few", "lastauth: is missing"


def test_the_comparer_finds_what_is_wrong(tmp_path: Path) -> None:
    place = Place(str(tmp_path), own_ids=True)
    trace = load("auth", place)
    replay = _fake(trace, place)
    for call in trace.calls[:2]:
        replay.step(call)
    for what, complaint in _damage(tmp_path / "home/vpopmail"):
        texts = tree.differences(replay.expected, tree.scan(place))
        assert len(texts) == 1, what
        assert complaint in texts[0], what


def test_the_comparer_wants_the_call_s_password_in_the_hash(tmp_path: Path) -> None:
    place = Place(str(tmp_path), own_ids=True)
    trace = load("auth", place)
    replay = _fake(trace, place, setting=b"$6$abcdefgh$", password=b"s3cretPW")
    assert [replay.step(call) for call in trace.calls[:3]] == [[], [], []]
    replay = _fake(trace, place, setting=b"$6$abcdefgh$", password=b"another")
    assert replay.step(trace.calls[0]) == []
    assert "is not one of b's3cretPW'" in replay.step(trace.calls[1])[0]
    replay = _fake(trace, place, setting=b"$1$abcdefgh$", password=b"s3cretPW")
    assert replay.step(trace.calls[0]) == []
    assert "has not the form" in replay.step(trace.calls[1])[0]


def _differs(call: Call) -> bool:
    plain = replace(call, difference=type(call.difference)(()))
    if call.difference.rows == (1,):
        return bool(call.recorded["cwd"] != tree.WORK)
    return (call.outcome(0), call.changed, call.removed) != (
        plain.outcome(0),
        plain.changed,
        plain.removed,
    )


def _is_control(path: str) -> bool:
    return path.startswith("/var/qmail/control/") and not path.endswith(".lock")


def _replayed(trace: Trace, place: Place) -> Iterator[tuple[Call, list[str]]]:
    replay = _fake(trace, place)
    for call in trace.calls:
        yield call, replay.step(call)


def _fake(trace: Trace, place: Place, setting: bytes = b"", password: bytes = b"") -> Replay:
    """Return a replay on a stand-in that does to the disk what is expected of each call.

    With `setting` it makes hashes of `password` with it, in place of the recorded ones.
    """
    calls = iter(call for call in trace.calls if call.function)

    def act(function: str, arguments: list[object]) -> Outcome:
        call = next(calls)
        assert call.function == function
        _apply(call, replay, lambda file: _hashed(file, setting, password))
        return replay.expected_outcome(call)

    replay = Replay(trace, place, act)
    replay.lay_out()
    return replay
