"""Every row of docs/differences.md holds; a test is named after its row, and is skipped with a real
library where the table says that the row holds with the bundled one alone.

Run as a program with an argument (see the end), it makes calls for the tests of row 17 under a
preloaded library that tells, or cuts off, what is done to files.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb
from tests.conformance.forms import FORM_5_6
from tests.linked import FORM, REAL, bundled_alone, error_text
from vpopmail_ext import _binding, exec_tools
from vpopmail_ext._binding import lib
from vpopmail_ext.info import copy_out

TOP = Path(__file__).parents[2]
DOMAIN = "example.com"
SOMEBODY = 54321
"""A user id that is neither ours nor anybody's."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where syncing takes no time."""
SUCCESS = "Success"
REFUSED = "Illegal username"
FUNCTIONS = [
    getattr(v, name)
    for name in v.__all__
    if name.startswith("vpopmail_") and name != "vpopmail_error"
]

Snapshot = dict[str, tuple[object, ...]]

LIBRARIES = dict(
    re.findall(
        r"^\| (\d+) \|.*\| (\w+) \|$", (TOP / "docs/differences.md").read_text(), re.MULTILINE
    )
)
"""Which library a row of the table holds with: both, or bundled."""


@pytest.fixture(autouse=True)
def row(request: pytest.FixtureRequest) -> None:
    """Skip the test of a row that the linked library is not said to have."""
    number = re.match(r"test_row_(\d+)", request.node.name)
    if REAL and number and LIBRARIES[str(int(number[1]))] != "both":
        pytest.skip(f"row {int(number[1])} holds with the bundled library alone")


def test_the_table_is_read() -> None:
    assert list(LIBRARIES) == [str(number) for number in range(1, 23)]
    assert set(LIBRARIES.values()) == {"both", "bundled"}


def said(function: Callable[..., object], *arguments: object) -> str:
    """The error text after a call that may fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*arguments)
    return v.vpopmail_error()


def snapshot(top: Path) -> Snapshot:
    """All there is in a directory: kind, mode, owner, content."""
    found: Snapshot = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        name = str(path.relative_to(top))
        found[name] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def domain_path(home: Any, name: str = DOMAIN) -> Path:
    return Path(home.path) / "domains" / name


def populate(home: Any, uid: int | None = None) -> Path:
    """A domain with the users alice and bob; its directory."""
    owner = home.uid if uid is None else uid
    group = home.gid if uid is None else uid
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), owner, group)
    assert v.vpopmail_add_user("alice", DOMAIN, "secret-1")
    assert v.vpopmail_add_user("bob", DOMAIN, "secret-2")
    return domain_path(home)


def exercise(home: Any) -> None:
    """Every function, so that it succeeds and so that it fails."""
    directory, ids = str(home.path), (home.uid, home.gid)
    assert v.vpopmail_add_domain("one.com", directory, *ids)
    assert v.vpopmail_add_alias_domain("one.com", "alias.com")
    assert v.vpopmail_add_user("alice", "one.com", "secret-1", "Alice")
    assert v.vpopmail_passwd("alice", "alias.com", "secret-2")
    assert v.vpopmail_set_user_quota("alice", "one.com", "5M")
    assert v.vpopmail_auth_user("alice", "alias.com", "secret-2")
    assert v.vpopmail_alias_add("info", "one.com", "&alice@one.com")
    assert v.vpopmail_alias_add("sales", "one.com", "&alice@one.com")
    assert v.vpopmail_alias_get("info", "one.com") == ["&alice@one.com"]
    assert list(v.vpopmail_alias_get_all("one.com")) == ["info", "sales"]
    for function, *arguments in (
        (v.vpopmail_add_domain, "one.com", directory, *ids),
        (v.vpopmail_add_domain, "two.com", "/no/such", *ids),
        (v.vpopmail_add_alias_domain, "none.com", "new.com"),
        (v.vpopmail_add_user, "alice", "one.com", "x"),
        (v.vpopmail_add_user, "carol", "none.com", "x"),
        (v.vpopmail_del_user, "nobody", "one.com"),
        (v.vpopmail_del_user, "alice", "none.com"),
        (v.vpopmail_passwd, "nobody", "one.com", "x"),
        (v.vpopmail_set_user_quota, "nobody", "one.com", "1M"),
        (v.vpopmail_alias_add, "info", "none.com", "&x"),
        (v.vpopmail_alias_del, "nothing", "one.com"),
        (v.vpopmail_alias_del_domain, "none.com"),
        (v.vpopmail_del_domain, "none.com"),
    ):
        assert said(function, *arguments) != SUCCESS, (function.__name__, arguments)
    assert not v.vpopmail_auth_user("alice", "one.com", "wrong")
    assert v.vpopmail_alias_del("info", "one.com")
    assert v.vpopmail_alias_del_domain("one.com")
    assert v.vpopmail_del_user("alice", "one.com")
    assert v.vpopmail_del_domain("alias.com")
    assert v.vpopmail_del_domain("one.com")


def unpreloaded() -> dict[str, str]:
    """The environment without a sanitizer's library, for the compiler and plain programs."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def compile_c(source: str, program: Path, *flags: str) -> Path:
    program.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Werror", *flags]
    command += ["-xc", "-", "-o", str(program)]
    subprocess.run(command, input=source, text=True, check=True, env=unpreloaded())
    return program


# --- rows 1 to 4: what a call does to the process ------------------------------------------------


@contextmanager
def watching(look: Callable[[], object]) -> Iterator[set[object]]:
    """Another thread looks all the time; what it saw."""
    seen: set[object] = {look()}
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            seen.add(look())

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def of_threads(tell: Callable[[str], object]) -> Callable[[], object]:
    """Tells something of each thread of the process, save the one that a real library lives in."""

    def look() -> object:
        found = set()
        known = {thread.native_id for thread in threading.enumerate()}
        for number in os.listdir("/proc/self/task"):
            if REAL and int(number) not in known:
                continue
            try:
                found.add(tell(f"/proc/self/task/{number}"))
            except (FileNotFoundError, ProcessLookupError):  # the thread has ended
                continue
        return frozenset(found)

    return look


def umask_of(task: str) -> str:
    with open(f"{task}/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return line.split()[1]
    raise ProcessLookupError(f"{task} is about to end, and has no umask any more")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def undefined_functions() -> set[str]:
    """The functions that the compiled module takes from elsewhere."""
    module = _binding.__file__
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", module],
        capture_output=True,
        text=True,
        check=True,
        env=unpreloaded(),
    )
    return {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines()}


def test_row_01_working_directory_never_moves(
    home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with watching(of_threads(lambda task: os.readlink(f"{task}/cwd"))) as seen:
        for _ in range(3):
            exercise(home)
    assert seen == {frozenset({str(tmp_path / "here")})}
    assert REAL or not undefined_functions() & {"chdir", "fchdir", "chroot", "unshare"}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_row_02_umask_never_changes(home: Any, mask: int) -> None:
    with umask(mask), watching(of_threads(umask_of)) as seen:
        for _ in range(3):
            exercise(home)
    assert seen == {frozenset({f"{mask:04o}"})}
    assert REAL or "umask" not in undefined_functions()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_row_02_no_file_with_a_hash_is_wider_than_0600(home: Any, mask: int) -> None:
    directory = domain_path(home)

    def widest() -> object:
        mode = 0
        for name in ("vpasswd", "vpasswd.cdb", ".tmp:vpasswd", ".tmp:vpasswd.cdb"):
            try:
                mode |= os.lstat(directory / name).st_mode & 0o777
            except FileNotFoundError:
                continue
        return mode & 0o177

    with umask(mask), watching(widest) as seen:
        populate(home)
        for number in range(10):
            assert v.vpopmail_passwd("alice", DOMAIN, f"secret-{number}")
            assert v.vpopmail_set_user_quota("alice", DOMAIN, f"{number + 1}M")
        os.unlink(directory / "vpasswd.cdb")
        assert v.vpopmail_auth_user("bob", DOMAIN, "secret-2")
    assert seen == {0}
    hashed = [p for p in directory.rglob("*") if p.is_file() and FORM.hash.search(p.read_bytes())]
    assert {path.name for path in hashed} == {"vpasswd", "vpasswd.cdb"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in hashed} == {0o600}


def test_row_03_no_descriptor_leaks(home: Any) -> None:
    def descriptors() -> dict[str, str]:
        found = {}
        for path in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # that of the directory itself
                found[path.name] = os.readlink(path)
        # The queue by which copies for signing in are told of changes comes and goes with them.
        return {name: to for name, to in found.items() if to != "anon_inode:inotify"}

    populate(home)
    for _ in range(5):
        exercise(home)
    before = descriptors()
    for _ in range(200):
        assert said(v.vpopmail_del_user, "nobody", DOMAIN) == "User does not exist"
    for _ in range(5):
        exercise(home)
    assert descriptors() == before


def test_row_04_nothing_is_printed(home: Any, capfd: pytest.CaptureFixture[str]) -> None:
    exercise(home)
    assert capfd.readouterr() == ("", "")
    printing = {"printf", "puts", "fprintf", "fputs", "perror", "fwrite"}
    assert REAL or not undefined_functions() & printing


# --- rows 5 to 13: arguments ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc/up", "..", "up/", "sub/../../up"])
def test_row_05_a_user_name_stays_in_the_domain(home: Any, name: str) -> None:
    populate(home)
    before = snapshot(home.path)
    assert said(v.vpopmail_add_user, name, DOMAIN, "secret-3") == REFUSED
    assert snapshot(home.path) == before
    if "/" in name:
        assert said(v.vpopmail_alias_add, name, DOMAIN, "&x@y.com") == REFUSED
        assert said(v.vpopmail_alias_del, name, DOMAIN) == REFUSED
        assert v.vpopmail_alias_get(name, DOMAIN) == []
        assert snapshot(home.path) == before


def test_row_06_a_newline_makes_no_second_line(home: Any, tmp_path: Path) -> None:
    populate(home)
    with_newline = tmp_path / "new\nline"
    with_newline.mkdir()
    before = snapshot(home.path), snapshot(home.qmail)
    extra = "x\neve:hash:1:0:eve:/tmp:NOQUOTA"
    owner = home.uid, home.gid
    assert said(v.vpopmail_add_user, "carol", DOMAIN, "secret-3", extra) == "bad character"
    assert said(v.vpopmail_add_user, "carol", DOMAIN, "secret-3", "x\n") == "bad character"
    assert said(v.vpopmail_add_user, "ca\nrol", DOMAIN, "secret-3") == REFUSED
    assert said(v.vpopmail_add_domain, "d.com", str(with_newline), *owner) == "bad character"
    assert said(v.vpopmail_add_domain, "d\n.com", str(home.path), *owner) == "Invalid domain name"
    assert said(v.vpopmail_add_alias_domain, DOMAIN, "d\n.com") == "Invalid domain name"
    assert (snapshot(home.path), snapshot(home.qmail)) == before

    said(v.vpopmail_set_user_quota, "alice", DOMAIN, "5M\neve:h:1:0::")
    if v.info().clear_passwords:  # a field of the line, too
        before = snapshot(home.path)
        assert said(v.vpopmail_passwd, "alice", DOMAIN, "a\neve:h") == "bad character"
        assert said(v.vpopmail_add_user, "carol", DOMAIN, "a\neve:h") == "bad character"
        with pytest.warns(v.VpopmailWarning, match=r"^vpopmail_add_domain_ex error: 236$"):
            assert not v.vpopmail_add_domain_ex("d.com", "a\neve:h")
        assert snapshot(home.path) == before
    else:
        assert v.vpopmail_passwd("alice", DOMAIN, "a\neve:h")
        assert v.vpopmail_auth_user("alice", DOMAIN, "a\neve:h")
    assert (domain_path(home) / "vpasswd").read_bytes().count(b"\n") == 2
    assert v.vpopmail_alias_add("two", DOMAIN, "first\nsecond")
    assert v.vpopmail_alias_get("two", DOMAIN) == ["first", "second"]


@pytest.mark.skipif(not REAL, reason="the bundled library writes such a line")
def test_row_07_a_line_of_assign_too_long_for_a_real_library_is_refused(home: Any) -> None:
    populate(home)
    before = snapshot(home.path), snapshot(home.qmail)
    owner = str(home.path), home.uid, home.gid
    too_long = error_text("domain name too long (max=96)")
    assert said(v.vpopmail_add_domain, "a" * 92 + ".com", *owner) == too_long
    assert said(v.vpopmail_add_domain, "a" * 84 + ".com", *owner) == too_long
    assert (snapshot(home.path), snapshot(home.qmail)) == before
    longest = "a" * 83 + ".com"
    assert v.vpopmail_add_domain(longest, *owner)
    assert v.vpopmail_add_domain("short.com", *owner)
    assert v.vpopmail_add_alias_domain(longest, "al.com")
    lines = (home.qmail / "users/assign").read_text().splitlines()
    assert max(map(len, lines)) == 298
    for name in (longest, "short.com", "al.com"):
        assert v.vpopmail_add_user(f"u-{name[:2]}", name, "secret-1")
        assert v.vpopmail_auth_user(f"u-{name[:2]}", name, "secret-1")


@bundled_alone("it is refused")
def test_row_07_a_long_line_of_assign_is_whole(home: Any) -> None:
    names = ["a" * 92 + ".com", "b" * 92 + ".com", "short.com"]
    for name in names:
        assert len(name) <= 96
        assert v.vpopmail_add_domain(name, str(home.path), home.uid, home.gid)
    text = (home.qmail / "users/assign").read_bytes()
    expected = [
        f"+{name}-:{name}:{home.uid}:{home.gid}:{domain_path(home, name)}:-::" for name in names
    ]
    assert text.decode().splitlines() == [*expected, "."]
    assert len(expected[0]) > 299
    assert (home.qmail / "users/cdb").read_bytes() == cdb.of("assign", text)
    for name in names:
        assert v.vpopmail_add_user("alice", name, "secret-1")
        assert v.vpopmail_auth_user("alice", name, "secret-1")
        assert v.vpopmail_del_domain(name)


def test_row_08_an_alias_domain_is_good_for_logging_in(home: Any) -> None:
    path = populate(home)
    assert v.vpopmail_add_alias_domain(DOMAIN, "alias.org") is True
    assert v.vpopmail_error() == SUCCESS
    assert v.vpopmail_auth_user("alice", "alias.org", "secret-1")
    assert not (home.path / "domains/alias.org").is_symlink()
    line = f"+alias.org-:{DOMAIN}:{home.uid}:{home.gid}:{path}:-::"
    assert line in (home.qmail / "users/assign").read_text().splitlines()
    with pytest.warns(v.VpopmailWarning, match=r"^vpopmail error: Domain already exists$"):
        assert v.vpopmail_add_alias_domain(DOMAIN, "alias.org") is False
    with pytest.warns(v.VpopmailWarning, match=r"^vpopmail error: Domain does not exist$"):
        assert v.vpopmail_add_alias_domain("none.com", "other.org") is False


def test_row_09_an_empty_alias_hides_no_other(home: Any) -> None:
    path = populate(home)
    for name, text in {"a1": "&a@b.c\n", "m2": "", "z3": "&z@b.c\n"}.items():
        (path / f".qmail-{name}").write_text(text)
    assert v.vpopmail_alias_get_all(DOMAIN) == {"a1": ["&a@b.c"], "m2": [], "z3": ["&z@b.c"]}


def test_row_10_alias_del_domain_removes_what_is_listed(home: Any) -> None:
    path = populate(home)
    before = snapshot(path)
    (path / "list").write_text("|list\n")
    kept = [".qmail-list-owner", ".qmail-list-default", ".qmail-list-default-2"]
    for name in [*kept, ".qmail-list"]:
        (path / name).symlink_to("list")
    for name in ("info", "empty", "dot.ted"):
        assert v.vpopmail_alias_add(name, DOMAIN, "&alice@example.com")
    (path / ".qmail-empty").write_text("")
    assert set(v.vpopmail_alias_get_all(DOMAIN)) == {"info", "empty", "dot.ted", "list"}
    assert v.vpopmail_alias_del_domain(DOMAIN) is True
    assert v.vpopmail_alias_get_all(DOMAIN) == {}
    for name in [*kept, "list"]:
        (path / name).unlink()
    assert snapshot(path) == before


@pytest.mark.parametrize("length", [97, 300, 5_000, 100_000])
def test_row_11_long_arguments_write_past_nothing(home: Any, length: int) -> None:
    populate(home)
    ids, long = (home.uid, home.gid), "n" * length
    base = home.path
    while len(str(base)) < length + len(str(home.path)) < 2_000:
        base = base / ("d" * 100)
    base.mkdir(parents=True, exist_ok=True)
    before = snapshot(home.path), snapshot(home.qmail)
    domain_text = "domain name too long (max=96)"
    user_text = "user name too long (max=64)"
    for expected, function, *arguments in (
        (domain_text, v.vpopmail_add_domain, long, str(home.path), *ids),
        (domain_text, v.vpopmail_add_alias_domain, DOMAIN, long),
        ("Domain does not exist", v.vpopmail_add_alias_domain, long, "new.com"),
        (domain_text, v.vpopmail_del_domain, long),
        (user_text, v.vpopmail_add_user, long, DOMAIN, "secret-3"),
        (domain_text, v.vpopmail_add_user, "carol", long, "secret-3"),
        ("gecos too long (max=64)", v.vpopmail_add_user, "carol", DOMAIN, "secret-3", long),
        ("User does not exist", v.vpopmail_del_user, long, DOMAIN),
        ("Domain does not exist", v.vpopmail_del_user, "alice", long),
        (user_text, v.vpopmail_passwd, long, DOMAIN, "secret-3"),
        (domain_text, v.vpopmail_passwd, "alice", long, "secret-3"),
        (user_text, v.vpopmail_set_user_quota, long, DOMAIN, "1M"),
        (domain_text, v.vpopmail_set_user_quota, "alice", long, "1M"),
        ("quota too long (max=20)", v.vpopmail_set_user_quota, "alice", DOMAIN, "1" * length),
        (user_text, v.vpopmail_alias_add, long, DOMAIN, "&x@y.z"),
        (domain_text, v.vpopmail_alias_add, "info", long, "&x@y.z"),
        (user_text, v.vpopmail_alias_del, long, DOMAIN),
        (domain_text, v.vpopmail_alias_del, "info", long),
        (REFUSED, v.vpopmail_alias_del_domain, long),
    ):
        assert said(function, *arguments) == error_text(expected), (function.__name__, arguments)
    if len(str(base)) > 160:
        too_long = error_text("dir too long (max=160)")
        assert said(v.vpopmail_add_domain, "d.com", str(base), *ids) == too_long
    if length > 128:
        too_long = error_text("password too long (max=128)")
        assert said(v.vpopmail_passwd, "alice", DOMAIN, long) == too_long
        too_long = error_text("alias line too long (max=160)")
        assert said(v.vpopmail_alias_add, "info", DOMAIN, long) == too_long
    if length > 511:
        too_long = error_text("password too long (max=128)")
        assert said(v.vpopmail_add_user, "carol", DOMAIN, long) == too_long
    assert v.vpopmail_alias_get(long, DOMAIN) == v.vpopmail_alias_get("info", long) == []
    assert v.vpopmail_alias_get_all(long) == {}
    assert not v.vpopmail_auth_user(long, DOMAIN, "secret-1")
    assert not v.vpopmail_auth_user("alice", long, "secret-1")
    assert not v.vpopmail_auth_user("alice", DOMAIN, long)
    assert (snapshot(home.path), snapshot(home.qmail)) == before
    assert v.vpopmail_passwd("alice", DOMAIN, "secret-4")


def test_row_11_an_alias_domain_shorter_than_its_real_domain(home: Any) -> None:
    real = "r" * (82 if REAL else 92) + ".com"
    assert v.vpopmail_add_domain(real, str(home.path), home.uid, home.gid)
    assert v.vpopmail_add_alias_domain(real, "a.bc")
    assert v.vpopmail_add_user("alice", "a.bc", "secret-1")
    assert v.vpopmail_passwd("alice", "a.bc", "secret-2")
    assert v.vpopmail_set_user_quota("alice", "a.bc", "1M")
    assert v.vpopmail_alias_add("info", "a.bc", "&alice@a.bc")
    assert v.vpopmail_alias_get("info", real) == ["&alice@a.bc"]
    assert v.vpopmail_auth_user("alice", "a.bc", "secret-2")
    assert v.vpopmail_alias_del("info", "a.bc")
    assert v.vpopmail_del_user("alice", "a.bc")


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_row_12_a_nul_byte_is_a_value_error(home: Any, function: Callable[..., object]) -> None:
    populate(home)
    before = snapshot(home.path), snapshot(home.qmail)
    usual = {"uid": home.uid, "gid": home.gid, "dir": str(home.path), "domain": DOMAIN}
    parameters = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    for name in parameters:
        for value in ("x\0y", b"\0", "alice\0"):
            arguments = {other: usual.get(other, "alice") for other in parameters}
            with pytest.raises(ValueError, match="NUL"):
                function(**{**arguments, name: value})
    assert (snapshot(home.path), snapshot(home.qmail)) == before


def test_row_13_no_shell_and_no_option_from_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vpopmail_ext")
    program = tmp_path / "tool"
    program.write_text('#!/bin/sh\nfor each; do printf "<%s>" "$each"; done\necho\n')
    program.chmod(0o755)
    monkeypatch.setattr(exec_tools, "tool_path", lambda name: str(program))
    monkeypatch.chdir(tmp_path)
    hostile = "-f a b;touch shell $(id) `id` '\" & |"
    assert v.vpopmail_add_domain_ex(hostile, hostile, hostile, f"{hostile}@")
    assert v.vpopmail_del_domain_ex(hostile)
    assert v.vpopmail_add_alias_domain_ex(hostile, "-v")
    lines = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert lines == [
        f"<-q><{hostile}><-e><{hostile}@><--><{hostile}><{hostile}>",
        f"<--><{hostile}>",
        f"<--><{hostile}><-v>",
    ]
    assert not (tmp_path / "shell").exists()


# --- row 14: the signal --------------------------------------------------------------------------

QMAIL_SEND = r"""
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
static void note(int number) { (void)!write(1, number == SIGHUP ? "HUP\n" : "END\n", 4);
                               if (number == SIGTERM) _exit(0); }
int main(void) {
    signal(SIGHUP, note);
    signal(SIGTERM, note);
    prctl(PR_SET_NAME, "qmail-send");
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"""


@contextmanager
def running(program: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        argv, executable=program, stdout=subprocess.PIPE, text=True, env=unpreloaded()
    )
    assert process.stdout
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.terminate()


def test_row_14_only_qmail_send_gets_the_signal(home: Any, tmp_path: Path) -> None:
    program = compile_c(QMAIL_SEND, home.qmail / "bin/qmail-send")
    elsewhere = tmp_path / "elsewhere/qmail-send"
    elsewhere.parent.mkdir()
    shutil.copy(program, elsewhere)
    beside = program.with_name("qmail-send2")
    shutil.copy(program, beside)
    with (
        running(program, "/usr/bin/other-name") as real,
        running(elsewhere, "qmail-send") as same_name,
        running(beside, str(program), "qmail-send") as same_argument,
    ):
        assert real.stdout
        populate(home)
        assert real.stdout.readline() == "HUP\n"
        program.unlink()  # as an upgrade does
        shutil.copy(beside, program)
        assert v.vpopmail_del_domain(DOMAIN)
        assert real.stdout.readline() == "HUP\n"
        said(v.vpopmail_del_domain, DOMAIN)
        for process, expected in ((real, "END\n"), (same_name, "END\n"), (same_argument, "END\n")):
            process.terminate()
            assert process.stdout
            assert process.stdout.read() == expected


# --- rows 15 and 16 ------------------------------------------------------------------------------


def test_row_15_calls_from_threads_do_not_mix(home: Any) -> None:
    populate(home)
    wrong: list[str] = []

    def work(number: int) -> None:
        for each in range(5):
            user, password = f"user-{number}-{each}", f"secret-{number}-{each}"
            if not v.vpopmail_add_user(user, DOMAIN, password):
                wrong.append(f"{user} was not added")
            if not v.vpopmail_auth_user(user, DOMAIN, password):
                wrong.append(f"{user} can't sign in")
            if v.vpopmail_auth_user(user, DOMAIN, "secret-1"):
                wrong.append(f"{user} has another's password")
            v.vpopmail_alias_add("shared", DOMAIN, f"&{user}@{DOMAIN}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    names = {f"user-{number}-{each}" for number in range(4) for each in range(5)}
    lines = (domain_path(home) / "vpasswd").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted({*names, "alice", "bob"})
    shared = v.vpopmail_alias_get("shared", DOMAIN)
    assert sorted(shared) == sorted(f"&{name}@{DOMAIN}" for name in names)


def test_row_16_a_malformed_record_leaves_the_rest_working(home: Any) -> None:
    path = populate(home)
    text = (path / "vpasswd").read_bytes()
    malformed = b"aaron\naaron2:x\nadam:$6$a:1\nalan:h:x:y:g:/d:NOQUOTA\n\n:::\n" + b"a" * 9000
    (path / "vpasswd").write_bytes(malformed + b"\n" + text)
    (path / "vpasswd.cdb").unlink()
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    for name in ("aaron", "aaron2", "adam", "alan"):
        assert not v.vpopmail_auth_user(name, DOMAIN, "x")
        assert said(v.vpopmail_passwd, name, DOMAIN, "x") == REFUSED
        assert said(v.vpopmail_set_user_quota, name, DOMAIN, "1M") == "User does not exist"
        assert said(v.vpopmail_del_user, name, DOMAIN) == "User does not exist"
        assert said(v.vpopmail_add_user, name, DOMAIN, "x") != SUCCESS
        assert not (path / name).exists()
    assert v.vpopmail_add_user("carol", DOMAIN, "secret-3")
    assert v.vpopmail_del_user("bob", DOMAIN)
    now = (path / "vpasswd").read_bytes()
    assert now.startswith(malformed + b"\n")
    assert [line.partition(b":")[0] for line in now.splitlines()[-2:]] == [b"alice", b"carol"]


# --- row 17: crashes -----------------------------------------------------------------------------

WATCH = r"""
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int told = -1;     /* where events go */
static long left = -1;    /* how many there are before the process ends; below 0: it goes on */
static const char *root;  /* the directory whose files count */

void watch(int fd, long events, const char *directory) {
    told = fd, left = events, root = directory;
}

static void path_of(int at, const char *name, char *out) {
    char link[64], base[PATH_MAX] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t n = name && name[0] == '/' ? 0 : readlink(link, base, sizeof base - 1);
    if (n < 0) n = 0;
    base[n] = 0;
    snprintf(out, 2 * PATH_MAX, "%s%s%s", base, name && n ? "/" : "", name ? name : "");
}

/* 1: the process is to end here. */
static int event(const char *what, int at, const char *name, const char *more) {
    char path[2 * PATH_MAX], second[2 * PATH_MAX] = "";
    if (!root) return 0;
    path_of(at, name, path);
    if (strncmp(path, root, strlen(root))) return 0;
    if (more) path_of(at, more, second);
    if (told >= 0) dprintf(told, "%s\t%s\t%s\n", what, path, second);
    return left >= 0 && left-- == 0;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define END _exit(99)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (event("write", fd, NULL, NULL)) { (void)!real(fd, data, size / 2); END; }
    return real(fd, data, size);
}
int fsync(int fd) { REAL(fsync); if (event("fsync", fd, NULL, NULL)) END; return real(fd); }
int fchmod(int fd, mode_t mode) {
    REAL(fchmod); if (event("fchmod", fd, NULL, NULL)) END; return real(fd, mode);
}
int mkdirat(int at, const char *name, mode_t mode) {
    REAL(mkdirat); if (event("mkdir", at, name, NULL)) END; return real(at, name, mode);
}
int unlinkat(int at, const char *name, int flags) {
    REAL(unlinkat); if (event("unlink", at, name, NULL)) END; return real(at, name, flags);
}
int renameat(int from, const char *old, int to, const char *name) {
    REAL(renameat); if (event("rename", from, old, name)) END; return real(from, old, to, name);
}
int openat(int at, const char *name, int flags, ...) {
    REAL(openat);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT && event("create", at, name, NULL)) END;
    return real(at, name, flags, mode);
}
"""


@pytest.fixture(scope="module")
def watch_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(
        WATCH, tmp_path_factory.mktemp("watch") / "watch.so", "-fPIC", "-shared", "-ldl"
    )


@dataclass(frozen=True)
class Place:
    """An installation for the program."""

    path: Path
    qmail: Path


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as top:
        made = Place(Path(top) / "vpopmail", Path(top) / "qmail")
        for directory in (made.path / "domains", made.qmail / "control", made.qmail / "users"):
            directory.mkdir(parents=True)
        yield made


def run_watched(home: Place, library: Path, what: str) -> Any:
    """Run this file as a program with the library preloaded; what it prints."""
    preload = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))
    path = os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, __file__, what, str(library), str(home.path), str(home.qmail)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_PRELOAD": preload, "PYTHONPATH": path},
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_row_17_what_is_renamed_was_synced(place: Place, watch_library: Path) -> None:
    calls: dict[str, list[list[str]]] = run_watched(place, watch_library, "trace")
    renamed = set()
    for call, events in calls.items():
        for number, (what, old, new) in enumerate(events):
            if what != "rename":
                continue
            renamed.add(os.path.basename(new))
            if os.path.basename(new).startswith(".tmp::"):  # what goes is set aside
                continue
            before = [event[0] for event in events[:number] if event[1] == old]
            assert before[-1] == "fsync", f"{call}: {new} was not synced before it was put in place"
            after = [event[1] for event in events[number:] if event[0] == "fsync"]
            assert os.path.dirname(new) in after, f"{call}: the directory of {new} was not synced"
    in_domain = {"vpasswd", "vpasswd.cdb", ".qmail-info", ".dir-control", "maildirsize"}
    in_qmail = {"assign", "cdb", "rcpthosts", "virtualdomains", "locals"}
    trees = {"alice", ".tmp::alice", "a.com", ".tmp::a.com"}
    assert renamed == in_domain | in_qmail | trees | {".tmp:ready"}


def test_row_17_files_are_written_nowhere_but_beside(place: Place, watch_library: Path) -> None:
    calls: dict[str, list[list[str]]] = run_watched(place, watch_library, "trace")
    written = {event[1] for events in calls.values() for event in events if event[0] == "write"}
    assert written
    assert [path for path in written if "/.tmp:" not in path and "/.new:" not in path] == []


def test_row_17_after_any_crash_each_file_is_whole(place: Place, watch_library: Path) -> None:
    told = run_watched(place, watch_library, "crash")
    assert told["wrong"] == []
    # Each of them was cut off everywhere, and those that change something have several places.
    assert len(told["places"]) == len(scenario(place.path))
    assert all(places >= 1 for places in told["places"].values())
    assert told["places"]["add_user"] > 20


def scenario(home: Path) -> list[tuple[str, Callable[[], bool]]]:
    ids = os.getuid(), os.getgid()
    return [
        ("add_domain", lambda: v.vpopmail_add_domain("a.com", str(home), *ids)),
        ("add_alias_domain", lambda: v.vpopmail_add_alias_domain("a.com", "b.com")),
        ("add_user", lambda: v.vpopmail_add_user("alice", "a.com", "secret-1")),
        ("passwd", lambda: v.vpopmail_passwd("alice", "a.com", "secret-2")),
        ("set_user_quota", lambda: v.vpopmail_set_user_quota("alice", "a.com", "5M")),
        ("alias_add", lambda: v.vpopmail_alias_add("info", "a.com", "&alice@a.com")),
        ("alias_add again", lambda: v.vpopmail_alias_add("info", "a.com", "&bob@a.com")),
        ("alias_del", lambda: v.vpopmail_alias_del("info", "a.com")),
        ("del_user", lambda: v.vpopmail_del_user("alice", "a.com")),
        ("del_domain", lambda: v.vpopmail_del_domain("a.com")),
    ]


class Watched:
    """The calls of the scenario, made where the preloaded library sees them."""

    def __init__(self, library: str, home: str, qmail: str) -> None:
        v.configure(home=home, qmail=qmail)
        self.home, self.top = Path(home), Path(home).parent
        self.roots = [Path(home), Path(qmail)]
        self._root = os.fsencode(self.top)
        self._watch = ctypes.CDLL(library).watch
        self._watch.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_char_p]

    def trace(self) -> dict[str, list[list[str]]]:
        found = {}
        for name, call in scenario(self.home):
            reading, writing = os.pipe()
            self._watch(writing, -1, self._root)
            assert call(), name
            self._watch(-1, -1, None)
            os.close(writing)
            with os.fdopen(reading) as events:
                found[name] = [line.rstrip("\n").split("\t") for line in events]
        return found

    def crash(self) -> dict[str, object]:
        wrong: list[str] = []
        places: dict[str, int] = {}
        for name, call in scenario(self.home):
            before = self._files()
            crashed: list[dict[str, bytes]] = []
            self._save()
            while not self._survives(call, len(crashed)):
                crashed.append(self._files())
                if not self._survives(self._another, -1):
                    wrong.append(f"{name}, place {len(crashed)}: the next call fails")
                self._restore()
            after = self._files()
            places[name] = len(crashed)
            for number, files in enumerate(crashed):
                wrong += [
                    f"{name}, place {number}: {each}" for each in damaged(before, files, after)
                ]
        return {"wrong": wrong, "places": places}

    def _survives(self, call: Callable[[], bool], events: int) -> bool:
        child = os.fork()
        if child == 0:
            self._watch(-1, events, self._root)
            os._exit(0 if call() else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 1, 99), status
        assert events < 0 or status != 1
        return status == 0

    def _another(self) -> bool:
        ids = os.getuid(), os.getgid()
        return v.vpopmail_add_domain("next.com", str(self.home), *ids) and v.vpopmail_add_user(
            "next", "next.com", "secret-9"
        )

    def _files(self) -> dict[str, bytes]:
        return {
            # A hash is never the same twice.
            str(path): re.sub(rb"\$6\$[^:\0]{8}\$[^:\0]{86}", b"HASH", path.read_bytes())
            for root in self.roots
            for path in root.rglob("*")
            if path.is_file() and not path.name.endswith(".lock")
        }

    def _save(self) -> None:
        shutil.rmtree(self.top / "saved", ignore_errors=True)
        for root in self.roots:
            shutil.copytree(root, self.top / "saved" / root.name, symlinks=True)

    def _restore(self) -> None:
        for root in self.roots:
            shutil.rmtree(root)
            shutil.copytree(self.top / "saved" / root.name, root, symlinks=True)


def damaged(
    before: dict[str, bytes], now: dict[str, bytes], after: dict[str, bytes]
) -> Iterator[str]:
    """The files that are neither as they were nor as they were to become."""
    for path, content in now.items():
        beside = "/.tmp:" in path or "/.new:" in path
        if not beside and content not in (before.get(path), after.get(path)):
            yield f"{path} is neither old nor new"
    for path in before.keys() & after.keys():
        if path not in now:
            yield f"{path} is gone"


# --- row 18: large domains -----------------------------------------------------------------------


def fill(home: Any, domain: str, users: int) -> Path:
    """A domain with so many users, written without the library."""
    assert v.vpopmail_add_domain(domain, str(home.path), home.uid, home.gid)
    path = domain_path(home, domain)
    lines = [
        f"user{number:06}:$6$saltsalt${'h' * 86}:1:0:user:{path}/user{number:06}:NOQUOTA\n"
        for number in range(users)
    ]
    text = "".join(lines).encode()
    for name, data in (("vpasswd", text), ("vpasswd.cdb", cdb.of("vpasswd", text))):
        (path / name).write_bytes(data)
        (path / name).chmod(0o600)
    return path


def work_of(call: Callable[[], bool]) -> tuple[int, int]:
    """The bytes and the system calls that reading and writing takes."""

    def counters() -> dict[str, int]:
        lines = Path("/proc/self/io").read_text().splitlines()
        return {name: int(value) for name, value in (line.split(": ") for line in lines)}

    before = counters()
    assert call()
    after = counters()
    grown = {name: after[name] - before[name] for name in after}
    return grown["rchar"] + grown["wchar"], grown["syscr"] + grown["syscw"]


@pytest.mark.parametrize("what", ["add_user", "passwd", "del_user"])
def test_row_18_work_is_linear_in_the_users(home: Any, what: str) -> None:
    found = {}
    for users in (500, 2_000):
        domain = f"with{users}.com"
        path = fill(home, domain, users)
        calls: dict[str, Callable[[], bool]] = {
            "add_user": lambda d=domain: v.vpopmail_add_user("user000250x", d, "secret-1"),  # type: ignore[misc]
            "passwd": lambda d=domain: v.vpopmail_passwd("user000250", d, "secret-1"),  # type: ignore[misc]
            "del_user": lambda d=domain: v.vpopmail_del_user("user000250", d),  # type: ignore[misc]
        }
        (path / "user000250/Maildir").mkdir(parents=True)
        if what == "add_user":
            assert v.vpopmail_add_user("warm-up", domain, "secret-1")
        size = sum((path / name).stat().st_size for name in ("vpasswd", "vpasswd.cdb"))
        found[users] = work_of(calls[what])
        # The old files are read and the new ones are written, each once.
        assert found[users][0] < 2 * size + 50_000
    assert found[2_000][0] < 4.2 * found[500][0]
    assert found[2_000][1] < 4.2 * found[500][1]


# --- rows 19 and 20 ------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_row_19_a_wrong_number_of_arguments_is_a_type_error(
    home: Any, function: Callable[..., object]
) -> None:
    populate(home)
    before = snapshot(home.path), snapshot(home.qmail)
    parameters = inspect.signature(function).parameters.values()
    needed = sum(parameter.default is parameter.empty for parameter in parameters)
    for count in (0, needed - 1, len(parameters) + 1):
        with pytest.raises(TypeError):
            function(*["x"] * count)
    with pytest.raises(TypeError):
        v.vpopmail_error("x")  # type: ignore[call-arg]
    assert (snapshot(home.path), snapshot(home.qmail)) == before


@pytest.mark.parametrize("with_etc", [True, False])
def test_row_20_without_a_limits_file_there_are_no_limits(home: Any, with_etc: bool) -> None:
    shutil.rmtree(home.path / "etc", ignore_errors=True)
    if with_etc:
        (home.path / "etc").mkdir()
    path = populate(home)
    assert (path / "vpasswd").read_text().endswith(f"{path}/bob:NOQUOTA\n")
    assert v.vpopmail_passwd("alice", DOMAIN, "secret-3")


# --- row 21: symbolic links ----------------------------------------------------------------------

Call = Callable[[], object]
ADD: Call = lambda: v.vpopmail_add_user("carol", DOMAIN, "secret-3")  # noqa: E731
DELETE: Call = lambda: v.vpopmail_del_user("alice", DOMAIN)  # noqa: E731
PASSWD: Call = lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-3")  # noqa: E731
QUOTA: Call = lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "5M")  # noqa: E731
NO_QUOTA: Call = lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "NOQUOTA")  # noqa: E731
ALIAS_ADD: Call = lambda: v.vpopmail_alias_add("x", DOMAIN, "&a@b.c")  # noqa: E731
DEFAULT_ADD: Call = lambda: v.vpopmail_alias_add("default", DOMAIN, "&a@b.c")  # noqa: E731
ALIAS_DEL: Call = lambda: v.vpopmail_alias_del("x", DOMAIN)  # noqa: E731
ALIAS_DEL_ALL: Call = lambda: v.vpopmail_alias_del_domain(DOMAIN)  # noqa: E731
DELETE_DOMAIN: Call = lambda: v.vpopmail_del_domain(DOMAIN)  # noqa: E731

CHANGES = {"add": ADD, "delete": DELETE, "passwd": PASSWD, "quota": QUOTA}
ANY = "any"
"""Where the link itself is replaced or removed, or is not reached, both is right."""

# The link, what it points at in the directory outside, the calls and what each is to say.
LINKS: dict[str, tuple[str, str, Sequence[tuple[Call, str]]]] = {
    "an alias": (".qmail-x", "victim", [(ALIAS_ADD, REFUSED)]),
    "an alias to be": (".qmail-x", "missing", [(ALIAS_ADD, REFUSED)]),
    "an alias, deleted": (".qmail-x", "victim", [(ALIAS_DEL, SUCCESS)]),
    "aliases, deleted": (".qmail-x", "victim", [(ALIAS_DEL_ALL, SUCCESS)]),
    "the default": (".qmail-default", "victim", [(DEFAULT_ADD, REFUSED), (DELETE, ANY)]),
    "vpasswd": ("vpasswd", "tree/vpasswd", [(call, REFUSED) for call in CHANGES.values()]),
    "vpasswd.cdb": (
        "vpasswd.cdb",
        "tree/vpasswd.cdb",
        [(call, REFUSED) for call in CHANGES.values()],
    ),
    "the count": (".dir-control", "victim", [(ADD, REFUSED), (DELETE, REFUSED)]),
    "the count to be": (".dir-control", "missing", [(ADD, REFUSED), (DELETE, REFUSED)]),
    "freed places": (".dir_control_free", "victim", [(ADD, REFUSED)]),
    "the lock": (".vpasswd.lock", "victim", [(call, REFUSED) for call in CHANGES.values()]),
    "a lock to be": (".vpasswd.lock", "missing", [(call, REFUSED) for call in CHANGES.values()]),
    "limits": (".qmailadmin-limits", "victim", [(ADD, REFUSED), (PASSWD, REFUSED)]),
    "a user": ("alice", "tree", [(QUOTA, REFUSED), (NO_QUOTA, REFUSED), (DELETE, REFUSED)]),
    "a user to be": ("carol", "tree", [(ADD, "User's directory already exists")]),
    "a maildir": ("alice/Maildir", "tree", [(QUOTA, REFUSED), (NO_QUOTA, REFUSED), (DELETE, ANY)]),
    "a folder": ("alice/Maildir/cur", "tree", [(QUOTA, ANY), (DELETE, ANY)]),
    "maildirsize": ("alice/Maildir/maildirsize", "victim", [(QUOTA, ANY), (NO_QUOTA, ANY)]),
    "lastauth": ("alice/lastauth", "victim", [(QUOTA, ANY), (DELETE, ANY)]),
    "a work file": (".tmp:vpasswd", "victim", [(PASSWD, ANY), (ADD, ANY)]),
    "a hashed directory": ("0", "tree", [(ADD, REFUSED)]),
    "a file of no use": ("other", "tree", [(DELETE_DOMAIN, SUCCESS)]),
}


@pytest.fixture
def owner(home: Any) -> int:
    """The uid of the domain: somebody's where files can be given away, else our own."""
    return SOMEBODY if can_give_away(home.path) else home.uid


def can_give_away(directory: Path) -> bool:
    probe = directory / "probe"
    probe.touch()
    try:
        os.chown(probe, SOMEBODY, SOMEBODY)
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


@pytest.fixture
def outside(home: Any) -> Iterator[Path]:
    """Files of ours, not the domain's, on the same file system."""
    top = home.path.parent / "outside"
    for part in ("cur", "new", "tmp", "Maildir/cur", "alice/Maildir/cur", DOMAIN):
        (top / "tree" / part).mkdir(parents=True)
    for name in ("victim", "tree/vpasswd", "tree/.qmail-default", "tree/cur/mail", "tree/secret"):
        (top / name).write_text("root:x:0:0::/root:/bin/sh\n")
    (top / "tree/vpasswd.cdb").write_bytes(cdb.of("vpasswd", b"alice:x:1:0:a:/d:NOQUOTA\n"))
    for path in top.rglob("*"):
        path.chmod(0o750 if path.is_dir() else 0o640)
    yield top
    shutil.rmtree(top)


def replace_by_link(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def accounts(path: Path) -> Snapshot:
    """What a domain holds besides locks and counts."""
    return {name: each for name, each in snapshot(path).items() if not name.startswith(".")}


def near_a_hundred(path: Path) -> None:
    """The next user goes into the hashed directory 0."""
    control = path / ".dir-control"
    control.write_text("99\n" + control.read_text().partition("\n")[2])


@pytest.mark.parametrize("case", LINKS)
def test_row_21_no_link_is_followed(home: Any, owner: int, outside: Path, case: str) -> None:
    link, target, calls = LINKS[case]
    path = populate(home, owner)
    if link == "0":
        near_a_hundred(path)
    replace_by_link(path / link, outside / target)
    before, wrong = snapshot(outside), []
    for call, expected in calls:
        inside = accounts(path)
        text = said(call)
        assert snapshot(outside) == before
        if expected not in (text, ANY):
            wrong.append(f"{link}: {text}, not {expected}")
        if expected == REFUSED and accounts(path) != inside:
            wrong.append(f"{link}: {text}, but something has changed")
    assert wrong == []


def test_row_21_a_user_in_a_linked_hashed_directory(home: Any, owner: int, outside: Path) -> None:
    path = populate(home, owner)
    near_a_hundred(path)
    assert v.vpopmail_add_user("hashed", DOMAIN, "secret-3")
    (outside / "tree/hashed").mkdir(mode=0o750)
    replace_by_link(path / "0", outside / "tree")
    before = snapshot(outside), snapshot(home.path)
    assert said(v.vpopmail_del_user, "hashed", DOMAIN) == REFUSED
    assert said(v.vpopmail_set_user_quota, "hashed", DOMAIN, "1M") == REFUSED
    assert (snapshot(outside), snapshot(home.path)) == before


def test_row_21_freed_places_lead_nowhere(home: Any, owner: int, outside: Path) -> None:
    path = populate(home, owner)
    (path / ".dir_control_free").write_text(f"../../../{outside.name}/tree\n/tmp\n0/../..\n")
    before = snapshot(outside)
    for name in ("u1", "u2", "u3"):
        assert v.vpopmail_add_user(name, DOMAIN, "secret-3")
        assert (path / name / "Maildir").is_dir()
    assert snapshot(outside) == before


def test_row_21_aliases_tell_nothing_of_others(home: Any, owner: int, outside: Path) -> None:
    if owner != SOMEBODY:
        pytest.skip("only root can have files that the domain's owner may not read")
    path = populate(home, owner)
    (path / ".qmail-x").symlink_to(outside / "victim")
    assert v.vpopmail_alias_get("x", DOMAIN) == []
    assert v.vpopmail_alias_get_all(DOMAIN) in ({}, {"x": []})


def swap(path: Path, target: Path, uid: int) -> None:
    """What the domain's owner can do to the directory."""
    path.rename(path.with_name("moved"))
    path.symlink_to(target)
    os.chown(path, uid, uid, follow_symlinks=False)


EVERY_CHANGE = [*CHANGES.values(), ALIAS_ADD, ALIAS_DEL, ALIAS_DEL_ALL, DEFAULT_ADD]


def test_row_21_a_domain_swapped_for_a_link(home: Any, owner: int, outside: Path) -> None:
    path = populate(home, owner)
    swap(path, outside / "tree", owner)
    before = snapshot(outside)
    if owner == SOMEBODY:
        # Where all is ours, what the link leads to is not somebody else's.
        assert not v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
        assert [said(call) for call in EVERY_CHANGE] == [REFUSED] * len(EVERY_CHANGE)
        assert snapshot(outside) == before
    assert said(DELETE_DOMAIN) == SUCCESS
    assert snapshot(outside) == before
    assert not path.is_symlink()


@pytest.mark.skipif(not REAL or FORM is FORM_5_6, reason="it reads all lines of vpasswd whole")
def test_row_11_a_line_that_the_library_does_not_read_whole(home: Any, owner: int) -> None:
    path = populate(home, owner)
    name, gecos = "u" * 32, "g" * 48
    assert said(v.vpopmail_add_user, name, DOMAIN, "p" * 128, gecos) == "password too long"
    assert not (path / name).exists()
    assert v.vpopmail_add_user(name, DOMAIN, "secret-1", gecos)
    assert said(v.vpopmail_passwd, name, DOMAIN, "p" * 128) == "password too long"
    assert v.vpopmail_passwd(name, DOMAIN, "secret-2")
    assert v.vpopmail_auth_user(name, DOMAIN, "secret-2")
    lines = (path / "vpasswd").read_bytes()
    (path / "vpasswd").write_bytes(lines.replace(b"NOQUOTA:secret-2", b"NOQUOTA:" + b"p" * 80))
    for call in (
        lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-1"),
        lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "1M"),
        lambda: v.vpopmail_del_user("alice", DOMAIN),
    ):
        assert said(call) == "Could not update file"
    (path / "vpasswd").write_bytes(lines)
    assert v.vpopmail_passwd("alice", DOMAIN, "secret-1")


@pytest.mark.parametrize("what", ["changes", "deletion"])
def test_row_21_the_directory_above_swapped_for_a_link(
    home: Any, owner: int, outside: Path, what: str
) -> None:
    if owner != SOMEBODY:
        pytest.skip("only root can act for several owners")
    base = home.path / "somebody"
    base.mkdir()
    os.chown(base, owner, owner)
    assert v.vpopmail_add_domain(DOMAIN, str(base), owner, owner)
    assert v.vpopmail_add_user("alice", DOMAIN, "secret-1")
    shutil.copy(base / "domains" / DOMAIN / "vpasswd.cdb", outside / "tree" / DOMAIN)
    swap(base / "domains", outside / "tree", owner)
    before = snapshot(outside)
    calls = EVERY_CHANGE if what == "changes" else [DELETE_DOMAIN]
    texts = [said(call) for call in calls]
    assert snapshot(outside) == before
    assert texts == [REFUSED] * len(calls)


@pytest.mark.parametrize("target", ["tree", "victim", "missing"])
def test_row_21_a_domain_to_be_is_a_link(home: Any, owner: int, outside: Path, target: str) -> None:
    domain_path(home).symlink_to(outside / target)
    before = snapshot(outside)
    added = said(v.vpopmail_add_domain, DOMAIN, str(home.path), owner, owner)
    assert snapshot(outside) == before
    assert added == REFUSED
    assert said(DELETE_DOMAIN) == "Domain does not exist"


def test_row_21_a_domain_over_a_directory_with_links(
    home: Any, owner: int, outside: Path, tmp_path: Path
) -> None:
    path = domain_path(home)
    (path / "inner").mkdir(parents=True)
    (path / "plain").touch()
    for name, target in (("file", "victim"), ("dir", "tree"), (".qmail-default", "victim")):
        (path / name).symlink_to(outside / target)
        (path / "inner" / name).symlink_to(outside / target)
    os.link(outside / "victim", path / "hard")
    before = snapshot(outside)
    if REAL:
        assert said(v.vpopmail_add_domain, DOMAIN, str(home.path), owner, owner) == REFUSED
        assert snapshot(outside) == before
        assert not (home.qmail / "users/assign").exists()
        for link in [each for each in path.rglob("*") if each.is_symlink()]:
            link.unlink()
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), owner, owner)
    assert snapshot(outside) == before
    owners = {name: (path / name).lstat().st_uid for name in ("plain", "inner", "hard")}
    assert owners == {"plain": owner, "inner": owner, "hard": os.getuid()}
    assert v.vpopmail_del_domain(DOMAIN)
    assert snapshot(outside) == before


def test_row_21_the_count_of_domains_is_a_link(home: Any, outside: Path) -> None:
    populate(home)
    replace_by_link(home.path / "domains/.dir-control", outside / "victim")
    before = snapshot(outside)
    assert said(v.vpopmail_add_domain, "d.com", str(home.path), home.uid, home.gid) == REFUSED
    said(DELETE_DOMAIN)
    assert snapshot(outside) == before


def test_row_21_trees_are_removed_without_what_they_link_to(
    home: Any, owner: int, outside: Path
) -> None:
    path = populate(home, owner)
    for user in ("alice", "bob"):
        (path / user / "Maildir/cur/tree").symlink_to(outside / "tree")
        (path / user / "Maildir/victim").symlink_to(outside / "victim")
        os.link(outside / "victim", path / user / "hard")
    os.link(outside / "victim", path / ".qmailadmin-limits")
    before = snapshot(outside)
    if REAL:
        assert said(DELETE) == REFUSED
        (path / ".qmailadmin-limits").unlink()
    assert said(DELETE) == SUCCESS
    said(v.vpopmail_passwd, "bob", DOMAIN, "secret-3")
    assert said(DELETE_DOMAIN) == SUCCESS
    assert snapshot(outside) == before
    assert not path.exists()


# --- row 22: the control files' mode -------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_row_22_control_files_are_always_0644(home: Any, mask: int) -> None:
    directory = home.qmail / "control"

    def modes() -> set[int]:
        names = ("rcpthosts", "morercpthosts", "morercpthosts.cdb", "virtualdomains", "locals")
        files = [directory / name for name in names] + [home.qmail / "users/assign"]
        files.append(home.qmail / "users/cdb")
        return {stat.S_IMODE(path.stat().st_mode) for path in files if path.exists()}

    def reset() -> None:
        for name in ("rcpthosts", "virtualdomains", "locals"):
            (directory / name).unlink(missing_ok=True)

    with umask(mask):
        populate(home)
        assert modes() == {0o644}
        for number in range(2):
            assert v.vpopmail_add_alias_domain(DOMAIN, f"alias{number}.com")
            assert modes() == {0o644}
        assert v.vpopmail_del_domain("alias1.com")  # one line goes
        assert modes() == {0o644}
        assert v.vpopmail_del_domain(DOMAIN)  # two lines go
        assert modes() == {0o644}
        populate(home)
        reset()
        assert v.vpopmail_del_domain(DOMAIN)  # none goes
        assert modes() == {0o644}
        (directory / "rcpthosts").write_text("".join(f"h{n}.org\n" for n in range(50)))
        (directory / "rcpthosts").chmod(0o600)
        populate(home)
        for number in range(3):
            assert v.vpopmail_add_alias_domain(DOMAIN, f"alias{number}.com")
        assert (directory / "morercpthosts.cdb").exists()
        (directory / "rcpthosts").chmod(0o644)
        assert modes() == {0o644}
        assert v.vpopmail_del_domain(DOMAIN)
        assert modes() == {0o644}


def test_the_codes_have_their_texts() -> None:
    """What these tests go by."""
    texts = {code: copy_out(lib.vpx_error, code)[1].decode() for code in (0, -1)}
    assert texts == {0: SUCCESS, -1: REFUSED}


if __name__ == "__main__":
    made = Watched(*sys.argv[2:])
    print(json.dumps(made.trace() if sys.argv[1] == "trace" else made.crash()))
