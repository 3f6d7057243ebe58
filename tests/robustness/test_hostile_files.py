"""Files that are not what they should be: a cdb that lies, far too many lines, one that is far too
long, a directory, a pipe, a device or a loop of links where a file should be, files that shrink or
are replaced while they are read. No call hangs, crashes or takes memory for it, each has its code,
and when the files are sound again so are the calls.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb, torture
from tests.robustness.test_bad_input import (
    DOMAIN,
    ILLEGAL,
    NO_ASSIGN,
    NO_DOMAIN,
    NO_LIMITS,
    NO_UPDATE,
    NO_USER,
    SUCCESS,
    TEXTS,
    UNKNOWN,
    populate,
    said,
    works,
)
from vpopmail_ext import api
from vpopmail_ext.errors import VpopmailError

OPEN_QMAIL, DOT_QMAIL = "Could not open qmail default", "Could not open dot qmail file"


@pytest.fixture(autouse=True)
def never_hangs() -> Iterator[None]:
    faulthandler.dump_traceback_later(240 + torture.amount(0, 6000), exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def bundled() -> None:
    if v.info().library == "real":
        pytest.skip("what a real library makes of such files is its own affair")


# --- what is no file ------------------------------------------------------------------------------


def directory(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def listener(path: Path) -> None:
    at = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{at}/{path.name}")
    os.close(at)


def device(path: Path) -> None:
    """One that never ends."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make devices")


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hole(path: Path) -> None:
    """A terabyte: no disk is too small for it."""
    path.touch(0o600)
    os.truncate(path, 1 << 40)


KINDS = (pipe, link_to_device, hole, directory, loop, listener, device)
if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
    KINDS = KINDS[:3]
INSTALLATION = (
    "etc/vlimits.default etc/password_strength.conf etc/defaultdomain domains/.dir-control"
)
OF_DOMAIN = "vpasswd vpasswd.cdb .vpasswd.lock .dir-control .qmailadmin-limits .qmail-default"
OF_DOMAIN += " .dir_control_free .dir_control_free.lock"
OF_DOMAIN += " .qmail-info alice/lastauth alice/Maildir/maildirsize alice/Maildir alice"
OF_QMAIL = "users/assign users/cdb users/assign.lock"
OF_QMAIL += " control/rcpthosts control/virtualdomains control/locals control/rcpthosts.lock"
OF_QMAIL += " control/morercpthosts control/morercpthosts.cdb"
OF_QMAIL += " control/virtualdomains.lock control/locals.lock"
PLACES = {
    **{f"home/{name}": "{home}/" + name for name in INSTALLATION.split()},
    **{f"domain/{name}": "{home}/domains/" + DOMAIN + "/" + name for name in OF_DOMAIN.split()},
    **{f"qmail/{name}": "{qmail}/" + name for name in OF_QMAIL.split()},
}


def calls(home: Any) -> dict[str, Callable[[], object]]:
    """Those of PHP, each of which would succeed."""
    owner = str(home.path), home.uid, home.gid
    return {
        "auth_user": lambda: v.vpopmail_auth_user("alice", DOMAIN, "secret-1"),
        "auth_many": lambda: list(v.auth_many([("alice", DOMAIN, "secret-1")])),
        "alias_get": lambda: v.vpopmail_alias_get("info", DOMAIN),
        "alias_get_all": lambda: v.vpopmail_alias_get_all(DOMAIN),
        "passwd": lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-1"),
        "set_user_quota": lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "1M"),
        "alias_add": lambda: v.vpopmail_alias_add("info", DOMAIN, "&x@y.z"),
        "alias_del": lambda: v.vpopmail_alias_del("info", DOMAIN),
        "alias_del_domain": lambda: v.vpopmail_alias_del_domain(DOMAIN),
        "add_user": lambda: v.vpopmail_add_user("carol", DOMAIN, "secret-3"),
        "del_user": lambda: v.vpopmail_del_user("carol", DOMAIN),
        "add_alias_domain": lambda: v.vpopmail_add_alias_domain(DOMAIN, "alias.com"),
        "add_domain": lambda: v.vpopmail_add_domain("new.com", *owner),
        "del_domain": lambda: v.vpopmail_del_domain("new.com"),
        "del_alias_domain": lambda: v.vpopmail_del_domain("alias.com"),
    }


OF_THE_API: list[Callable[[], object]] = [
    lambda: list(api.domains()),
    lambda: api.default_domain(),
    lambda: list(api.users(DOMAIN)),
    lambda: api.last_auth(api.user("alice", DOMAIN)),
    lambda: api.set_last_auth(api.user("alice", DOMAIN), "192.0.2.1"),
    lambda: api.quota_usage(api.user("alice", DOMAIN)),
    lambda: api.set_limits(DOMAIN, api.limits(DOMAIN)),
    lambda: api.rebuild(DOMAIN),
    lambda: api.set_alias("info", DOMAIN, ["&x@y.z"]),
    lambda: api.set_flags("alice", DOMAIN, 0),
]


NONE: dict[str, str] = {}
_CHANGES = ("passwd", "set_user_quota", "add_user")
_DOMAINS = ("add_alias_domain", "add_domain")
# What is said where a file can't be read; the other calls don't need it. What these made was then
# not there to be deleted.
SAID = {
    "home/etc/vlimits.default": dict.fromkeys(("passwd", "add_user"), NO_LIMITS),
    "home/domains/.dir-control": {"add_domain": "Could not make domain dir"},
    "domain/vpasswd": dict.fromkeys(_CHANGES, NO_UPDATE),
    "domain/vpasswd.cdb": {"passwd": ILLEGAL, "set_user_quota": NO_USER, "add_user": NO_UPDATE},
    "domain/.vpasswd.lock": dict.fromkeys(_CHANGES, NO_UPDATE),
    "domain/.dir-control": {"add_user": NO_UPDATE},
    "domain/.dir_control_free.lock": {"add_user": NO_UPDATE},
    "domain/.qmailadmin-limits": dict.fromkeys(("passwd", "add_user"), NO_LIMITS),
    "domain/.qmail-info": {"alias_add": "Could not open dot qmail file"},
    "qmail/users/assign": dict.fromkeys(_DOMAINS, NO_ASSIGN),
    "qmail/users/cdb": dict.fromkeys((*_CHANGES, *_DOMAINS, "del_domain"), NO_ASSIGN),
    "qmail/users/assign.lock": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/rcpthosts": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/virtualdomains": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/locals": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/rcpthosts.lock": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/virtualdomains.lock": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/locals.lock": dict.fromkeys(_DOMAINS, NO_UPDATE),
    "qmail/control/morercpthosts": dict.fromkeys(_DOMAINS, NO_UPDATE),
}


def expected(place: str, kind: Callable[[Path], None], devices: bool) -> dict[str, str]:
    """What is said by which calls; `devices`: whether the file system lets them be opened."""
    texts = SAID.get(place, NONE)
    is_lock = place.endswith(".lock")
    if place == "domain/.dir_control_free":  # of which no size is no place
        of_size = {hole: NO_UPDATE, loop: ILLEGAL, link_to_device: ILLEGAL}
        return {"add_user": of_size.get(kind, SUCCESS)}
    if kind is hole:
        if place == "domain/vpasswd.cdb":  # nobody is in it
            return {"passwd": ILLEGAL, "set_user_quota": NO_USER, "add_user": SUCCESS}
        if place == "qmail/users/cdb":
            return {"passwd": ILLEGAL, "set_user_quota": NO_USER, "add_user": NO_DOMAIN}
        return NONE if is_lock else texts
    # What could be put there by the domain's owner to lead elsewhere is refused.
    refused = [loop, link_to_device]
    if not is_lock:
        refused += [pipe, device] if devices else [pipe]
    if kind in refused and (is_lock or place.startswith("domain/") or "dir-control" in place):
        return dict.fromkeys(texts, ILLEGAL)
    return texts


def have_it_used(home: Any, directory: Path) -> None:
    """Have the next user come into a freed place, and the next domain into morercpthosts."""
    free = directory / ".dir_control_free"
    free.write_text("7\n")
    os.chown(free, home.uid, home.gid)
    with (home.qmail / "control/rcpthosts").open("a") as hosts:
        hosts.writelines(f"{number}.example.org\n" for number in range(50))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file(home: Any, place: str, kind: Callable[[Path], None]) -> None:
    have_it_used(home, populate(home))
    path = Path(PLACES[place].format(home=home.path, qmail=home.qmail))
    moved = path.with_name("moved")
    if os.path.lexists(path):
        path.rename(moved)
    kind(path)
    memory = resident_most()
    texts = {name: said(call) for name, call in calls(home).items()}
    for call in OF_THE_API:
        with suppress(VpopmailError):
            call()
    assert set(texts.values()) <= set(TEXTS.values()) - {UNKNOWN}
    wanted = expected(place, kind, not os.statvfs(home.path).f_flag & os.ST_NODEV)
    assert {name: texts[name] for name in wanted} == wanted
    if not os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        assert resident_most() - memory < 50 << 20
    # As it was, all is well.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if os.path.lexists(moved):
        moved.rename(path)
    elif place == "domain/vpasswd.cdb":
        api.rebuild(DOMAIN)
    for name in ("alias.com", "new.com"):
        said(v.vpopmail_del_domain, name)
    assert works(home)


def resident_most() -> int:
    """Return the bytes that this process ever had at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- a cdb that lies -----------------------------------------------------------------------------

EDGE = 2**32 - 1
H = cdb.HEADER


def with_table(number: int, table: int, slots: int, body: bytes = b"") -> bytes:
    """Return a cdb with these entries for the table that a hash's slot is in."""
    header = bytearray(cdb.HEADER)
    struct.pack_into("<II", header, number % cdb.TABLES * 8, table, slots)
    return bytes(header) + body


def slots(count: int, at: int, number: int) -> bytes:
    return struct.pack("<II", number, at) * count


def record(key: bytes, value: bytes, key_size: int, value_size: int) -> bytes:
    return struct.pack("<II", key_size, value_size) + key + value


def lies(key: bytes) -> dict[str, bytes]:
    """Return what a look-up of the key is lied to by."""
    of, own, size = cdb.hash_of(key), record(key, b"", len(key), 0), len(key)
    other = record(key[::-1], b"", size, 0)  # of its length
    after = H + len(own)
    return {
        "table beyond the end": with_table(of, EDGE, 1),
        "table at the last byte": with_table(of, EDGE - 7, EDGE),
        "table in the header": with_table(of, 0, EDGE),
        "as many slots as there can be": with_table(of, H, EDGE, slots(1000, EDGE, of)),
        "slots to nowhere": with_table(of, H, 100, slots(100, EDGE - 3, of)),
        "a loop of one record": with_table(of, after, 200_000, other + slots(200_000, H, of)),
        "a loop that has no end": with_table(of, after, EDGE, other + slots(200_000, H, of)),
        "slots of another hash": with_table(of, H, EDGE, slots(200_000, H, of ^ 1)),
        "a record that is its own slot": with_table(of, H, 1, slots(1, H, of)),
        "a key of 4 GiB": with_table(of, H + 8, 1, record(b"", b"", EDGE, 0) + slots(1, H, of)),
        "a value of 4 GiB": with_table(
            of, after, 1, record(key, b"", size, EDGE) + slots(1, H, of) + b"x" * 5000
        ),
        "a value up to the end and one more": with_table(
            of, after, 1, record(key, b"", size, 9) + slots(1, H, of)
        ),
        "cut in the header": with_table(of, H, 1)[:1000],
        "cut in a slot": with_table(of, H, 1, b"\0\0\0"),
    }


ALICE, EXAMPLE = lies(b"alice"), lies(b"!%s-" % DOMAIN.encode())
# What is sound as far as it is looked at; in a hole others are, too: nothing but zeros is nobody's.
NOT_THERE = {"a key of 4 GiB", "a record that is its own slot"}


@pytest.mark.parametrize("lie", ALICE)
@pytest.mark.parametrize("sparse", [False, True], ids=["", "and a hole of 4 GiB"])
def test_a_cdb_that_lies(home: Any, lie: str, sparse: bool) -> None:
    path = populate(home)
    memory = resident_most()
    for file, lying in ((path / "vpasswd.cdb", ALICE), (home.qmail / "users/cdb", EXAMPLE)):
        sound = file.read_bytes()
        file.write_bytes(lying[lie])
        if sparse:
            os.truncate(file, 2**32 - 1)
        assert not v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
        assert list(v.auth_many([("alice", DOMAIN, "secret-1")] * 10)) == [False] * 10
        told = said(v.vpopmail_passwd, "alice", DOMAIN, "secret-9")
        if lying is ALICE or (sparse and told == ILLEGAL) or lie in NOT_THERE:
            assert told == ILLEGAL
        else:
            assert told == NO_ASSIGN
        assert said(v.vpopmail_set_user_quota, "alice", DOMAIN, "1M") != SUCCESS
        assert said(v.vpopmail_del_user, "alice", DOMAIN) != SUCCESS
        file.write_bytes(sound)
    if not os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        assert resident_most() - memory < 50 << 20
    assert works(home)


# --- too much ------------------------------------------------------------------------------------


@pytest.mark.torture
def test_a_vpasswd_of_many_lines(home: Any) -> None:
    path = populate(home)
    count = int(torture.amount(50_000, 10_000_000))
    if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        count //= 10
    with (path / "vpasswd").open("a") as file:
        for start in range(0, count, 10_000):
            numbers = range(start, min(start + 10_000, count))
            file.writelines(f"u{number:08}:x:1:0:::NOQUOTA\n" for number in numbers)
    began = time.monotonic()
    api.rebuild(DOMAIN)
    rebuilt = time.monotonic() - began
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    began = time.monotonic()
    assert sum(1 for _ in api.users(DOMAIN)) == count + 2
    listed = time.monotonic() - began
    began = time.monotonic()
    assert works(home)
    torture.tell(
        f"{count:,} lines: rebuilt in {rebuilt:.1f} s, listed in {listed:.1f} s, nine changes made "
        f"in {time.monotonic() - began:.1f} s"
    )


@pytest.mark.torture
@pytest.mark.parametrize("byte", [b"a", b":", b"\0"])
def test_a_line_without_an_end(home: Any, byte: bytes) -> None:
    """No line of an account is so long: the change is refused, and the file stays as it is."""
    path = populate(home)
    size = int(torture.amount(4, 1 << 10)) << 20
    sound = (path / "vpasswd").read_bytes()
    with (path / "vpasswd").open("ab") as file:
        for _ in range(size >> 20):
            file.write(byte * (1 << 20))
    memory = resident_most()
    for call in (
        lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-1"),
        lambda: v.vpopmail_add_user("carol", DOMAIN, "secret-3"),
        lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "1M"),
        lambda: v.vpopmail_del_user("bob", DOMAIN),
    ):
        assert said(call) == NO_UPDATE
    with pytest.raises(VpopmailError, match=NO_UPDATE):
        api.rebuild(DOMAIN)
    with pytest.raises(VpopmailError, match=NO_UPDATE):
        list(api.users(DOMAIN))
    if not os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        assert resident_most() - memory < 50 << 20
    assert (path / "vpasswd").stat().st_size == len(sound) + size
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    os.truncate(path / "vpasswd", len(sound))
    assert works(home)
    torture.tell(f"a line of {size:,} bytes")


def test_a_large_file_is_an_administrators(home: Any) -> None:
    """It may have more in qmail's directory than vpopmail's owner can have root read."""
    populate(home)
    assign, default = home.qmail / "users/assign", home.path / "etc/defaultdomain"
    long = b"#" * (17 << 20)
    assign.write_bytes(assign.read_bytes().removesuffix(b".\n") + long + b"\n.\n")
    default.write_bytes(DOMAIN.encode() + b"\n" + long)
    assert said(lambda: v.vpopmail_add_alias_domain(DOMAIN, "alias.com")) == SUCCESS
    assert {"alias.com", DOMAIN} <= {domain.name for domain in api.domains()}
    assert long in assign.read_bytes()
    if os.geteuid() == 0:
        os.chown(default.parent, home.uid, home.gid)
        assert api.default_domain() is None
        os.chown(default.parent, 0, 0)
    assert api.default_domain() == DOMAIN


# --- files that change while they are read -------------------------------------------------------

CHANGER = """
import os, random, sys, time
from contextlib import suppress
from pathlib import Path

random.seed(1)
files = [Path(name) for name in sys.argv[1:]]
sound = {file: file.read_bytes() for file in files}
os.close(1)
while not sys.stdin.closed:
    file = random.choice(files)
    kept = sound[file]
    beside = file.with_name("beside")
    for _ in range(20):
        if random.randrange(2):
            with suppress(FileNotFoundError), file.open("r+b") as opened:
                opened.truncate(random.randrange(len(kept) + 1))
                opened.seek(0)
                opened.write(kept)
        else:
            beside.write_bytes(kept[: random.randrange(len(kept) + 1)])
            beside.rename(file)
            beside.write_bytes(kept * random.randrange(1, 3))
            beside.rename(file)
    beside.write_bytes(kept)
    beside.rename(file)
    if os.getppid() == 1:
        break
"""
IN_DOMAIN = "vpasswd.cdb vpasswd .qmail-info .dir-control .qmailadmin-limits"
IN_QMAIL = "users/cdb users/assign control/rcpthosts control/virtualdomains"
IN_HOME = "domains/.dir-control etc/vlimits.default etc/password_strength.conf"


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore:vpopmail error")
def test_files_that_shrink_while_they_are_read(home: Any) -> None:
    """And those of which there is a copy in memory: nothing is mapped that could go."""
    path = populate(home)
    api.set_limits(DOMAIN, api.limits(DOMAIN))
    files = [path / name for name in IN_DOMAIN.split()]
    files += [home.qmail / name for name in IN_QMAIL.split()]
    files += [home.path / name for name in IN_HOME.split()]
    sound = {file: file.read_bytes() for file in files}
    command = [sys.executable, "-c", CHANGER, *map(str, files)]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = [0] * 5
    stop = threading.Event()
    changing, told = calls(home), set()

    def look() -> None:
        assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1") in (True, False)
        assert not v.vpopmail_auth_user("alice", DOMAIN, "guess")
        v.vpopmail_alias_get("info", DOMAIN)
        with suppress(VpopmailError):
            list(api.users(DOMAIN))

    def change() -> None:
        for call in changing.values():
            call()
            told.add(v.vpopmail_error())
        for call in OF_THE_API:
            with suppress(VpopmailError):
                call()

    def go_on(number: int, work: Callable[[], None]) -> None:
        while not stop.is_set() or not done[number]:
            work()
            done[number] += 1

    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as changer:
        assert changer.stdout is not None
        changer.stdout.read()  # it has read the files
        with ThreadPoolExecutor(len(done)) as pool:
            running = [pool.submit(go_on, number, look) for number in range(len(done) - 1)]
            running.append(pool.submit(go_on, len(done) - 1, change))
            time.sleep(torture.amount(1, 60))
            stop.set()
        changer.kill()
    for each in running:
        each.result()
    for file, content in sound.items():
        file.write_bytes(content)
        file.with_name("beside").unlink(missing_ok=True)
    assert told <= set(TEXTS.values()) - {UNKNOWN}
    assert SUCCESS in told
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    assert works(home)
    torture.tell(f"{sum(done):,} rounds of calls")
