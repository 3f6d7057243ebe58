"""Passwords and hashes stay where they belong: not in what is said, logged, raised, shown or left
in memory, nor in the list of processes; and what holds them is the domain owner's alone, whatever
the umask.

Python keeps its own copies of the strings that it was given for as long as it likes; what is told
here of memory is about the library's.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests.conftest import open_to_all
from tests.installation import build_library
from vpopmail_ext import aio, api, checkpassword, cli
from vpopmail_ext.errors import Code, StorageFailed, VpopmailError

TOP = Path(__file__).parents[2]
DOMAIN = "example.com"
PASSWORD = "Xq7-unique-Zw9"

# --- what is left in memory ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that builds a program with the library, and without sanitizers."""
    if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        pytest.skip("sanitizers keep what is freed as it was, and count as instructions")
    prefix = tmp_path_factory.mktemp("library")
    build_library(prefix)

    def build(name: str) -> Path:
        command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
        command += ["-Wl,-z,now", "-iquote", TOP / "csrc/libvpopmail", f"-I{prefix}/include"]
        command += ["-o", prefix / name, TOP / f"tests/robustness/{name}.c"]
        command += [f"-L{prefix}/lib", "-lvpopmail", "-lcrypt", "-lpthread"]
        subprocess.run(command, check=True)
        return prefix / name

    return build


def test_nothing_is_left_in_memory(build: Callable[[str], Path], tmp_path: Path) -> None:
    """secrets.c looks through all of its process's memory once its calls have ended."""
    home, qmail = tmp_path / "home", tmp_path / "qmail"
    for directory in (home / "domains", home / "etc", qmail / "users", qmail / "control"):
        directory.mkdir(parents=True)
    ran = subprocess.run(
        [build("secrets"), home, qmail], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    # It found what it had put there itself, at last.
    assert ran.stderr.startswith("probe: is at ")


# --- comparing -----------------------------------------------------------------------------------


def test_hashes_are_compared_in_constant_time(build: Callable[[str], Path]) -> None:
    """Where they differ makes no difference in the instructions that are run."""
    program = build("constant_time")
    text = "$6$saltsalt$" + "a" * 86

    def instructions(other: str) -> int:
        ran = subprocess.run(
            ["valgrind", "--tool=lackey", "--basic-counts=yes", program, text, other],
            capture_output=True,
            text=True,
            check=True,
            env={"LC_ALL": "C"},
        )
        (count,) = re.findall(r"guest instrs: +([\d,]+)", ran.stderr)
        return int(count.replace(",", ""))

    equal = instructions(text)
    for other in ("b" + text[1:], text[:-1] + "b", text[:50] + "b" + text[51:], "b" * len(text)):
        # A single instruction more each time would be 20,000.
        assert abs(instructions(other) - equal) < 2000
    assert instructions(text[:-1]) < equal  # as their lengths, which are no secret, are compared


# --- what is said --------------------------------------------------------------------------------

BAD: list[Any] = [PASSWORD, PASSWORD.encode(), f"{PASSWORD}\0", f"{PASSWORD}\ud800", [PASSWORD]]
BAD += [PASSWORD * 100, {PASSWORD}, type("Odd", (), {"__repr__": lambda self: PASSWORD})()]


def as_bytes(password: Any) -> bytes:
    """Return what a file or a descriptor can give of a password."""
    if isinstance(password, bytes):
        return password
    text = password if isinstance(password, str) else repr(password)
    return text.encode("utf-8", "surrogatepass")


def run_cli(password: Any, *arguments: str) -> int:
    """Run a command that reads the password from a descriptor."""
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        pipe.write(as_bytes(password))
    with open(reading, "rb"):
        return cli.main([*arguments, "--password-fd", str(reading)])


def run_import(password: Any, home: Any) -> list[int]:
    """Import someone new and someone who is there, by the password and by it as a hash."""
    path = home.path / "users.csv"
    codes = []
    for column in ("password", "password_hash"):
        for name in ("alice", "bob"):
            head = f"address,{column}\n{name}@{DOMAIN},".encode()
            path.write_bytes(head + as_bytes(password) + b"\n")
            codes.append(cli.main(["import", str(path)]))
    return codes


def run_checkpassword(password: Any, name: str = f"bob@{DOMAIN}") -> int:
    """Give it by checkpassword's descriptor; the program that it would run is not there."""
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        pipe.write(name.encode() + b"\0" + as_bytes(password) + b"\0\0")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpassword, "DESCRIPTOR", reading)  # which it closes
        return checkpassword.run(["/none/such"], dovecot=True, equal_time=True)


def run_aio(coroutine: Coroutine[Any, Any, object]) -> object:
    return asyncio.run(coroutine, debug=True)


def give_up(done: int, count: int) -> None:
    raise StorageFailed(Code.VA_COULD_NOT_UPDATE_FILE, "Could not update file", "given up")


CALLS: dict[str, Callable[[Any, Any], object]] = {
    "add_user": lambda pw, home: v.vpopmail_add_user("alice", DOMAIN, pw),
    "add_user_again": lambda pw, home: v.vpopmail_add_user("bob", DOMAIN, pw),
    "add_user_nowhere": lambda pw, home: v.vpopmail_add_user("alice", "none.com", pw),
    "passwd": lambda pw, home: v.vpopmail_passwd("bob", DOMAIN, pw),
    "passwd_of_none": lambda pw, home: v.vpopmail_passwd("nobody", DOMAIN, pw),
    "auth_user": lambda pw, home: v.vpopmail_auth_user("bob", DOMAIN, pw),
    "auth_user_apop": lambda pw, home: v.vpopmail_auth_user("bob", DOMAIN, "x", pw),
    "auth_many": lambda pw, home: list(v.auth_many([("bob", DOMAIN, pw)])),
    "add_domain_ex": lambda pw, home: v.vpopmail_add_domain_ex("new.com", pw),
    "api.add_user": lambda pw, home: api.add_user("alice", DOMAIN, pw),
    "api.set_password": lambda pw, home: api.set_password("bob", DOMAIN, pw),
    "api.authenticate": lambda pw, home: repr(api.authenticate("bob", DOMAIN, pw)),
    "api.add_domain_ex": lambda pw, home: api.add_domain_ex("new.com", pw),
    "api.sign_in": lambda pw, home: repr(api.sign_in(f"bob@{DOMAIN}", pw)),
    "api.sign_in_nobody": lambda pw, home: api.sign_in(f"no@{DOMAIN}", pw, equal_time=True),
    "api.add_users": lambda pw, home: api.add_users(DOMAIN, [("alice", pw), ("carl", pw)]),
    "api.add_users_again": lambda pw, home: api.add_users(DOMAIN, [("alice", pw), ("bob", pw)]),
    "api.add_users_nowhere": lambda pw, home: api.add_users("none.com", [("alice", pw)]),
    "api.add_users_dropped": lambda pw, home: api.add_users(
        DOMAIN, [("alice", pw)], progress=give_up
    ),
    "api.add_users_hash": lambda pw, home: api.add_users(
        DOMAIN, [api.NewUser("bob", password_hash=pw), api.NewUser("carl", pw, password_hash=pw)]
    ),
    "NewUser": lambda pw, home: f"{api.NewUser('alice', pw)} {api.NewUser('a', password_hash=pw)}",
    "aio.add_user": lambda pw, home: run_aio(aio.add_user("bob", DOMAIN, pw)),
    "aio.add_users": lambda pw, home: run_aio(aio.add_users(DOMAIN, [("alice", pw), ("bob", pw)])),
    "aio.set_password": lambda pw, home: run_aio(aio.set_password("bob", DOMAIN, pw)),
    "aio.sign_in": lambda pw, home: run_aio(aio.sign_in(f"bob@{DOMAIN}", pw)),
    "checkpassword": lambda pw, home: run_checkpassword(pw),
    "checkpassword_nobody": lambda pw, home: run_checkpassword(pw, "nobody"),
    "cli.add": lambda pw, home: run_cli(pw, "user", "add", f"alice@{DOMAIN}"),
    "cli.add_again": lambda pw, home: run_cli(pw, "user", "add", f"bob@{DOMAIN}"),
    "cli.auth": lambda pw, home: run_cli(pw, "auth", f"bob@{DOMAIN}"),
    "cli.domain": lambda pw, home: run_cli(pw, "domain", "add", "new.com", "--postmaster"),
    "cli.import": run_import,
    "cli.passwd": lambda pw, home: run_cli(pw, "user", "passwd", f"bob@{DOMAIN}"),
    "cli.show": lambda pw, home: [
        cli.main(["user", *told])
        for told in (["show", f"bob@{DOMAIN}", "--json"], ["list", DOMAIN, "--json"])
    ],
    "api.users": lambda pw, home: (repr(list(api.users(DOMAIN))), str(api.user("bob", DOMAIN))),
}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("password", BAD, ids=range(len(BAD)))
def test_what_is_said(
    home: Any, name: str, password: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With a policy that refuses the password, and with one that does not."""
    bin_directory = home.path / "bin"
    if v.info().library == "bundled":
        shutil.copytree(Path(os.environ["VPOPMAIL_HOME"]) / "bin", bin_directory)
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    assert v.vpopmail_add_user("bob", DOMAIN, PASSWORD)
    hashes = {user.password_hash for user in api.users(DOMAIN)}
    caplog.set_level(logging.DEBUG)
    said = io.StringIO()
    with (
        redirect_stdout(said),
        redirect_stderr(said),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        for policy in ("Length >= 1\n", "Length >= 500\nAlphabet >= 1\n"):
            (home.path / "etc/password_strength.conf").write_text(policy)
            result = None
            with suppress(VpopmailError, OSError):
                try:
                    result = CALLS[name](password, home)
                except Exception as error:
                    for each in chain(error):
                        said.write(f"{each!s} {each.args!r} {vars(each)!r}")
                        said.write("".join(traceback.format_exception_only(each)))
            said.write(f"{result!r} {v.vpopmail_error()}")
    told = said.getvalue() + caplog.text + "".join(f"{each.message}" for each in caught)
    hashes.update(user.password_hash for user in api.users(DOMAIN))
    assert PASSWORD not in told
    assert [hashed for hashed in hashes if hashed and hashed in told] == []


def test_a_user_shown_shows_no_hash(home: Any) -> None:
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    assert v.vpopmail_add_user("bob", DOMAIN, PASSWORD)
    user = api.user("bob", DOMAIN)
    assert user.password_hash
    assert user.password_hash not in repr(user) + str(user)


# --- the list of processes -----------------------------------------------------------------------


def test_a_program_hides_the_password_that_it_was_given(home: Any) -> None:
    """From when it begins; until then it can't."""
    if v.info().library == "real":
        pytest.skip("vpopmail's own show theirs")
    program = Path(os.environ["VPOPMAIL_HOME"]) / "bin/vadddomain"
    environment = {"VPOPMAIL_HOME": str(home.path), "QMAIL_HOME": str(home.qmail)}
    with (home.qmail / "users/assign.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        with subprocess.Popen([program, "new.com", PASSWORD], env=environment) as running:
            # It waits for the lock of the domains.
            command_line = Path(f"/proc/{running.pid}/cmdline")
            while b"new.com" not in command_line.read_bytes() or running.poll() is not None:
                pass
            while PASSWORD.encode() in command_line.read_bytes():
                assert running.poll() is None
            fcntl.lockf(lock, fcntl.LOCK_UN)
    assert running.returncode == 0
    assert v.vpopmail_auth_user("postmaster", "new.com", PASSWORD)


# --- modes ---------------------------------------------------------------------------------------

UMASKS = (0, 0o022, 0o077, 0o177, 0o277, 0o477, 0o777)
DOMAINS_ALONE = """
import os, sys
import vpopmail_ext as v
from vpopmail_ext import api

home, qmail, umask, what, uid, gid = sys.argv[1:]
v.configure(home, qmail)
os.umask(int(umask))
if what == "domains":
    assert v.vpopmail_add_domain("example.com", home, uid, gid), v.vpopmail_error()
    assert v.vpopmail_add_alias_domain("example.com", "alias.com")
    api.add_domain_ex("with-postmaster.com", "secret-6")
    api.add_domain_ex("gone.com", "secret-7")
    api.add_alias_domain_ex("example.com", "another.com")
    api.delete_domain_ex("gone.com")
else:
    if os.geteuid() == 0 and int(uid) != 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    assert v.vpopmail_add_user("alice", "example.com", "secret-1"), v.vpopmail_error()
    assert v.vpopmail_set_user_quota("alice", "example.com", "1M")
    assert v.vpopmail_passwd("alice", "example.com", "secret-2")
    assert v.vpopmail_alias_add("info", "example.com", "&alice@example.com")
    api.set_limits("example.com", api.limits("example.com"))
    api.set_last_auth(api.user("alice", "example.com"), "192.0.2.1")
    assert v.vpopmail_auth_user("alice", "example.com", "secret-2")
    assert v.vpopmail_add_user("bob", "example.com", "secret-3")
    assert v.vpopmail_del_user("bob", "example.com")
    api.set_alias("sales", "example.com", ["&alice@example.com", "&bob@example.com"])
    assert api.add_users("example.com", [("carl", "secret-4"), ("dora", "secret-5")]) == 2
"""


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
@pytest.mark.parametrize("who", ["root", "mail user"])
def test_modes_hold_under_any_umask(programs: Any, tmp_path: Path, umask: int, who: str) -> None:
    home = programs
    if v.info().library == "real":
        pytest.skip("the bundled library's")
    open_to_all(tmp_path)
    if os.geteuid() == 0 and home.uid != 0:
        os.chown(home.path, home.uid, home.gid)

    def run(what: str, uid: int, gid: int) -> None:
        arguments = [home.path, home.qmail, umask, what, uid, gid]
        command = [sys.executable, "-c", DOMAINS_ALONE, *map(str, arguments)]
        subprocess.run(command, check=True, cwd=TOP)

    run("domains", home.uid, home.gid)
    ids = (os.geteuid(), os.getegid()) if who == "root" else (home.uid, home.gid)
    run("users", *ids)
    found = {}
    for top in (home.path / "domains", home.qmail / "users", home.qmail / "control"):
        for path in top.rglob("*"):
            status = path.lstat()
            found[str(path.relative_to(top.parent))] = stat.S_IMODE(status.st_mode)
            if top == home.path / "domains":
                assert status.st_uid in (home.uid, os.geteuid())
    public = {"users/assign", "users/cdb"}
    public |= {f"control/{name}" for name in ("rcpthosts", "virtualdomains", "locals")}
    for name, mode in found.items():
        private = 0o700 if (home.path / name).is_dir() else 0o600
        assert oct(mode) == oct(0o644 if name in public else private), name
    assert public <= set(found)
    for name in ("alice/Maildir/maildirsize", "dora/Maildir/cur", ".qmail-sales"):
        assert f"domains/example.com/{name}" in found
    assert "domains/with-postmaster.com/postmaster/Maildir/new" in found
