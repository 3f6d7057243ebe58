"""An installation that is laid out again and again, and what can be said of it after a strike."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb, clib
from tests.conftest import domain_ids
from tests.robustness import strike
from vpopmail_ext._binding import ffi, lib

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where syncing takes no time."""
Entry = tuple[int, int, int, bytes | None]
"""Mode, uid, gid, and what a file holds."""
Tree = dict[str, Entry]
"""By path; empty lock files are left out."""

MD5 = "$1$abcdefgh$f4FAhCjxUf8AsFu5Ck2gF/"
"""The hash of secret-1 that is checked fastest."""
HASH = re.compile(rb"\$[16]\$[./0-9A-Za-z]{8}\$[./0-9A-Za-z]+")
ACCOUNT = re.compile(rb"(?m)^([^:\n]+):(%s)" % HASH.pattern)
PASSWORDS = "secret-1", "secret-2"


def tree_of(top: Path) -> Tree:
    """Return all there is in a directory."""
    found: Tree = {}
    waiting = [os.fspath(top)]
    cut = len(waiting[0])
    while waiting:
        directory = waiting.pop()
        status = os.lstat(directory)
        found[directory[cut:]] = (status.st_mode, status.st_uid, status.st_gid, None)
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                status = entry.stat(follow_symlinks=False)
                content = b"" if entry.is_file(follow_symlinks=False) else b"special"
                if entry.is_symlink():
                    content = os.fsencode(os.readlink(entry.path))
                elif not content:
                    content = Path(entry.path).read_bytes()
                found[entry.path[cut:]] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def identity(path: Path) -> str:
    """Return what a journal has of a file or directory."""
    status = path.lstat()
    size, moment = status.st_size, status.st_mtime_ns
    if stat.S_ISDIR(status.st_mode):
        command = ["stat", "--format=%.9W", path]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        size, moment = 0, int(told.replace(".", "")) or moment
    return f"{status.st_ino} {size} {moment // 10**9} {moment % 10**9}"


@dataclass(frozen=True)
class Scenario:
    """A call, the state in which it is made, and the accounts that have nothing to do with it."""

    name: str
    call: Callable[[Installation], int]
    before: Callable[[Installation], None] | None = None
    others: tuple[str, ...] = ("bob@ex.com", "bob@al.com", "carol@other.com")
    left: tuple[str, ...] = ()
    """Files and directories that may be left until the same call is made again."""
    taken: str = ""
    """A directory that was there before and may have been given to the domain's owner."""
    apart: bool = False
    """Whether vpopmail's home and qmail's directory lie on two file systems."""


class Installation:
    """Two domains, an alias domain, three accounts and some aliases."""

    def __init__(self, top: Path, uid: int, gid: int, qmail: Path | None = None) -> None:
        self.top, self.home, self.qmail = top, top / "vpopmail", qmail or top / "qmail"
        self.uid, self.gid = uid, gid
        self._labels: dict[bytes, bytes] = {MD5.encode(): b"<secret-1>"}
        for directory in (self.home / "domains", self.home / "etc", self.qmail / "control"):
            directory.mkdir(parents=True)
        (self.qmail / "users").mkdir()
        (self.home / "domains").chmod(0o700)
        os.chown(self.home / "domains", uid, gid)
        (self.home / "etc/password_strength.conf").write_text("Length >= 1\n")
        with self.used():
            self._populate()
        self.base = self.tree()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have the package use it."""
        info = v.info()
        v.configure(home=self.home, qmail=self.qmail)
        try:
            yield
        finally:
            v.configure(home=info.home, qmail=info.qmail)

    def _populate(self) -> None:
        for domain in ("ex.com", "other.com"):
            assert v.vpopmail_add_domain(domain, str(self.home), self.uid, self.gid)
        assert v.vpopmail_add_alias_domain("ex.com", "al.com")
        for user in ("alice@ex.com", "bob@ex.com", "carol@other.com"):
            assert v.vpopmail_add_user(*user.split("@"), "secret-1")
        assert v.vpopmail_set_user_quota("bob", "ex.com", "7M")
        for alias, line in (("info", "&x@y.z"), ("info", "&a@b.c"), ("sales", "&bob@ex.com")):
            assert v.vpopmail_alias_add(alias, "ex.com", line)
        (self.domain / "alice/Maildir/cur/1.x,S=100:2,").write_bytes(b"x" * 100)
        os.chown(self.domain / "alice/Maildir/cur/1.x,S=100:2,", self.uid, self.gid)
        for domain in ("ex.com", "other.com"):
            vpasswd = self.home / "domains" / domain / "vpasswd"
            vpasswd.write_bytes(HASH.sub(MD5.encode().replace(b"\\", b""), vpasswd.read_bytes()))
            assert lib.vpx_rebuild(domain.encode()) == 0

    def tree(self) -> Tree:
        """Return all there is in both directories, as /vpopmail/… and /qmail/…."""
        return {
            f"/{name}{path}": what
            for name, top in (("vpopmail", self.home), ("qmail", self.qmail))
            for path, what in tree_of(top).items()
        }

    def _at(self, path: str) -> str:
        _, name, *rest = path.split("/", 2)
        return os.path.join(self.home if name == "vpopmail" else self.qmail, *rest)

    @property
    def domain(self) -> Path:
        """The directory of ex.com."""
        return self.home / "domains/ex.com"

    def lay_out(self, scenario: Scenario) -> None:
        """Lay out what it was at first, and what the scenario begins with."""
        for directory in (self.home, self.qmail):
            shutil.rmtree(directory, ignore_errors=True)
        for path, (mode, uid, gid, content) in self.base.items():
            at = self._at(path)
            if content is None:
                os.mkdir(at)
            else:
                Path(at).write_bytes(content)
            os.chown(at, uid, gid)
            os.chmod(at, stat.S_IMODE(mode))
        if scenario.before:
            scenario.before(self)

    def be_the_owner(self) -> None:
        """Have this process be the domains' owner, from now on."""
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)

    def as_owner(self, call: Callable[[], int]) -> int:
        """Make a call in a process of the domains' owner, and return its code."""
        self.let_the_owner_in()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork() beside threads
            child = os.fork()
        if child == 0:
            try:
                self.be_the_owner()
                os._exit(-call() & 0x7F)
            finally:
                os._exit(0x7F)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status >= 0, f"it died of signal {-status}"
        return -status

    def let_the_owner_in(self) -> None:
        """Have the domains' owner get to the installation, or skip the test."""
        if os.geteuid() != 0 or not self.uid:
            pytest.skip("only root can be another user, too")
        for directory in (self.top.parent, self.top, self.home, self.qmail.parent):
            directory.chmod(0o755)

    def settle(self) -> None:
        """Take each lock there is, with calls that leave nothing behind."""
        ids = self.uid, self.gid
        assert lib.vpx_add_domain(b"settle.org", os.fsencode(self.home), *ids) == 0
        assert lib.vpx_del_domain(b"settle.org") == 0
        for name in ("ex.com", "other.com"):
            if self._has(name):
                assert settle_domain(name.encode()) == 0

    def _has(self, domain: str) -> bool:
        out = ffi.new("struct vpx_bytes *")
        code: int = lib.vpx_domain(domain.encode(), out)
        lib.vpx_free(out)
        return code == 0

    def state(self) -> Tree:
        """Return all there is, hashes and look-up files in a form that can be compared."""
        found = {}
        for path, (mode, uid, gid, content) in self.tree().items():
            if path.endswith(".lock") and not content:
                continue
            found[path] = (mode, uid, gid, self._plain(path, content))
        return found

    def _plain(self, path: str, content: bytes | None) -> bytes | None:
        rules = {"vpasswd.cdb": "vpasswd", "morercpthosts.cdb": "morercpthosts", "cdb": "assign"}
        name = os.path.basename(path)
        if content is None or name not in rules:
            if name != "vpasswd" or not content:
                return content
            domain = os.path.basename(os.path.dirname(path))
            return ACCOUNT.sub(lambda match: self._labelled(domain, *match.groups()), content)
        text = Path(self._at(os.path.dirname(path))) / rules[name]
        same = content == cdb.of(rules[name], text.read_bytes() if text.exists() else b"")
        return b"agrees" if same else b"differs: %r" % cdb.read(content)

    def _labelled(self, domain: str, user: bytes, hashed: bytes) -> bytes:
        if hashed not in self._labels:
            for password in PASSWORDS:
                if v.vpopmail_auth_user(user.decode(), domain, password):
                    self._labels[hashed] = b"<%s>" % password.encode()
        return user + b":" + self._labels.get(hashed, hashed)


@contextmanager
def to_be_struck() -> Iterator[Installation]:
    """Give an installation whose calls can be struck, else skip the test."""
    strike.skip_where_impossible()
    if v.info().library == "real":
        pytest.skip("a real libvpopmail's calls are not made by us, and it keeps no journal")
    with tempfile.TemporaryDirectory(dir=MEMORY) as top:
        yield Installation(Path(top) / "top", *domain_ids())


def settle_domain(name: bytes) -> int:
    """Take the locks of a domain; return the first code that is not 0."""
    code: int = (
        lib.vpx_rebuild(name)
        or lib.vpx_alias_set(b"settle", name, b"&x@y\0", 5)
        or lib.vpx_alias_del(b"settle", name)
    )
    return code


def difference(one: Tree, other: Tree) -> str:
    """Tell where two states differ."""
    return "; ".join(
        f"{path}: {one.get(path)} / {other.get(path)}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    )[:2000]


def whole(tree: Tree) -> Iterator[str]:
    """Tell what could not be read by vpopmail and qmail."""
    for path, (_, _, _, content) in tree.items():
        name = os.path.basename(path)
        if content is None or "/.tmp:" in path or "/.new:" in path:
            continue
        try:
            if name == "cdb" or name.endswith(".cdb"):
                cdb.read(content)
            elif name == "vpasswd":
                assert all(line.count(b":") == 6 for line in content.splitlines())
            elif name == "assign":
                assert content.splitlines()[-1:] == [b"."]
                assert all(line.count(b":") == 7 for line in content.splitlines()[:-1])
            elif name == ".dir-control":
                assert content.count(b"\n") == 8
                assert content.split(b"\n")[0].isdigit()
            elif name == "virtualdomains":
                assert all(line.count(b":") == 1 for line in content.splitlines())
        except (AssertionError, ValueError) as error:
            yield f"{path} is damaged: {error}"


# --- the calls ------------------------------------------------------------------------------------


def _encoded(function: str, *arguments: Any) -> Callable[[Installation], int]:
    raw = [each.encode() if isinstance(each, str) else each for each in arguments]
    called: Callable[..., int] = getattr(lib, function)
    return lambda place: called(*raw)


def _add_domain(place: Installation) -> int:
    code: int = lib.vpx_add_domain(b"new.com", os.fsencode(place.home), place.uid, place.gid)
    return code


def _other(place: Installation) -> Path:
    """Return a directory of root's outside of vpopmail's home, perhaps on another file system."""
    return place.qmail / "srv"


def _add_domain_there(place: Installation) -> int:
    directory = os.fsencode(_other(place))
    code: int = lib.vpx_add_domain(b"new.com", directory, place.uid, place.gid)
    return code


def _domain_there(place: Installation) -> None:
    _other(place).mkdir()
    assert _add_domain_there(place) == 0
    assert lib.vpx_alias_set(b"info", b"new.com", b"&x@y\0", 5) == 0


def _elsewhere(user: str) -> Callable[[Installation], None]:
    """Have a user's directory stand outside of the domain's."""

    def before(place: Installation) -> None:
        old, new = place.domain / user, _other(place) / user
        shutil.copytree(old, new)
        for path in (new, *new.rglob("*")):
            os.chown(path, place.uid, place.gid)
        shutil.rmtree(old)
        vpasswd = place.domain / "vpasswd"
        vpasswd.write_bytes(vpasswd.read_bytes().replace(os.fsencode(old), os.fsencode(new)))
        assert lib.vpx_rebuild(b"ex.com") == 0

    return before


def _set_limits(place: Installation) -> int:
    limits = ffi.new("struct vpx_limits *")
    assert lib.vpx_get_limits(b"ex.com", limits) == 0
    limits.maxaliases = 7
    code: int = lib.vpx_set_limits(b"ex.com", limits)
    return code


def _add_users(place: Installation) -> int:
    """Add five users in one change, two of them before the hundredth and three from it on."""
    return _in_one_change(5, 0, lambda opened: lib.vpx_bulk_commit(opened))


def make_users(count: int, first: int) -> int:
    """Begin to add users: from that one on their directories are made."""
    return _in_one_change(count, first, lambda opened: 0)


def _in_one_change(count: int, first: int, end: Callable[[Any], int]) -> int:
    rows = b"".join(
        b"\0".join((b"dan%d" % number, b"", b"=" + MD5.encode(), b"Dan", b"1", b"0", b"9M", b""))
        for number in range(count)
    )
    opened = ffi.new("struct vpx_bulk **")
    code: int = lib.vpx_bulk_open(b"ex.com", opened)
    steps: list[Callable[[], int]] = [
        lambda: lib.vpx_bulk_take(opened[0], rows, count),
        lambda: lib.vpx_bulk_check(opened[0]),
        lambda: lib.vpx_bulk_make(opened[0], first, count - first),
        lambda: end(opened[0]),
    ]
    for step in steps:
        code = code or step()
    refused = ffi.new("struct vpx_bytes *")
    if code == 0 and lib.vpx_bulk_refused(opened[0], refused) == 0 and refused.size:
        code = -2  # VA_USERNAME_EXISTS, mostly
    lib.vpx_free(refused)
    lib.vpx_bulk_close(opened[0])
    return code


def _library(place: Installation) -> Any:
    """Return the library without the binding, for what only its programs and C callers call."""
    library = clib.lib()
    assert library.vpopmail_set_home(os.fsencode(place.home), os.fsencode(place.qmail)) == 0
    return library


def _vadddomain(place: Installation) -> int:
    library, texts = (
        _library(place),
        [clib.ffi.new("char[]", t) for t in (b"secret-2", b"9M", b"a@b")],
    )
    postmaster = clib.ffi.new("struct vpopmail_postmaster *", texts)
    step = clib.ffi.new("const char **")
    home = os.fsencode(place.home)
    ids = place.uid, place.gid
    code: int = library.vpopmail_add_domain(b"new.com", home, *ids, postmaster, step)
    return code


def _setpw(place: Installation) -> int:
    library = _library(place)
    fields = {
        "pw_name": b"alice",
        "pw_passwd": MD5.encode(),
        "pw_gecos": b"Alice L.",
        "pw_dir": os.fsencode(place.domain / "alice"),
        "pw_shell": b"3M",
    }
    texts = {name: clib.ffi.new("char[]", text) for name, text in fields.items()}
    pw = clib.ffi.new("struct vqpasswd *", {**texts, "pw_uid": 1, "pw_gid": 4})
    code: int = library.vauth_setpw(pw, clib.ffi.new("char[]", b"ex.com"))
    return code


def _catchall(place: Installation) -> int:
    code: int = _library(place).vpopmail_set_catchall(b"ex.com", b"bob")
    return code


def _freed(place: Installation) -> None:
    """Have two places that were freed, and a user at another."""
    _hashed(place)
    free = place.domain / ".dir_control_free"
    free.write_text("1\n2\n")
    os.chown(free, place.uid, place.gid)


def _among_more_hosts(place: Installation) -> None:
    hosts = place.qmail / "control/rcpthosts"
    hosts.write_text(hosts.read_text().replace("al.com\n", ""))
    (place.qmail / "control/morercpthosts").write_text("al.com\nzoo.org\n")


def _ninety_seven(place: Installation) -> None:
    _count(place, 97)


def _directory_is_there(place: Installation) -> None:
    directory = place.home / "domains/new.com"
    directory.mkdir(mode=0o755)
    (directory / ".qmail-default").write_text("| old\n")
    (directory / "kept").write_text("kept\n")


def _count(place: Installation, users: int) -> None:
    control = place.domain / ".dir-control"
    lines = control.read_text().split("\n")
    lines[0] = str(users)
    control.write_text("\n".join(lines))


def _ninety_nine(place: Installation) -> None:
    _count(place, 99)


def _hashed(place: Installation) -> None:
    _ninety_nine(place)
    assert lib.vpx_add_user(b"erin", b"ex.com", b"secret-1", b"", 0) == 0


def _fifty(place: Installation) -> None:
    hosts = place.qmail / "control/rcpthosts"
    names = sorted([*hosts.read_text().split(), *(f"h{number}.org" for number in range(60))])
    hosts.write_text("".join(f"{name}\n" for name in names))


SCENARIOS = [
    Scenario("add_domain", _add_domain),
    Scenario(
        "add_domain, its directory is there",
        _add_domain,
        _directory_is_there,
        taken="/vpopmail/domains/new.com",
    ),
    Scenario("add_domain, morercpthosts", _add_domain, _fifty),
    Scenario("add_domain, on two file systems", _add_domain, apart=True),
    Scenario(
        "add_domain, in another directory",
        _add_domain_there,
        lambda place: _other(place).mkdir(),
        left=("/qmail/srv/domains", "/qmail/srv/.tmp:domains"),
    ),
    Scenario("vadddomain", _vadddomain),
    Scenario(
        "vadddomain, its directory is there",
        _vadddomain,
        _directory_is_there,
        taken="/vpopmail/domains/new.com",
    ),
    Scenario("add_alias_domain", _encoded("vpx_add_alias_domain", "new.com", "ex.com")),
    Scenario(
        "del_domain",
        _encoded("vpx_del_domain", "ex.com"),
        others=("carol@other.com",),
    ),
    Scenario(
        "del_domain, on two file systems",
        _encoded("vpx_del_domain", "ex.com"),
        others=("carol@other.com",),
        apart=True,
    ),
    Scenario(
        "del_domain, an alias domain",
        _encoded("vpx_del_domain", "al.com"),
        others=("bob@ex.com", "carol@other.com"),
    ),
    Scenario(
        "del_domain, in morercpthosts",
        _encoded("vpx_del_domain", "al.com"),
        _among_more_hosts,
        others=("bob@ex.com", "carol@other.com"),
    ),
    Scenario(
        "del_domain, in another directory",
        _encoded("vpx_del_domain", "new.com"),
        _domain_there,
        apart=True,
    ),
    Scenario("add_user", _encoded("vpx_add_user", "dave", "ex.com", "secret-2", "Dave", 0)),
    Scenario(
        "add_user, the hundredth",
        _encoded("vpx_add_user", "dave", "ex.com", "secret-2", "Dave", 0),
        _ninety_nine,
    ),
    Scenario(
        "add_user, a freed place",
        _encoded("vpx_add_user", "dave", "ex.com", "secret-2", "Dave", 0),
        _freed,
    ),
    Scenario("add_users", _add_users, _ninety_seven),
    Scenario("del_user", _encoded("vpx_del_user", "alice", "ex.com")),
    Scenario("del_user, of the hundred", _encoded("vpx_del_user", "erin", "ex.com"), _hashed),
    Scenario("del_user, freed places", _encoded("vpx_del_user", "erin", "ex.com"), _freed),
    Scenario(
        "del_user, elsewhere", _encoded("vpx_del_user", "alice", "ex.com"), _elsewhere("alice")
    ),
    Scenario(
        "del_user, on another file system",
        _encoded("vpx_del_user", "alice", "ex.com"),
        _elsewhere("alice"),
        apart=True,
    ),
    Scenario("passwd", _encoded("vpx_passwd", "alice", "ex.com", "secret-2", 0)),
    Scenario("set_user_quota", _encoded("vpx_set_user_quota", "alice", "ex.com", "5M")),
    Scenario("set_user_quota, none", _encoded("vpx_set_user_quota", "bob", "ex.com", "NOQUOTA")),
    Scenario(
        "set_user_quota, elsewhere",
        _encoded("vpx_set_user_quota", "alice", "ex.com", "5M"),
        _elsewhere("alice"),
    ),
    Scenario(
        "set_user_quota, on another file system",
        _encoded("vpx_set_user_quota", "alice", "ex.com", "5M"),
        _elsewhere("alice"),
        apart=True,
    ),
    Scenario(
        "set_user_quota, none, elsewhere",
        _encoded("vpx_set_user_quota", "bob", "ex.com", "NOQUOTA"),
        _elsewhere("bob"),
    ),
    Scenario("set_flags", _encoded("vpx_set_flags", "alice", "ex.com", 8)),
    Scenario("vauth_setpw", _setpw),
    Scenario("the catch-all", _catchall),
    Scenario(
        "set_last_auth",
        _encoded("vpx_set_last_auth", "alice", "ex.com", "192.0.2.1"),
        left=("/vpopmail/domains/ex.com/alice/.tmp:lastauth",),
    ),
    Scenario("set_limits", _set_limits),
    Scenario("rebuild", _encoded("vpx_rebuild", "ex.com")),
    Scenario("alias_add", _encoded("vpx_alias_add", "new", "ex.com", "&x@y")),
    Scenario("alias_add, a line more", _encoded("vpx_alias_add", "info", "ex.com", "&x@y")),
    Scenario("alias_remove", _encoded("vpx_alias_remove", "info", "ex.com", "&x@y.z")),
    Scenario(
        "alias_remove, the last", _encoded("vpx_alias_remove", "sales", "ex.com", "&bob@ex.com")
    ),
    Scenario("alias_set", _encoded("vpx_alias_set", "info", "ex.com", b"&n@n\0", 5)),
    Scenario("alias_set, none", _encoded("vpx_alias_set", "info", "ex.com", b"", 0)),
    Scenario("alias_del", _encoded("vpx_alias_del", "info", "ex.com")),
    Scenario("alias_del_domain", _encoded("vpx_alias_del_domain", "ex.com")),
]
