"""Copies of users/cdb and vpasswd.cdb answer only while the files are what was read.

Each test signs in until the files are copied, changes something as another program would, and
signs in again at once.
"""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb
from tests.conformance.hashes import crypt

DOMAIN = "ex.com"
OLD, NEW = "the old one", "the new one"
CHECK_SECONDS = 0.02  # CACHE_CHECK_MS
LOCAL = {"tmpfs", "ext2/ext3", "xfs", "btrfs", "f2fs", "zfs"}


def vpasswd(directory: Path, **passwords: str) -> bytes:
    lines = [
        f"{user}:{crypt(password.encode(), b'ab').decode()}:1:0::{directory}/{user}:NOQUOTA\n"
        for user, password in sorted(passwords.items())
    ]
    return "".join(lines).encode()


def put(directory: Path, text: bytes) -> None:
    """Replace vpasswd and vpasswd.cdb as vpopmail does."""
    for name, data in (("vpasswd", text), ("vpasswd.cdb", cdb.of("vpasswd", text))):
        tmp = directory / f"{name}.tmp.1"
        tmp.write_bytes(data)
        tmp.chmod(0o600)
        owner = directory.stat()
        os.chown(tmp, owner.st_uid, owner.st_gid)
        tmp.rename(directory / name)


def signs_in(password: str, user: str = "alice", domain: str = DOMAIN) -> bool:
    return v.vpopmail_auth_user(user, domain, password)


def queues() -> Iterator[str]:
    """Return the descriptors of inotify that this process has."""
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{number}") == "anon_inode:inotify":
                yield number


def watched() -> set[int]:
    """Return the inodes that this process has watched."""
    texts = [Path(f"/proc/self/fdinfo/{number}").read_text() for number in queues()]
    return {int(inode, 16) for inode in re.findall(r"ino:([0-9a-f]+)", "".join(texts))}


def on_local_disk(path: Path) -> bool:
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], stdout=subprocess.PIPE, check=True)
    return kind.stdout.decode().strip() in LOCAL


def warm(home: Any, domain: str = DOMAIN, password: str = OLD) -> None:
    """Sign in until there are copies, and see that there are."""
    for _ in range(8):
        assert signs_in(password, domain=domain)
    if on_local_disk(home.path):
        files = home.qmail / "users/cdb", domain_dir(home, domain) / "vpasswd.cdb"
        assert {path.stat().st_ino for path in files} <= watched()


def domain_dir(home: Any, domain: str = DOMAIN) -> Path:
    return Path(home.path, "domains", domain)


def add_domain(home: Any, domain: str, password: str) -> Path:
    assert v.vpopmail_add_domain(domain, os.fspath(home.path), home.uid, home.gid)
    directory = domain_dir(home, domain)
    put(directory, vpasswd(directory, alice=password, bob="bob's"))
    return directory


@pytest.fixture
def directory(home: Any) -> Path:
    """A domain whose files have been copied."""
    made = add_domain(home, DOMAIN, OLD)
    warm(home)
    return made


# --- one change of a domain ----------------------------------------------------------------------


def replaced(directory: Path, text: bytes) -> None:
    put(directory, text)


def rewritten(directory: Path, text: bytes) -> None:
    """In place, with the same size and times."""
    path = directory / "vpasswd.cdb"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(cdb.of("vpasswd", text))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def truncated(directory: Path, text: bytes) -> None:
    path = directory / "vpasswd.cdb"
    os.truncate(path, 0)
    assert not signs_in(OLD)
    path.write_bytes(cdb.of("vpasswd", text))


def truncated_in_part(directory: Path, text: bytes) -> None:
    path = directory / "vpasswd.cdb"
    os.truncate(path, 2048 + 10)
    assert not signs_in(OLD)
    replaced(directory, text)


def deleted(directory: Path, text: bytes) -> None:
    """It is made anew from vpasswd by the next look-up."""
    (directory / "vpasswd").write_bytes(text)
    (directory / "vpasswd.cdb").unlink()


def renamed_away(directory: Path, text: bytes) -> None:
    (directory / "vpasswd").write_bytes(text)
    (directory / "vpasswd.cdb").rename(directory / "kept")


def through_another_name(directory: Path, text: bytes) -> None:
    other = directory.parent / "another name"
    os.link(directory / "vpasswd.cdb", other)
    assert signs_in(OLD)
    other.write_bytes(cdb.of("vpasswd", text))


def by_descriptor(directory: Path, text: bytes) -> None:
    """By a program that had opened it long before."""
    with (directory / "vpasswd.cdb").open("r+b", buffering=0) as file:
        for _ in range(8):
            assert signs_in(OLD)
        file.write(cdb.of("vpasswd", text))
        assert signs_in(NEW)
        assert not signs_in(OLD)


def directory_exchanged(directory: Path, text: bytes) -> None:
    other = directory.with_name("other")
    other.mkdir(mode=0o700)
    os.chown(other, directory.stat().st_uid, directory.stat().st_gid)
    put(other, text)
    directory.rename(directory.with_name("gone"))
    assert not signs_in(OLD)
    other.rename(directory)


def parent_exchanged(directory: Path, text: bytes) -> None:
    domains = directory.parent
    domains.rename(domains.with_name("old domains"))
    directory.mkdir(parents=True, mode=0o700)
    owner = domains.with_name("old domains").stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    put(directory, text)


CHANGES: list[Callable[[Path, bytes], None]] = [
    replaced,
    rewritten,
    truncated,
    truncated_in_part,
    deleted,
    renamed_away,
    through_another_name,
    by_descriptor,
    directory_exchanged,
    parent_exchanged,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_at_once(
    directory: Path, home: Any, change: Callable[[Path, bytes], None]
) -> None:
    change(directory, vpasswd(directory, alice=NEW, bob="bob's"))
    assert signs_in(NEW)
    assert not signs_in(OLD)
    # And so it goes on: the new files are copied in their turn.
    warm(home, password=NEW)
    put(directory, vpasswd(directory, alice=OLD))
    assert not signs_in(NEW)
    assert signs_in(OLD)


def test_a_user_comes_and_goes(directory: Path) -> None:
    assert not signs_in("carol's", "carol")
    put(directory, vpasswd(directory, alice=OLD, carol="carol's"))
    assert signs_in("carol's", "carol")
    assert not signs_in("bob's", "bob")


def test_our_own_changes(directory: Path, home: Any) -> None:
    for number in range(6):
        assert v.vpopmail_passwd("alice", DOMAIN, f"password {number}")
        assert signs_in(f"password {number}")
        assert not signs_in(f"password {number - 1}")
        warm(home, password=f"password {number}")


def test_a_file_that_is_no_cdb(directory: Path) -> None:
    for data in (b"", b"x" * 3000, b"\xff" * 4096, cdb.make([(b"alice", b"no line")])):
        (directory / "vpasswd.cdb").write_bytes(data)
        for _ in range(10):
            assert not signs_in(OLD)


def test_a_hard_link_to_somebody_s_file_is_still_refused(home: Any, directory: Path) -> None:
    if os.geteuid() != 0 or home.uid == 0:
        pytest.skip("needs files of two owners")
    planted = home.path / "planted"
    text = vpasswd(directory, alice=NEW)
    planted.write_bytes(cdb.of("vpasswd", text))
    (directory / "vpasswd.cdb").unlink()
    os.link(planted, directory / "vpasswd.cdb")
    for _ in range(10):
        assert not signs_in(NEW)
    planted.unlink()
    for _ in range(10):
        assert signs_in(NEW)
    os.link(directory / "vpasswd.cdb", planted)
    assert not signs_in(NEW)


# --- domains -------------------------------------------------------------------------------------


def put_assign(home: Any, **paths: Path) -> None:
    """Replace assign and its cdb; the names have _ for dots, and lead to domains of that path."""
    lines = [
        f"+{name}-:{path.name}:{home.uid}:{home.gid}:{path}:-::"
        for name, path in ((key.replace("_", "."), path) for key, path in paths.items())
    ]
    text = "\n".join([*lines, ".\n"]).encode()
    users = home.qmail / "users"
    (users / "assign").write_bytes(text)
    (users / "cdb.tmp").write_bytes(cdb.of("assign", text))
    (users / "cdb.tmp").rename(users / "cdb")


def test_a_domain_moves(home: Any, directory: Path) -> None:
    other = add_domain(home, "other.com", NEW)
    warm(home)
    put_assign(home, ex_com=other, other_com=directory)
    assert signs_in(NEW)
    assert not signs_in(OLD)
    assert signs_in(OLD, domain="other.com")
    put_assign(home, other_com=directory)
    assert not signs_in(NEW)
    assert signs_in(OLD, domain="other.com")


def test_an_alias_domain_is_led_elsewhere(home: Any, directory: Path) -> None:
    other = add_domain(home, "other.com", NEW)
    put_assign(home, ex_com=directory, other_com=other, al_net=directory)
    warm(home)
    for _ in range(8):
        assert signs_in(OLD, domain="AL.net")
    put_assign(home, ex_com=directory, other_com=other, al_net=other)
    assert signs_in(NEW, domain="al.net")
    assert not signs_in(OLD, domain="al.net")


def test_a_domain_is_deleted_and_made_again(home: Any, directory: Path) -> None:
    assert v.vpopmail_del_domain(DOMAIN)
    assert not signs_in(OLD)
    add_domain(home, DOMAIN, NEW)
    assert signs_in(NEW)
    assert not signs_in(OLD)


def test_users_cdb_goes_and_comes(home: Any, directory: Path) -> None:
    path = home.qmail / "users/cdb"
    data = path.read_bytes()
    path.unlink()
    for _ in range(8):
        assert not signs_in(OLD)
    path.write_bytes(data[:2000])
    for _ in range(8):
        assert not signs_in(OLD)
    path.write_bytes(data)
    warm(home)


def test_a_link_on_the_way_is_led_elsewhere(home: Any) -> None:
    """Links to the directory of domains, and in the middle of what they lead to."""
    domains = home.path / "domains"
    for number, password in enumerate((OLD, NEW)):
        place = home.path / f"disk{number}/deeper"
        place.mkdir(parents=True)
        (place / DOMAIN).mkdir(mode=0o700)
        os.chown(place / DOMAIN, home.uid, home.gid)
        put(place / DOMAIN, vpasswd(domains / DOMAIN, alice=password))
    (home.path / "disk").symlink_to("disk0")
    domains.rmdir()
    domains.symlink_to("./disk/../disk//deeper")
    put_assign(home, ex_com=domains / DOMAIN)
    warm(home)
    swap_link(home.path / "disk", "disk1")
    assert signs_in(NEW)
    assert not signs_in(OLD)
    warm(home, password=NEW)
    swap_link(domains, os.fspath(home.path / "disk0/deeper"))
    assert signs_in(OLD)
    warm(home)
    swap_link(domains, "nowhere")
    assert not signs_in(OLD)


def test_users_cdb_is_a_link(home: Any, directory: Path) -> None:
    other = add_domain(home, "other.com", NEW)
    path, real = home.qmail / "users/cdb", home.qmail / "real"
    path.rename(real)
    path.symlink_to("../real")
    warm(home)
    put_assign(home, ex_com=other)  # makes a file of it again
    assert signs_in(NEW)
    changed = path.read_bytes()
    path.unlink()
    path.symlink_to("../real")
    warm(home)
    real.write_bytes(changed)
    assert signs_in(NEW)
    assert not signs_in(OLD)


def swap_link(link: Path, target: str) -> None:
    new = link.with_name("new link")
    new.symlink_to(target)
    new.rename(link)


def test_qmail_s_directory_is_a_link(home: Any, directory: Path, tmp_path: Path) -> None:
    other = add_domain(home, "other.com", NEW)
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to(home.qmail)
    v.configure(qmail=link)
    warm(home)
    (second / "users").mkdir(parents=True)
    first, home.__dict__["qmail"] = home.qmail, second
    put_assign(home, ex_com=other)
    home.__dict__["qmail"] = first
    swap_link(link, os.fspath(second))
    assert signs_in(NEW)
    assert not signs_in(OLD)


def test_configured_elsewhere_and_back(home: Any, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "empty/users").mkdir(parents=True)
    for _ in range(3):
        v.configure(qmail=tmp_path / "empty")
        for _ in range(8):
            assert not signs_in(OLD)
        v.configure(qmail=home.qmail)
        warm(home)
    assert len(list(queues())) <= 1


def test_many_domains(home: Any) -> None:
    """More than there may be copies of: each answers for itself, and no watches pile up."""
    count = 4200
    domains = home.path / "domains"
    names = [f"d{number}.com" for number in range(count)]
    for number, name in enumerate(names):
        path = domains / name
        path.mkdir(mode=0o700)
        os.chown(path, home.uid, home.gid)
        (path / "vpasswd.cdb").write_bytes(
            cdb.of("vpasswd", vpasswd(path, alice=f"{number % 7}"))
            if number < 7
            else (domains / names[number % 7] / "vpasswd.cdb").read_bytes()
        )
    put_assign(home, **{name.replace(".", "_"): domains / name for name in names})
    for _ in range(5):
        for number, name in enumerate(names):
            assert signs_in(f"{number % 7}", domain=name)
    assert len(watched()) < 10_000


# --- processes and threads -----------------------------------------------------------------------


@contextmanager
def child(run: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Fork; the child runs it when told to, and has to end well."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.read(reading, 1)
            run()
            status = 0
        finally:
            os._exit(status)

    def finish() -> None:
        os.write(writing, b"x")
        assert os.waitpid(process, 0)[1] == 0

    try:
        yield finish
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        os.close(writing)


def test_a_child_and_its_parent_see_each_other_s_changes(home: Any, directory: Path) -> None:
    def in_child() -> None:
        assert signs_in(NEW)
        assert not signs_in(OLD)
        warm(home, password=NEW)
        put(directory, vpasswd(directory, alice="the child's"))
        assert signs_in("the child's")

    with child(in_child) as finish:
        put(directory, vpasswd(directory, alice=NEW))
        warm(home, password=NEW)
        finish()
        assert signs_in("the child's")
        assert not signs_in(NEW)


def test_a_child_takes_nothing_from_its_parent(home: Any, directory: Path) -> None:
    """An event that a child has seen is still there for the parent."""

    def in_child() -> None:
        for _ in range(20):
            assert signs_in(NEW)
            assert not signs_in(OLD)

    with child(in_child) as finish:
        put(directory, vpasswd(directory, alice=NEW))
        finish()
        assert not signs_in(OLD)
        assert signs_in(NEW)


def test_a_program_inherits_no_queue(directory: Path) -> None:
    listed = subprocess.run(
        ["ls", "-l", "/proc/self/fd"], stdout=subprocess.PIPE, check=True, close_fds=False
    )
    assert b"inotify" not in listed.stdout


def test_the_queue_is_closed_by_others(home: Any, directory: Path) -> None:
    """As daemons do that close whatever is open; its number is then another descriptor's."""
    if not on_local_disk(home.path):
        pytest.skip("needs a file system of which files are copied")
    text = vpasswd(directory, alice=NEW)
    files = [os.fspath(directory / name) for name in ("vpasswd", "vpasswd.cdb")]
    code = f"""
def queue():
    paths = ((int(n), "/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd"))
    return next((n for n, path in paths if os.path.exists(path) or os.path.islink(path)
                 if os.readlink(path) == "anon_inode:inotify"), None)

def put(name, data):
    open(name + ".new", "wb").write(data)
    os.rename(name + ".new", name)

old = [open(name, "rb").read() for name in {files!r}]
new = [{text!r}, {cdb.of("vpasswd", text)!r}]
warm({OLD!r})
os.close(queue())
assert sign_in({OLD!r}) and not sign_in("guess")
for name, data in zip({files!r}, new):
    put(name, data)
assert sign_in({NEW!r}) and not sign_in({OLD!r})
warm({NEW!r})
reading, writing = os.pipe()
os.write(writing, b"ours")
number = queue()
os.dup2(reading, number)
for name, data in zip({files!r}, old):
    put(name, data)
for _ in range(10):
    assert sign_in({OLD!r}) and not sign_in({NEW!r})
assert os.read(number, 10) == b"ours"
for name, data in zip({files!r}, new):
    put(name, data)
time.sleep({2 * CHECK_SECONDS})
assert sign_in({NEW!r}) and not sign_in({OLD!r})
v.configure(home, qmail)
process = os.fork()
if process == 0:
    os._exit(os.fstat(number).st_ino != os.fstat(reading).st_ino)
assert os.waitpid(process, 0)[1] == 0
assert os.fstat(number).st_ino == os.fstat(reading).st_ino
"""
    run_alone(code, home)


WRITER = """
import mmap, os, struct, sys, time
from pathlib import Path
from tests import cdb
from tests.conformance.hashes import crypt
from tests.robustness.test_cache import put, rewritten, vpasswd

directory, board = Path(sys.argv[1]), open(sys.argv[2], "r+b")
shared = mmap.mmap(board.fileno(), 16)
number = 0
while not Path(sys.argv[2] + ".stop").exists():
    number += 1
    text = vpasswd(directory, alice=f"{number:08}")
    struct.pack_into("=q", shared, 0, number)
    (put, rewritten)[number % 2](directory, text)
    struct.pack_into("=q", shared, 8, number)
    time.sleep(0.002)
"""


def test_threads_while_another_process_changes(
    home: Any, directory: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whoever signs in after a change was made goes by it, and by none before it."""
    put(directory, vpasswd(directory, alice=f"{0:08}"))
    board = tmp_path / "board"
    board.write_bytes(bytes(16))
    command = [sys.executable, "-c", WRITER, os.fspath(directory), os.fspath(board)]
    # Without coverage, which would be a long way round.
    writer = subprocess.Popen(command, cwd=request.config.rootpath)
    with board.open("rb") as file:
        # Not by one mmap: free-threaded Python 3.14 miscounts who looks into it.
        def begun() -> int:
            return int(struct.unpack("=q", os.pread(file.fileno(), 8, 0))[0])

        def done() -> int:
            return int(struct.unpack("=q", os.pread(file.fileno(), 8, 8))[0])

        def watch() -> None:
            """Go on until the answers were certain after each of twenty changes."""
            seen: set[int] = set()
            end = time.monotonic() + 30
            while len(seen) < 20:
                assert time.monotonic() < end
                number = done()
                assert number == 0 or not signs_in(f"{number - 1:08}")
                matches = signs_in(f"{number:08}")
                if begun() == number:
                    assert matches
                    seen.add(number)

        try:
            with ThreadPoolExecutor(3) as pool:
                for each in [pool.submit(watch) for _ in range(3)]:
                    each.result()
        finally:
            Path(f"{board}.stop").touch()
            assert writer.wait() == 0


# --- what inotify does not tell ------------------------------------------------------------------


def run_alone(code: str, home: Any, **names: object) -> None:
    """Run code in a process of its own, after imports and names, since it can't be undone."""
    given = {"home": os.fspath(home.path), "qmail": os.fspath(home.qmail), **names}
    lines = [f"{name} = {value!r}" for name, value in given.items()]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([ALONE, *lines, "v.configure(home, qmail)", code])],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


ALONE = """
import ctypes, os, sys, time
import vpopmail_ext as v

libc = ctypes.CDLL(None, use_errno=True)

def allowed(answer):
    if answer:
        print("not allowed here:", os.strerror(ctypes.get_errno()))
        sys.exit(77)

def sign_in(password):
    return v.vpopmail_auth_user("alice", "ex.com", password)

def warm(password):
    for _ in range(10):
        assert sign_in(password), password
"""


def test_a_mount_over_the_directory(home: Any, directory: Path) -> None:
    other = add_domain(home, "other.com", NEW)
    code = f"""
warm({OLD!r})
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
allowed(libc.unshare(CLONE_NEWNS))
allowed(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
allowed(libc.mount({os.fsencode(other)!r}, {os.fsencode(directory)!r}, None, MS_BIND, None))
time.sleep({2 * CHECK_SECONDS})
assert sign_in({NEW!r}) and not sign_in({OLD!r})
warm({NEW!r})
libc.umount2({os.fsencode(directory)!r}, 2)
time.sleep({2 * CHECK_SECONDS})
assert sign_in({OLD!r}) and not sign_in({NEW!r})
"""
    run_alone(code, home)


def test_a_chroot(home: Any, directory: Path, tmp_path: Path) -> None:
    """The same paths, which lead elsewhere in another root."""
    root = tmp_path / "root"
    inside = root / home.qmail.relative_to("/") / "users"
    inside.mkdir(parents=True)
    (inside / "cdb").write_bytes((home.qmail / "users/cdb").read_bytes())
    there = root / directory.relative_to("/")
    there.mkdir(parents=True, mode=0o700)
    os.chown(there, home.uid, home.gid)
    put(there, vpasswd(directory, alice=NEW))
    code = f"""
warm({OLD!r})
try:
    os.chroot({os.fspath(root)!r})
except PermissionError:
    allowed(1)
time.sleep({2 * CHECK_SECONDS})
assert sign_in({NEW!r}) and not sign_in({OLD!r})
"""
    run_alone(code, home)


def test_more_changes_than_the_queue_holds(home: Any, directory: Path) -> None:
    """The kernel drops events then, and says so; those before were of no concern."""
    files = [directory / "vpasswd", directory / ".qmail-default"]
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the queue holds {limit} events")
    for number in range(limit + 10):
        os.utime(files[number % 2])
    put(directory, vpasswd(directory, alice=NEW))
    assert signs_in(NEW)
    assert not signs_in(OLD)
    warm(home, password=NEW)


# --- who may read, and how much ------------------------------------------------------------------


def test_others_than_the_domain_s_owner_find_nobody(home: Any, directory: Path) -> None:
    if os.geteuid() != 0 or home.uid == 0:
        pytest.skip("needs other users")
    code = f"""
for path in {[os.fspath(p) for p in (home.path, home.qmail, *home.path.parents)]!r}:
    os.chmod(path, os.stat(path).st_mode | 0o055)
warm({OLD!r})
os.seteuid(65534)
for _ in range(10):
    assert not sign_in({OLD!r})
os.seteuid(0)
warm({OLD!r})
os.seteuid({home.uid})
os.seteuid(0)
os.chown({os.fspath(home.path / "domains")!r}, {home.uid}, {home.gid})
os.seteuid({home.uid})
warm({OLD!r})
os.seteuid(0)
os.chmod({os.fspath(home.path / "domains")!r}, 0)
os.seteuid({home.uid})
assert not sign_in({OLD!r})
"""
    run_alone(code, home)


def test_a_file_too_large_is_read_in_part(home: Any, directory: Path) -> None:
    other = add_domain(home, "other.com", NEW)
    warm(home, "other.com", NEW)
    path = directory / "vpasswd.cdb"
    os.truncate(path, 200 << 20)  # a hole, after a sound cdb
    before = resident()
    for _ in range(5000):
        assert signs_in(OLD)
        assert not signs_in("guess", "nobody")
    assert resident() - before < 50 << 20
    assert path.stat().st_ino not in watched()
    if on_local_disk(home.path):
        assert (other / "vpasswd.cdb").stat().st_ino in watched()
    put(directory, vpasswd(directory, alice=NEW))
    assert signs_in(NEW)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_copies_are_bounded(home: Any) -> None:
    """Five files of 20 MB: no more than three at once."""
    if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        pytest.skip("a sanitizer keeps what is freed")
    names = [f"d{number}.com" for number in range(5)]
    for name in names:
        os.truncate(add_domain(home, name, OLD) / "vpasswd.cdb", 20 << 20)
    before = resident()
    for _ in range(4):
        for name in names:
            for _ in range(330):
                assert signs_in(OLD, domain=name)
            assert resident() - before < 85 << 20


def test_long_names(home: Any, directory: Path) -> None:
    for length in (64, 254, 255, 256, 257, 300, 5000):
        assert not signs_in(OLD, "a" * length)
        assert not signs_in(OLD, domain="a" * length)
    put(directory, vpasswd(directory, **{"a" * 300: NEW, "b" * 255: OLD}))
    for _ in range(10):
        assert signs_in(NEW, "A" * 300)
        assert signs_in(OLD, "B" * 255)
