"""Replays a recorded trace on the package, and tells the first call that comes out otherwise.

    python -m tests.conformance.replay NAME [-v]

runs in tests/container.sh, or where VPOPMAIL_TEST_SCRATCH names a directory that has the bundled
library in DIR/home/vpopmail. It prints nothing where all is as expected, so that what the library
itself prints is seen. It wipes the directories that a trace covers, so it refuses to run elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tests.conformance import hashes, tree
from tests.conformance.differences import (
    AS_RECORDED,
    DIFFERENCES,
    OF_RELEASES,
    TRACES,
    WITH_OWN_IDS,
    WITH_REAL,
    Difference,
)
from tests.conformance.forms import FORM_5_6, Form, form_of
from tests.conformance.tree import Entry, Place, Tree

LONGEST_SCRATCH = 40
"""Longer, and a recorded path would go over a limit of vpopmail's (160) that it keeps to."""

_UMASK = 0o077
_LONE_UMASK = {"umask_modes": 0o022}
"""The umask that a trace was started with, where it was not set before each call."""
_MAKE_HASHES = {
    "vpopmail_add_user": 2,
    "vpopmail_passwd": 2,
    "vpopmail_add_domain_ex": 1,
}
"""The functions that make a hash: which argument is the password."""
_NO_DIFFERENCE = Difference(())


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    result: Any
    warnings: Sequence[str]
    error: str
    cwd: str | bool
    umask: int
    raised: str = ""
    """The name of an exception's type."""


def password_of(function: str, arguments: Sequence[Any]) -> bytes:
    """Return the password that a call makes a hash of; empty where it makes none."""
    index = _MAKE_HASHES.get(function)
    return b"" if index is None else str(arguments[index]).encode()


Perform = Callable[[str, list[Any]], Outcome]


@dataclass(frozen=True)
class Call:
    """A call of a trace with what is expected of it here; or something done from outside."""

    number: int
    recorded: Mapping[str, Any]
    difference: Difference

    @property
    def function(self) -> str:
        """The function's name; empty where something was done from outside."""
        name: str = self.recorded.get("fn", "")
        return name

    @property
    def arguments(self) -> list[Any]:
        """The arguments as recorded."""
        return list(self.recorded["args"])

    @property
    def password(self) -> bytes:
        """The password that the call makes a hash of; empty where it makes none."""
        return password_of(self.function, self.arguments)

    @cached_property
    def changed(self) -> Tree:
        """The files that are to differ after the call."""
        files = {path: tree.entry(file) for path, file in self.recorded["changed"].items()}
        for path, mode in self.difference.modes.items():
            files[path] = replace(files[path], mode=int(mode, 8))
        for path, file in self.difference.changed.items():
            if file is None:
                del files[path]
            else:
                files[path] = tree.entry(file)
        return files

    @property
    def removed(self) -> list[str]:
        """The files that are to be gone after the call."""
        return [*self.recorded["removed"], *self.difference.removed]

    def outcome(self, umask: int) -> Outcome:
        """Return what is to come of the call, with recorded paths."""
        raises = self.difference.raises
        return Outcome(
            result=None if raises else self._expected("result"),
            warnings=() if raises else self._expected("warnings"),
            error=self._expected("error"),
            cwd=tree.WORK,
            umask=umask,
            raised=raises.__name__ if raises else "",
        )

    def _expected(self, name: str) -> Any:
        value = getattr(self.difference, name)
        return self.recorded[name] if value is AS_RECORDED else value

    def __str__(self) -> str:
        if not self.function:
            return f"call {self.number}: from outside: {self.recorded['sh']}"
        arguments = ", ".join(map(repr, self.arguments))
        rows = f"  [differs by row {', '.join(map(str, self.difference.rows))}]"
        suffix = rows if self.difference.rows else ""
        return f"call {self.number}: {self.function}({arguments}){suffix}"


@dataclass(frozen=True)
class Trace:
    """A recorded trace."""

    name: str
    start: Tree
    calls: Sequence[Call]
    form: Form = FORM_5_6

    @property
    def lone_umask(self) -> int | None:
        """The umask that the trace starts with and then leaves alone."""
        return _LONE_UMASK.get(self.name)


def names() -> list[str]:
    """Return the traces' names."""
    return sorted(path.stem for path in TRACES.glob("*.json"))


def load(name: str, place: Place, real: str = "") -> Trace:
    """Read a trace, with what is expected of its calls at `place`.

    `real` is the version of a real library; empty for the bundled one.
    """
    form = form_of(real)
    recorded = json.loads((TRACES / f"{name}.json").read_text("utf-8"))
    special = {
        **DIFFERENCES,
        **(WITH_OWN_IDS if place.own_ids else {}),
        **(WITH_REAL if real else {}),
        **OF_RELEASES.get(real.rpartition(".")[0], {}),
    }
    calls = [
        Call(number, call, special.get((name, number), _NO_DIFFERENCE))
        for number, call in enumerate(recorded["calls"])
    ]
    start = {path: tree.entry(file) for path, file in recorded["start"].items()}
    return Trace(name, start, calls, form)


class Replay:
    """One run of a trace. `expected` is the file tree that is expected to be on disk by now."""

    def __init__(self, trace: Trace, place: Place, perform: Perform) -> None:
        self.trace = trace
        self.place = place
        self.perform = perform
        self._ours: dict[bytes, bytes] = {}
        self.expected: Tree = self._here(trace.start)
        self._seen = set(_hashes(trace.start))

    def lay_out(self) -> None:
        """Make the disk what it was when the recording started."""
        tree.lay_out(self.expected, self.place)
        os.makedirs(self.place.path(tree.WORK), exist_ok=True)
        os.chdir(self.place.path(tree.WORK))
        if self.trace.lone_umask is not None:
            os.umask(self.trace.lone_umask)

    def step(self, call: Call) -> list[str]:
        """Make a call; return in what it did not come out as expected."""
        if not call.function:
            self._from_outside(call)
            return []
        os.chdir(self.place.path(tree.WORK))
        if self.trace.lone_umask is None:
            os.umask(_UMASK)
        got = self.perform(call.function, self._arguments(call))
        found = tree.scan(self.place)
        texts = list(outcome_differences(self.expected_outcome(call), got))
        texts += self._adopt_hashes(call, found)
        self._expect(call)
        return texts + tree.differences(self.expected, found)

    def _arguments(self, call: Call) -> list[Any]:
        arguments = [self._mapped(argument) for argument in call.arguments]
        if self.place.own_ids and call.function == "vpopmail_add_domain":
            arguments[2:] = [
                _own_id(arguments[2], os.geteuid()),
                _own_id(arguments[3], os.getegid()),
            ]
        return arguments

    def expected_outcome(self, call: Call) -> Outcome:
        """Return what is to come of a call at this place."""
        umask = _UMASK if self.trace.lone_umask is None else self.trace.lone_umask
        expected, text = call.outcome(umask), self.trace.form.text
        return replace(
            expected,
            result=self._mapped(expected.result),
            warnings=list(map(text, expected.warnings)),
            error=text(expected.error),
            cwd=self.place.path(tree.WORK),
        )

    def _mapped(self, value: Any) -> Any:
        if isinstance(value, str):
            return os.fsdecode(self.place.data(os.fsencode(value)))
        if isinstance(value, list):
            return [self._mapped(item) for item in value]
        if isinstance(value, dict):
            return {name: self._mapped(item) for name, item in value.items()}
        return value

    def _from_outside(self, call: Call) -> None:
        self._seen.update(_hashes(call.changed))
        self._expect(call)
        tree.remove(call.removed, self.place)
        changed = {path: self.expected[path] for path in call.changed}
        tree.write(changed, self.expected, self.place)

    def _expect(self, call: Call) -> None:
        changed = self._here(call.changed)
        if call.function:
            changed = self.trace.form.written(changed, self.expected, call.password)
        for path in call.removed:
            del self.expected[path]
        self.expected.update(changed)

    def _here(self, recorded: Tree) -> Tree:
        return {path: self._entry_here(path, file) for path, file in recorded.items()}

    def _entry_here(self, path: str, recorded: Entry) -> Entry:
        here = self.place.entry(path, recorded)
        if b"$6$" not in here.data:
            return here
        return replace(here, data=hashes.FORM.sub(lambda h: self._ours.get(h[0], h[0]), here.data))

    def _adopt_hashes(self, call: Call, found: Tree) -> Iterator[str]:
        """Expect our hash from now on where the call was to make one and made a right one."""
        recorded = set(_hashes(call.changed)) - self._seen
        self._seen |= recorded
        for path, file in call.changed.items():
            for user, hashed in _vpasswd_hashes(file.data):
                if hashed in recorded and path in found:
                    yield from self._adopt(call, user, hashed, found[path].data)

    def _adopt(self, call: Call, user: bytes, recorded: bytes, vpasswd: bytes) -> Iterator[str]:
        ours = dict(_vpasswd_hashes(vpasswd)).get(user)
        password = call.password
        if ours is None:
            return  # the comparison of vpasswd tells
        if not self.trace.form.is_hash(ours, password):
            yield f"hash of {user.decode()}: {ours!r} has not the form of a libvpopmail hash"
        elif not self.trace.form.verify(password, ours):
            yield f"hash of {user.decode()}: {ours!r} is not one of {password!r}"
        else:
            self._ours[recorded] = ours


def _hashes(files: Tree) -> Iterator[bytes]:
    for file in files.values():
        yield from hashes.FORM.findall(file.data)


def _vpasswd_hashes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in data.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 1:
            yield fields[0], fields[1]


def _own_id(value: Any, own: int) -> Any:
    # 89, "89", "89abc" and 89.9 keep their form: they are there for the conversion.
    if isinstance(value, str):
        return re.sub(r"\A[0-9]+", str(own), value)
    return own if isinstance(value, int) else own + value % 1


def outcome_differences(expected: Outcome, got: Outcome) -> Iterator[str]:
    """Return a text for each thing in which a call came out otherwise."""
    if expected.raised != got.raised:
        yield f"expected {expected.raised or 'no exception'}, got {got.raised or 'none'}"
    if not _same(expected.result, got.result):
        yield f"result: expected {expected.result!r}, got {got.result!r}"
    if list(expected.warnings) != list(got.warnings):
        yield f"warnings: expected {list(expected.warnings)!r}, got {list(got.warnings)!r}"
    if expected.error != got.error:
        yield f"vpopmail_error(): expected {expected.error!r}, got {got.error!r}"
    if expected.cwd != got.cwd:
        yield f"working directory: expected {expected.cwd}, got {got.cwd or 'none'}"
    if expected.umask != got.umask:
        yield f"umask: expected {expected.umask:03o}, got {got.umask:03o}"


def _same(expected: Any, got: Any) -> bool:
    """Tell whether two results are the same, True not being 1.

    Names are to be in case-insensitive order; those that are equal but for case are in any.
    """
    if type(expected) is not type(got):
        return False
    if isinstance(expected, list):
        return len(expected) == len(got) and all(map(_same, expected, got))
    if isinstance(expected, dict):
        folded = [name.lower() for name in got]
        return (
            expected.keys() == got.keys()
            and folded == sorted(folded)
            and all(_same(expected[name], got[name]) for name in got)
        )
    return bool(expected == got)


def perform(function: str, arguments: list[Any]) -> Outcome:
    """Call a function of the package."""
    import vpopmail_ext

    result, raised = None, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = getattr(vpopmail_ext, function)(*arguments)
        except Exception as error:
            raised = type(error).__name__
    return Outcome(
        result=result,
        warnings=[_warning_text(warning) for warning in caught],
        error=vpopmail_ext.vpopmail_error(),
        cwd=_cwd(),
        umask=_umask(),
        raised=raised,
    )


def _warning_text(warning: warnings.WarningMessage) -> str:
    import vpopmail_ext

    if warning.category is not vpopmail_ext.VpopmailWarning or warning.filename != __file__:
        return f"{warning.category.__name__} at {warning.filename}: {warning.message}"
    return str(warning.message)


def _cwd() -> str | bool:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return False


def _umask() -> int:
    umask = os.umask(_UMASK)
    os.umask(umask)
    return umask


def place_of_tests() -> Place | None:
    """Return where traces may be replayed: the container's or a scratch directory, or None."""
    scratch = os.environ.get("VPOPMAIL_TEST_SCRATCH", "")
    if scratch:
        return Place(os.path.realpath(scratch), own_ids=True)
    root = os.environ.get("VPOPMAIL_TEST_ROOT", "")
    return Place(own_ids=root == "userns") if root else None


def first_difference(trace: Trace, place: Place, verbose: bool = False) -> str:
    """Replay a trace on the package; return the first call that differs and in what."""
    replay = Replay(trace, place, perform)
    replay.lay_out()
    for call in trace.calls:
        if verbose:
            print(call)
        texts = replay.step(call)
        if texts:
            return "\n".join([f"trace {trace.name}, {call}", *(f"  {text}" for text in texts)])
    return ""


def main(arguments: Sequence[str]) -> int:
    """Replay the named trace; return the exit status."""
    wanted = [argument for argument in arguments if argument != "-v"]
    if len(wanted) != 1 or wanted[0] not in names():
        print("usage: python -m tests.conformance.replay NAME [-v]", file=sys.stderr)
        print(f"NAME is one of: {' '.join(names())}", file=sys.stderr)
        return 2
    place = place_of_tests()
    if place is None:
        print("run this in tests/container.sh or set VPOPMAIL_TEST_SCRATCH", file=sys.stderr)
        return 2
    if len(place.scratch) > LONGEST_SCRATCH:
        print(f"{place.scratch}: longer than {LONGEST_SCRATCH} characters", file=sys.stderr)
        return 2
    import vpopmail_ext

    vpopmail_ext.configure(home=place.path(tree.HOME), qmail=place.path(tree.QMAIL))
    info = vpopmail_ext.info()
    real = info.vpopmail_version if info.library == "real" else ""
    difference = first_difference(load(wanted[0], place, real), place, "-v" in arguments)
    if difference:
        print(difference)
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
