"""The library under ThreadSanitizer, under Address-, Leak- and UndefinedBehaviorSanitizer, and in
valgrind: every function one after the other (calls.c) and by many threads (many.c).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import torture
from tests.installation import build_library

TOP = Path(__file__).parents[2]
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    "VPOPMAIL_TEST_SANITIZED" in os.environ, reason="it brings sanitizers of its own"
)


@dataclass(frozen=True)
class Checker:
    """How a program is built and run so that what it does wrong is seen."""

    sanitize: str = ""
    command: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)


CHECKERS = {
    "thread": Checker("thread", environment={"TSAN_OPTIONS": "second_deadlock_stack=1"}),
    "address": Checker("address,undefined", environment={"ASAN_OPTIONS": "detect_leaks=1"}),
    "valgrind": Checker(
        command=[
            *("valgrind", "--quiet", "--error-exitcode=99", "--fair-sched=yes"),
            *("--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible"),
        ]
    ),
    "none": Checker(),
}

Run = Callable[..., str]


def run_gcc(*arguments: str) -> None:
    subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-g", "-O2", *arguments], check=True)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Checker], Path]:
    """Return a function that builds a program for a checker."""

    @cache
    def library(sanitize: str) -> Path:
        prefix = tmp_path_factory.mktemp("library")
        build_library(prefix, *(["--sanitize", sanitize] if sanitize else []))
        return prefix

    @cache
    def program(name: str, sanitize: str) -> Path:
        prefix = library(sanitize)
        flags = ["-Wall", "-Wextra", "-Werror", f"-I{prefix}/include"]
        if sanitize:
            flags += [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all"]
        built = prefix / name
        libraries = [f"-L{prefix}/lib", "-lvpopmail", "-lcrypt", "-lpthread"]
        run_gcc(*flags, "-o", str(built), str(HERE / f"{name}.c"), *libraries)
        return built

    return lambda name, checker: program(name, checker.sanitize)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory, if there is some.

    A disk takes longer over a thousand threads' changes of one domain than a lock is waited for.
    """
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as directory:
        yield Path(directory)


@pytest.fixture
def run(build: Callable[[str, Checker], Path], place: Path) -> Run:
    """Return a function that runs a program in a checker on an empty installation.

    It returns what the program prints; a complaint of the checker is a failure.
    """
    home, qmail = place / "home", place / "qmail"
    for directory in (home / "domains", home / "etc", qmail / "users", qmail / "control"):
        directory.mkdir(parents=True)
    (home / "etc/password_strength.conf").write_text("Length >= 1\n")

    def run(checker: str, name: str, *arguments: object) -> str:
        how = CHECKERS[checker]
        command = [*how.command, build(name, how), home, qmail, *arguments]
        ran = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], **how.environment},
        )
        # Valgrind's own troubles, as system calls that it does not know, begin with dashes.
        complaints = [line for line in ran.stderr.splitlines() if not line.startswith("--")]
        assert (ran.returncode, complaints) == (0, [])
        return ran.stdout

    return run


@pytest.mark.parametrize("program", ["calls", "many"])
def test_none_is_left_out(program: str) -> None:
    """Of what the library's headers declare."""
    headers = (TOP / "csrc/libvpopmail/include").glob("*.h")
    told = [re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in headers]
    functions = set(re.findall(r"(\w+)\([^()]*\);", "".join(told)))
    assert {"vadduser", "vpopmail_bulk_commit", "vget_limits"} <= functions
    called = set(re.findall(r"(\w+)\(", (HERE / f"{program}.c").read_text()))
    assert functions - called == set()


@pytest.mark.torture
@pytest.mark.parametrize(("checker", "rounds"), [("address", 20), ("valgrind", 2)])
def test_every_function(run: Run, checker: str, rounds: int) -> None:
    assert run(checker, "calls", round(torture.amount(rounds, 20 * rounds))) == ""


# Rounds, and forks: an AddressSanitizer of gcc 12 forks without its allocator's locks.
MANY = {"thread": (60, 1000, 3), "address": (60, 1000, 0), "valgrind": (12, 100, 0)}


@pytest.mark.torture
@pytest.mark.parametrize("checker", MANY)
def test_many_threads(run: Run, checker: str) -> None:
    short, long, forks = MANY[checker]
    tell(run(checker, "many", 8, round(torture.amount(short, long)), forks))


@pytest.mark.torture
@pytest.mark.parametrize("checker", ["none", "thread"])
def test_a_thousand_threads(run: Run, checker: str) -> None:
    tell(run(checker, "many", 1000, round(torture.amount(1, 5)), 1))


def tell(printed: str) -> None:
    """Have the figures shown, once the program did not complain of them."""
    assert ", 0 wrong, " in printed
    torture.tell(printed.strip())
