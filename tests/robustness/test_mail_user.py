"""The mail user swaps files and directories for links under the hands of a caller who is root.

A second process, which is that user (mail_user.py), exchanges what lies in the directories that
are its own, as long as a function is called again and again. Outside of them lies what the links
lead to: nothing there may be read, written, given away or removed, and nothing of it shown.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb, clib, torture
from tests.conftest import open_to_all
from tests.robustness import strike
from vpopmail_ext import api, checkpassword, chown, doctor
from vpopmail_ext._binding import lib
from vpopmail_ext.errors import Code, VpopmailError

DOMAIN = "example.com"
SECRET = "canary-5f3a9c"
OTHER_UID, OTHER_GID = 4711, 4712
TOOLS = ("vadddomain", "vdeldomain", "vaddaliasdomain")

IN_ACCESS, IN_MODIFY, IN_MOVE, IN_CREATE, IN_DELETE = 1, 2, 0xC0, 0x100, 0x200
WATCHED = IN_ACCESS | IN_MODIFY | IN_MOVE | IN_CREATE | IN_DELETE
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(autouse=True)
def never_hangs() -> Iterator[None]:
    faulthandler.dump_traceback_later(180 + torture.amount(0, 600), exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Outside:
    """Files and directories of root's and of another user's, which nobody is to touch."""

    def __init__(self, top: Path, group: int) -> None:
        self.top = top
        self.directories, self.files = [], []
        for name, mode, uid, gid in (
            ("root", 0o700, 0, 0),
            ("open", 0o755, 0, 0),
            ("group", 0o750, 0, group),
            ("other", 0o700, OTHER_UID, OTHER_GID),
        ):
            directory = top / name
            for below in ("", "alice", "alice/Maildir", "alice/Maildir/cur", "new1", "cur"):
                (directory / below).mkdir(parents=True, exist_ok=True)
            for file in ("secret", "vpasswd", "lastauth", "alice/lastauth", "alice/Maildir/cur/1"):
                (directory / file).write_text(
                    f"{SECRET}:{SECRET}:1:0:{SECRET}:{directory}:{SECRET}\n"
                )
                (directory / file).chmod(0o600)
                self.files.append(directory / file)
            for path in (directory, *directory.rglob("*")):
                os.chown(path, uid, gid)
            directory.chmod(mode)
            self.directories.append(directory)
        self.before = self.look()
        self.queue = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.watched = {}
        for path in (top, *top.rglob("*")):
            watch = _libc.inotify_add_watch(self.queue, os.fsencode(path), WATCHED)
            assert watch >= 0
            self.watched[watch] = path

    def look(self) -> dict[str, tuple[object, ...]]:
        found = {}
        for path in (self.top, *self.top.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
            # A planted name of it may be removed, so its names are not counted.
            found[str(path)] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
        return found

    def hard_links(self, directory: Path) -> list[str]:
        """Make some in a directory of the mail user's."""
        links = []
        for number, file in enumerate(self.files):
            os.link(file, directory / f"planted{number}")
            links.append(str(directory / f"planted{number}"))
        self.before = self.look()
        with suppress(BlockingIOError):
            os.read(self.queue, 1 << 20)
        return links

    def check(self) -> None:
        """Nothing happened: what the kernel told, and then how it looks."""
        told = []
        with suppress(BlockingIOError):
            while data := os.read(self.queue, 1 << 16):
                at = 0
                while at < len(data):
                    watch, mask, _, length = struct.unpack_from("iIII", data, at)
                    name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
                    told.append(f"{self.watched[watch]}/{name}: {mask:#x}")
                    at += 16 + length
        assert told == []
        assert self.look() == self.before
        os.close(self.queue)


@pytest.fixture
def place(home: Any, tmp_path: Path) -> Path:
    """An installation whose home is the mail user's, as vpopmail's is; what is outside it."""
    if v.info().library == "real":
        pytest.skip("a real library does in its directories what it does")
    if os.geteuid() != 0 or home.uid == 0:
        pytest.skip("needs other users than root")
    open_to_all(tmp_path)
    top = tmp_path / "outside"
    top.mkdir()
    for path in (home.path, *home.path.rglob("*")):
        os.chown(path, home.uid, home.gid)
    bin_directory = home.path / "bin"
    bin_directory.mkdir()
    for tool in TOOLS:
        shutil.copy(Path(os.environ["VPOPMAIL_HOME"]) / "bin" / tool, bin_directory)
    populate(home)
    return top


def populate(home: Any) -> None:
    """Make the domain anew, by the functions alone: all else that root does would be led astray."""
    with warnings.catch_warnings(), suppress(VpopmailError):
        warnings.simplefilter("ignore")
        v.vpopmail_del_domain(DOMAIN)
        v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
        v.vpopmail_add_user("alice", DOMAIN, "secret-1")
        v.vpopmail_alias_add("info", DOMAIN, "&alice@example.com")
        v.vpopmail_set_user_quota("alice", DOMAIN, "1M")
        api.set_limits(DOMAIN, api.limits(DOMAIN))


FILES = "vpasswd vpasswd.cdb .dir-control"
VICTIMS = {
    "": "etc domains",
    "etc": "vlimits.default password_strength.conf defaultdomain",
    "domains": f"{DOMAIN} new.com .dir-control .tmp:.dir-control .tmp::{DOMAIN} .tmp::new.com",
    "domains/.tmp::new.com": f"postmaster .tmp::postmaster .qmail-default {FILES}"
    " .tmp:vpasswd .tmp:vpasswd.cdb .tmp:.dir-control",
    f"domains/{DOMAIN}": f"{FILES} .tmp:vpasswd .tmp:vpasswd.cdb .tmp:.dir-control"
    " .dir_control_free .tmp:.dir_control_free .vpasswd.lock"
    " alice .tmp::alice new1 .tmp::new1 new2 .tmp::new2"
    " 0 .tmp:: 0/new1 0/.tmp::new1 .tmp:change .tmp:ready"
    " .adding: .adding:/0 .adding:/0/:paths .adding:/0/.tmp::paths .adding:/0/new1"
    " .qmail-info .qmail-default .qmailadmin-limits"
    " .new:.qmail-info .new:.qmail-sales .new:.qmail-default .new:.qmailadmin-limits"
    " .new:change .new:ready",
    f"domains/{DOMAIN}/alice": "Maildir Maildir/cur Maildir/new Maildir/maildirsize lastauth"
    " .tmp:lastauth Maildir/.tmp:maildirsize",
    f"domains/{DOMAIN}/.tmp::new1": "Maildir",
}
"""What the mail user can swap and a call may come by: by directory."""


def victims(home: Any) -> list[str]:
    return [
        str(home.path / directory / name)
        for directory, names in VICTIMS.items()
        for name in names.split()
    ]


def places_outside(outside: Outside) -> list[Path]:
    """Return directories that a vpasswd of the mail user's may tell to be a user's."""
    return [place for each in outside.directories for place in (each, each / "alice")]


def elsewhere_told(home: Any) -> Callable[[Path], tuple[str, str]]:
    """Return what makes a vpasswd, and its cdb, that tells of a directory for all its users."""
    lines = [line.split(":") for line in domain_file(home, "vpasswd").read_text().splitlines()]

    def tell(directory: Path) -> tuple[str, str]:
        told = [":".join([*line[:5], str(directory), *line[6:]]) + "\n" for line in lines]
        text = "".join(told).encode()
        return text.decode(), cdb.of("vpasswd", text).decode("latin-1")

    return tell


@contextmanager
def attack(home: Any, tmp_path: Path, outside: Outside) -> Iterator[None]:
    baits = home.path / "domains" / "baits"
    own = baits / "own"
    for directory in (baits, own):
        directory.mkdir()
        os.chown(directory, home.uid, home.gid)
    orders = tmp_path / "orders"
    leads_to = [*outside.directories, *outside.files, "/dev/zero", "/proc/self/environ"]
    orders.write_text(
        json.dumps(
            {
                "victims": victims(home),
                "outside": list(map(str, leads_to)),
                "planted": outside.hard_links(baits),
                "domain": str(domain_file(home, "")),
                "told": list(map(elsewhere_told(home), [own, *places_outside(outside)])),
                "own": str(own),
            }
        )
    )
    program = Path(__file__).with_name("mail_user.py")
    command = [sys.executable, program, str(home.uid), str(home.gid), orders]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as enemy:
        assert enemy.stdout is not None
        assert enemy.stdin is not None
        assert enemy.stdout.readline() == "ready\n"
        yield
        enemy.stdin.close()
        exchanged = int(enemy.stdout.read())
    assert enemy.returncode == 0
    assert exchanged > 0
    torture.tell(f"{exchanged:,} exchanges")


def _as_mail_user(home: Any, work: Callable[[], object]) -> bool:
    """Do it in a process of that user's; whether it went well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(home.gid)
            os.setuid(home.uid)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _into_a_hashed_directory(home: Any) -> tuple[object, ...]:
    """Add the user who is the hundredth by what .dir-control says."""
    control = "99\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n"
    return (
        _as_mail_user(home, lambda: domain_file(home, ".dir-control").write_text(control)),
        v.vpopmail_add_user("new1", DOMAIN, "secret-2"),
        v.vpopmail_del_user("new1", DOMAIN),
    )


def _library(home: Any) -> Any:
    """Return the library without the binding, for what only C calls."""
    library = clib.lib()
    assert library.vpopmail_set_home(os.fsencode(home.path), os.fsencode(home.qmail)) == 0
    return library


def _setpw(home: Any) -> bool:
    texts = {
        "pw_name": b"alice",
        "pw_passwd": b"$1$abcdefgh$f4FAhCjxUf8AsFu5Ck2gF/",  # of secret-1
        "pw_gecos": b"Alice",
        "pw_dir": os.fsencode(domain_file(home, "alice")),
        "pw_shell": b"1048576S",
    }
    held = {name: clib.ffi.new("char[]", text) for name, text in texts.items()}
    pw = clib.ffi.new("struct vqpasswd *", {**held, "pw_uid": 1})
    code: int = _library(home).vauth_setpw(pw, clib.ffi.new("char[]", DOMAIN.encode()))
    return code == 0


def _catchall(home: Any) -> bool:
    code: int = _library(home).vpopmail_set_catchall(DOMAIN.encode(), b"alice@example.com")
    return code == 0


def _checkpassword(home: Any) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            reading, writing = os.pipe()
            os.write(writing, f"alice@{DOMAIN}\0secret-1\0\0".encode())
            os.close(writing)
            os.dup2(reading, checkpassword.DESCRIPTOR)
            os.environ["TCPREMOTEIP"] = "192.0.2.1"
            status = checkpassword.run(["true"])
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _with_user(action: Callable[[Any], object]) -> object:
    return action(api.user("alice", DOMAIN))


def _there_and_back(home: Any) -> bool:
    """Give the tree to others, then back; one that was interrupted is finished before any other."""
    try:
        chown.chown(home.uid + 1, home.gid + 1)
    finally:
        chown.chown(home.uid, home.gid)
    return True


CALLS: dict[str, Callable[[Any], object]] = {
    "add_domain": lambda home: (
        v.vpopmail_add_domain("new.com", str(home.path), home.uid, home.gid),
        v.vpopmail_del_domain("new.com"),
    ),
    "del_domain": lambda home: (v.vpopmail_del_domain(DOMAIN), populate(home) is None),
    "add_alias_domain": lambda home: (
        v.vpopmail_add_alias_domain(DOMAIN, "alias.com"),
        v.vpopmail_del_domain("alias.com"),
    ),
    "tools": lambda home: (
        v.vpopmail_add_domain_ex("new.com", "secret-9", "1M", "alice@example.com"),
        v.vpopmail_add_alias_domain_ex(DOMAIN, "alias.com"),
        v.vpopmail_del_domain_ex("alias.com"),
        v.vpopmail_del_domain_ex("new.com"),
    ),
    "add_user": lambda home: (
        v.vpopmail_add_user("new1", DOMAIN, "secret-2"),
        v.vpopmail_del_user("new1", DOMAIN),
    ),
    "add_user, into a hashed directory": _into_a_hashed_directory,
    "del_user": lambda home: (
        v.vpopmail_del_user("alice", DOMAIN),
        v.vpopmail_add_user("alice", DOMAIN, "secret-1"),
    ),
    "add_users": lambda home: (
        api.add_users(DOMAIN, [("new1", "secret-2"), ("new2", "secret-2")], threads=1),
        v.vpopmail_del_user("new1", DOMAIN),
        v.vpopmail_del_user("new2", DOMAIN),
    ),
    "passwd": lambda home: v.vpopmail_passwd("alice", DOMAIN, "secret-1"),
    "set_user_quota": lambda home: [
        v.vpopmail_set_user_quota("alice", DOMAIN, quota) for quota in ("2M", "NOQUOTA", "1M")
    ],
    "auth_user": lambda home: [v.vpopmail_auth_user("alice", DOMAIN, "secret-1") for _ in "1234"],
    "auth_many": lambda home: list(v.auth_many([("alice", DOMAIN, "secret-1")] * 4)),
    "alias_add": lambda home: (
        v.vpopmail_alias_add("info", DOMAIN, "&bob@example.com"),
        v.vpopmail_alias_del("info", DOMAIN),
    ),
    "alias_del_domain": lambda home: (
        v.vpopmail_alias_add("info", DOMAIN, "&bob@example.com"),
        v.vpopmail_alias_add("sales", DOMAIN, "&bob@example.com"),
        v.vpopmail_alias_del_domain(DOMAIN),
    ),
    "alias_get": lambda home: v.vpopmail_alias_get("info", DOMAIN),
    "alias_get_all": lambda home: v.vpopmail_alias_get_all(DOMAIN),
    "alias_set": lambda home: api.set_alias("info", DOMAIN, ["&x@y.z", "&y@y.z"]),
    "alias_remove_line": lambda home: (
        (
            api.set_alias("info", DOMAIN, ["&x@y.z", "&y@y.z"]),
            api.remove_alias_line("info", DOMAIN, "&x@y.z"),
        )
        == (None, None)
    ),
    "default_domain": lambda home: api.default_domain(),
    "alias": lambda home: api.alias("info", DOMAIN),
    "domain": lambda home: api.domain(DOMAIN),
    "domains": lambda home: list(api.domains()),
    "users": lambda home: list(api.users(DOMAIN)),
    "user": lambda home: api.user("alice", DOMAIN),
    "authenticate": lambda home: api.authenticate("alice", DOMAIN, "secret-1"),
    "sign_in": lambda home: api.sign_in(f"alice@{DOMAIN}", "secret-1"),
    "doctor": lambda home: doctor.examine(),
    "set_flags": lambda home: api.set_flags("alice", DOMAIN, 0),
    "last_auth": lambda home: _with_user(api.last_auth),
    "set_last_auth": lambda home: _with_user(lambda user: api.set_last_auth(user, "192.0.2.1")),
    "quota_usage": lambda home: _with_user(api.quota_usage),
    "vauth_setpw": _setpw,
    "the catch-all": _catchall,
    "checkpassword": _checkpassword,
    "rebuild": lambda home: api.rebuild(DOMAIN),
    "limits": lambda home: api.limits(DOMAIN),
    "set_limits": lambda home: api.set_limits(DOMAIN, api.limits(DOMAIN)),
    "chown": lambda home: _there_and_back(home),
}


def went_well(result: object) -> bool:
    """Tell whether a call, or each of several, did what it is for; by None, or it would raise."""
    if isinstance(result, (tuple, list)):
        return bool(result) and all(result)
    return result is None or bool(result)


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", CALLS)
def test_nothing_outside_is_touched(home: Any, place: Path, tmp_path: Path, name: str) -> None:
    # Alone it does what it is for; in the end what it left is as it was.
    assert went_well(CALLS[name](home))
    populate(home)
    outside = Outside(place, home.gid)
    calls = succeeded = 0
    with attack(home, tmp_path, outside), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        now = time.monotonic()
        end, last = now + torture.amount(0.4, 60), now + 60
        # Now and then the mail user gives it a chance; under a sanitizer it may be too slow.
        while time.monotonic() < (end if succeeded or torture.SANITIZED else last):
            with suppress(VpopmailError, OSError, chown.Refused):
                result = CALLS[name](home)
                assert SECRET not in str(result)
                succeeded += went_well(result)
            calls += 1
            if succeeded < calls / 2 or calls % 50 == 0:
                populate(home)
    outside.check()
    assert succeeded or torture.SANITIZED
    torture.tell(f"{calls:,} calls, {succeeded:,} of them with a result")


def temporary(path: str) -> str:
    """Return the last name with a colon of a path, with what leads to it."""
    before, mark, name = path.rpartition(":")
    return before + mark + name.partition("/")[0]


def test_what_is_used_is_swapped(home: Any, place: Path) -> None:
    """All temporary names, and no others: of these the mail user has to be told."""
    strike.skip_where_impossible()
    clib.lib()
    used = set()

    def judge(call: strike.Call) -> int:
        if call.changes:
            used.update(path for path in call.paths() if ":" in path)
        return 0

    for call in CALLS.values():
        populate(home)
        assert strike.run(lambda call=call: 0 if went_well(call(home)) else 1, judge).code == 0
    used = {temporary(path) for path in used if path.startswith(f"{home.path}/")}
    assert used == {temporary(path) for path in victims(home) if ":" in path}


def domain_file(home: Any, name: str) -> Path:
    path: Path = home.path / "domains" / DOMAIN / name
    return path


def test_a_link_among_the_messages_tells_no_size(home: Any, place: Path) -> None:
    """The mail user links to a file in a directory that it may not search."""
    outside = Outside(place, home.gid)
    cur = domain_file(home, "alice/Maildir/cur")
    (cur / "1").write_bytes(b"x" * 7)
    (cur / "2").symlink_to(outside.files[0])
    (cur / "3").symlink_to(outside.directories[0])
    user = api.user("alice", DOMAIN)
    assert api.quota_usage(user) == api.QuotaUsage(7, 3, user.quota)
    v.vpopmail_set_user_quota("alice", DOMAIN, "2M")
    assert domain_file(home, "alice/Maildir/maildirsize").read_text() == "2097152S\n7 3\n"
    outside.check()


def elsewhere(home: Any, tmp_path: Path) -> Path:
    """Have alice's directory be the mail user's one outside of the domain's."""
    directory = tmp_path / "elsewhere"
    domain_file(home, "alice").rename(directory)
    vpasswd = domain_file(home, "vpasswd")
    text = vpasswd.read_text()
    vpasswd.write_text(text.replace(str(domain_file(home, "alice")), str(directory)))
    api.rebuild(DOMAIN)
    assert api.user("alice", DOMAIN).directory == str(directory)
    return directory


def test_a_users_directory_elsewhere_goes(home: Any, place: Path, tmp_path: Path) -> None:
    directory = elsewhere(home, tmp_path)
    assert v.vpopmail_del_user("alice", DOMAIN)
    assert not directory.exists()


def told_as(home: Any, path: str) -> Path:
    """Have bob's directory below the domain's told so in vpasswd, as who edits it may write it."""
    populate(home)
    domain = home.path / "domains" / DOMAIN
    directory: Path = domain / path.lstrip("/")
    assert v.vpopmail_add_user("bob", DOMAIN, "secret-2")
    directory.parent.mkdir(exist_ok=True)
    (domain / "bob").rename(directory)
    vpasswd = domain / "vpasswd"
    vpasswd.write_text(vpasswd.read_text().replace(f"{domain}/bob:", f"{domain}/{path}:"))
    api.rebuild(DOMAIN)
    assert api.user("bob", DOMAIN).directory == f"{domain}/{path}"
    return directory


def test_a_users_directory_that_is_told_with_two_slashes(home: Any) -> None:
    directory = told_as(home, "0//bob")
    assert v.vpopmail_set_user_quota("bob", DOMAIN, "2M")
    assert (directory / "Maildir/maildirsize").read_text() == "2097152S\n0 0\n"
    assert v.vpopmail_del_user("bob", DOMAIN)
    assert not directory.exists()
    assert [user.name for user in api.users(DOMAIN)] == ["alice"]
    assert v.vpopmail_add_user("carol", DOMAIN, "secret-3")
    assert api.user("carol", DOMAIN).directory == str(directory.with_name("carol"))


def test_a_change_of_one_that_begins_with_two_slashes_is_completed(home: Any) -> None:
    """It is that below the domain's, not /bob, which a killed call leaves to the next one."""
    strike.skip_where_impossible()
    directory = told_as(home, "/bob")
    decided = False

    def judge(call: strike.Call) -> int:
        nonlocal decided
        if decided and call.changes:
            return strike.KILL
        decided = decided or call.name.startswith("rename")
        return 0

    def call() -> int:
        code: int = lib.vpx_set_user_quota(b"bob", DOMAIN.encode(), b"2M")
        return code

    assert strike.run(call, judge).code is None
    assert not (directory / "Maildir/maildirsize").exists()
    assert str(api.user("bob", DOMAIN).quota) == "2097152S"
    assert (directory / "Maildir/maildirsize").read_text() == "2097152S\n0 0\n"
    assert v.vpopmail_del_user("bob", DOMAIN)
    assert not directory.exists()


@pytest.mark.parametrize("where", ["", "Maildir/cur"])
def test_what_is_anothers_in_a_directory_elsewhere_stays(
    home: Any, place: Path, tmp_path: Path, where: str
) -> None:
    """The mail user names a directory of its own in which root's, or another's, lies."""
    directory = elsewhere(home, tmp_path)
    for owner in (0, OTHER_UID):
        theirs = directory / where / "theirs"
        theirs.mkdir()
        (theirs / "file").write_text("to be kept\n")
        os.chown(theirs, owner, owner)
        before = sorted(directory.rglob("*"))
        with pytest.warns(v.VpopmailWarning, match="Illegal username"):
            assert not v.vpopmail_del_user("alice", DOMAIN)
        assert sorted(directory.rglob("*")) == before
        assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
        shutil.rmtree(theirs)
    assert v.vpopmail_del_user("alice", DOMAIN)


def test_what_is_anothers_by_then_stays(home: Any, place: Path, tmp_path: Path) -> None:
    """The mail user moves it in after the directory was looked through."""
    directory = elsewhere(home, tmp_path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("to be kept\n")
    moved = directory / "Maildir/theirs"

    def judge(call: strike.Call) -> int:
        if call.name.startswith("rename") and theirs.exists():
            theirs.rename(moved)
        return 0

    strike.skip_where_impossible()
    outcome = strike.run(lambda: lib.vpx_del_user(b"alice", DOMAIN.encode()), judge)
    assert outcome.code != 0
    assert (moved / "file").read_text() == "to be kept\n"


def test_anothers_maildir_in_a_directory_elsewhere_is_not_written_to(
    home: Any, place: Path, tmp_path: Path
) -> None:
    directory = elsewhere(home, tmp_path)
    os.chown(directory / "Maildir", OTHER_UID, OTHER_GID)
    before = sorted(directory.rglob("*"))
    with pytest.warns(v.VpopmailWarning, match="Illegal username"):
        assert not v.vpopmail_set_user_quota("alice", DOMAIN, "2M")
    assert sorted(directory.rglob("*")) == before
    assert api.user("alice", DOMAIN).quota != "2097152S"


def test_a_directory_elsewhere_that_could_not_go_stays_with_its_user(
    home: Any, place: Path, tmp_path: Path
) -> None:
    """The directory is the mail user's, the one that it stands in is root's."""
    strike.skip_where_impossible()
    directory = elsewhere(home, tmp_path)
    before = sorted(directory.rglob("*"))

    def call() -> int:
        os.setgroups([])
        os.setgid(home.gid)
        os.setuid(home.uid)
        code: int = lib.vpx_del_user(b"alice", DOMAIN.encode())
        return code

    outcome = strike.run(call, lambda made: 0)
    assert outcome == (Code.VA_COULD_NOT_UPDATE_FILE, False)
    assert sorted(directory.rglob("*")) == before
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
