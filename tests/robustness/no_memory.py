"""Has allocations fail in the calls of all scenarios; run by test_no_memory.py, with no_memory.c.

``python -m tests.robustness.no_memory STEP``: one of so many allocations is tried. It prints how
many failed and how many of these calls told so; what is wrong is raised.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
import warnings
from pathlib import Path

from tests.robustness import strike
from tests.robustness.installations import SCENARIOS, Installation, Scenario, to_be_struck
from tests.robustness.test_crashes import References
from vpopmail_ext.errors import Code

PYTHON = re.compile(r"/(python|libpython|_c(ffi_backend|types)|libffi)[^/]*$")
"""Whose allocations don't fail: the one that makes the call is no part of it."""
RANGES = 16


class State(ctypes.Structure):
    """no_memory.c has the same."""

    _fields_ = (
        ("left", ctypes.c_long),
        ("failed", ctypes.c_long),
        ("all", ctypes.c_int),
        ("count", ctypes.c_int),
        ("own", ctypes.c_size_t * 2 * RANGES),
    )


def own_code() -> list[tuple[int, int]]:
    """Return where Python's own code is."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, *_ = line.split()
        if "x" in rights and PYTHON.search(line):
            start, end = where.split("-")
            found.append((int(start, 16), int(end, 16)))
    return found


class Shim:
    """What is preloaded."""

    def __init__(self) -> None:
        self.state = State.from_buffer(mmap.mmap(-1, ctypes.sizeof(State)))
        ranges = own_code()
        self.state.count = len(ranges)
        for number, (start, end) in enumerate(ranges):
            self.state.own[number][:] = start, end
        self.arm = ctypes.CDLL(None).fail_allocations

    def run(self, place: Installation, scenario: Scenario, point: int, *, rest: bool) -> bool:
        """Make the call so that one allocation fails, with the rest of them if that is wanted."""
        self.state.left, self.state.failed, self.state.all = point + 1, 0, rest

        def call() -> int:
            self.arm(ctypes.byref(self.state))
            try:
                code = scenario.call(place)
            except AssertionError:  # where the library's home is told to it
                code = Code.VA_MEMORY_ALLOC_ERR
            self.arm(None)
            return code

        self.outcome = strike.run(call, lambda call: 0)
        return self.state.failed > 0


def try_scenario(place: Installation, shim: Shim, scenario: Scenario, step: int) -> tuple[int, int]:
    references = References(place, scenario)
    failed = told = point = 0
    reached = True
    place.lay_out(scenario)
    before = place.tree()
    while reached:
        for rest in (False, True) if step == 1 else (point // step % 2 == 1,):
            where = f"{scenario.name}, allocation {point}{' and all after it' if rest else ''}"
            reached = shim.run(place, scenario, point, rest=rest)
            outcome = shim.outcome
            sound = outcome.code not in (None, -127) and not outcome.left
            assert sound, f"{where}: {outcome}"
            if not reached:
                break
            failed += 1
            told += outcome.code != 0
            before = references.check_failed(place, outcome, before, where, removal=rest)
        point += step
    return failed, told


def main() -> None:
    shim, step = Shim(), int(sys.argv[1])
    warnings.simplefilter("ignore")
    failed = told = status = 0
    with to_be_struck() as place, place.used():
        for scenario in SCENARIOS:
            if not scenario.apart and (len(sys.argv) < 3 or scenario.name in sys.argv[2:]):
                try:
                    each = try_scenario(place, shim, scenario, step)
                except AssertionError as wrong:
                    print(wrong, file=sys.stderr)
                    status = 1
                else:
                    failed, told = failed + each[0], told + each[1]
    print(f"{failed:,} failing allocations, of which {told:,} told")
    sys.exit(status)


if __name__ == "__main__":
    main()
