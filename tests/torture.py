"""How far the tests that could go on for ever go: a little in `make test`, far in `make torture`.

They are marked `torture` and are the same tests in both. VPOPMAIL_TEST_TORTURE is a factor on how
far they are to go, 1 in `make torture`; under the sanitizers, which run all that once more, it is a
tenth. What each did is entered in torture.json, with a digest of the code that it tried, of which
``python -m tests.torture`` makes the tables in docs/durability.md. `make torture RESUME=1` leaves
out what it has of the same code.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypedDict

TOP = Path(__file__).parents[1]
DOCUMENT = TOP / "docs/durability.md"
LEDGER = Path(os.environ.get("VPOPMAIL_TEST_LEDGER") or TOP / "tests/torture.json")
SANITIZED = "VPOPMAIL_TEST_SANITIZED" in os.environ
FACTOR = float(os.environ.get("VPOPMAIL_TEST_TORTURE") or 0) / (10 if SANITIZED else 1)

figures: dict[str, list[str]] = {}
"""By test: what is shown at the end of `make torture`."""
counted: Counter[str] = Counter()


def amount(short: float, long: float) -> float:
    """Return how many seconds, rounds or whatever it is to be: `short`, or `long` with torture."""
    return long * FACTOR if FACTOR else short


def step(short: int) -> int:
    """Return of how many points one is to be tried: of `short`, or each with torture."""
    return max(1, round(1 / FACTOR)) if FACTOR else short


def _running() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0].split("/")[-1]


def tell(figure: str) -> None:
    """Have a line shown at the end of `make torture`."""
    figures.setdefault(_running(), []).append(figure)


def count(things: str) -> None:
    """Have shown how often this was called by a test, which is how many things it tried."""
    counted[_running()] += 1
    figures[_running()] = [f"{counted[_running()]:,} {things}"]


# --- what was done --------------------------------------------------------------------------------


def digest(sources: Iterable[Path]) -> str:
    """Return a digest of C code, in which comments and spaces don't count."""
    told = hashlib.sha256()
    for path in sources:
        command = ["gcc", "-fpreprocessed", "-dD", "-E", "-P", path]
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        text = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
        told.update(b" ".join(text.split()))
    return told.hexdigest()[:16]


@cache
def _of_the_library() -> str:
    library = TOP / "csrc/libvpopmail"
    return digest(sorted([*library.glob("*.[ch]"), *library.glob("include/*.h")]))


def _with_python(before: str, sources: Iterable[Path]) -> str:
    told = hashlib.sha256(before.encode())
    for source in sources:
        told.update(ast.unparse(ast.parse(source.read_text())).encode())  # without comments
    return told.hexdigest()[:16]


@cache
def _of_chown() -> str:
    package = TOP / "vpopmail_ext"
    return _with_python(_of_the_library(), [package / "chown.py", package / "users_cdb.py"])


@cache
def _of_the_package() -> str:
    binding = digest(sorted((TOP / "csrc/binding").glob("*.[ch]")))
    package = sorted((TOP / "vpopmail_ext").rglob("*.py"))
    return _with_python(_of_the_library() + binding, package)


def code(test: str) -> str:
    """Return the digest of what a test tries: of the library, its programs are not in it.

    With those of chown it is that of what does the work, too; with those of any values and any
    bytes, that of the binding and of all that is Python.
    """
    file, _, name = test.split("/")[-1].partition("::")
    if file in ("test_any_values.py", "test_any_bytes.py"):
        return _of_the_package()
    return _of_chown() if "chown" in name else _of_the_library()


class Entry(TypedDict):
    """What was done by a test."""

    code: str
    factor: float
    figure: str


def entries() -> dict[str, Entry]:
    """Return what was done, by test."""
    text = LEDGER.read_text() if LEDGER.exists() else ""
    written: dict[str, Entry] = json.loads(text or "{}")
    return written


def name_of(test: str) -> str:
    """Return what a test is entered by."""
    return test.split("/")[-1] + (" sanitized" if SANITIZED else "")


def is_done(test: str) -> bool:
    """Tell whether a test has passed, as far as it is to go, with the code that there is."""
    entry = entries().get(name_of(test))
    return entry is not None and entry["code"] == code(test) and entry["factor"] >= FACTOR


def enter(test: str) -> None:
    """Enter what a test told that has passed."""
    figure = "; ".join(figures.get(test.split("/")[-1], ()))
    with LEDGER.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_done(test):  # for as long, or longer
            done = Entry(code=code(test), factor=FACTOR, figure=figure)
            made = entries() | {name_of(test): done}
            text = json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False)
            LEDGER.write_text(text + "\n")


# --- docs/durability.md ---------------------------------------------------------------------------


def document(command: str, lines: Iterable[str]) -> None:
    """Write what a command has made in its place in docs/durability.md."""
    start, end = f"<!-- made by {command} -->\n", "<!-- end -->\n"
    between = re.escape(start) + ".*?" + re.escape(end)
    made = "\n".join([start, *lines, "", end])
    text, count = re.subn(between, lambda _: made, DOCUMENT.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{DOCUMENT} has not once {start.strip()} … {end.strip()}")
    DOCUMENT.write_text(text)


SWEEPS = {
    "test_killed_before_any_call_that_changes_files": "killed at",
    "test_any_call_fails": "failing calls",
    "test_the_power_is_cut": "power cuts",
}
RACES = "test_nothing_outside_is_touched"


def tables() -> dict[str, list[str]]:
    """Return the tables, by what they are of."""
    sweeps: dict[str, dict[str, str]] = {}
    races = ["| function | in a minute |", "| --- | --- |"]
    others = ["| test | what it did |", "| --- | --- |"]
    for test, entry in entries().items():
        name, _, of = test.partition("::")[2].partition("[")
        of, figure = of.removesuffix("]"), entry["figure"]
        if entry["factor"] != 1 or test.endswith(" sanitized") or name.startswith("test_no_input"):
            continue
        if name in SWEEPS:
            sweeps.setdefault(of, {})[name] = figure
        elif name == RACES:
            races.append(f"| {of} | {figure} |")
        elif figure:
            others.append(f"| {name}{of and f', {of}'} | {figure} |")
    rows = [f"| call | {' | '.join(SWEEPS.values())} |", f"| --- {'| --- ' * len(SWEEPS)}|"]
    rows += [
        f"| {call} | {' | '.join(told.get(sweep, '') for sweep in SWEEPS)} |"
        for call, told in sorted(sweeps.items())
    ]
    sums = [
        sum(
            int(told[sweep].split()[0].replace(",", ""))
            for told in sweeps.values()
            if sweep in told
        )
        for sweep in SWEEPS
    ]
    rows.append(f"| all | {' | '.join(f'{made:,}' for made in sums)} |")
    return {
        "make torture, of changes": rows,
        "make torture, of the mail user": races,
        "make torture": others,
    }


if __name__ == "__main__":
    for which, lines in tables().items():
        document(which, lines)
    for each, entry in entries().items():
        if entry["code"] != code(each):
            print("of other code:", each)
