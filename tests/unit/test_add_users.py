"""Many users added at once: what one after the other gives, or nothing."""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import vpopmail_ext
from tests import cdb, torture
from tests.conformance import hashes
from tests.conftest import Home, compiled_in_home, open_to_all, scratch_home
from tests.linked import REAL, bundled_alone
from tests.robustness import strike
from vpopmail_ext import api, bulk, errors
from vpopmail_ext.records import NewUser, Quota

PASSWORD = "s3cret-PW"
# Each call syncs what it has written, which a file system in memory does at once.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# Also one of MD5, which 5.4.33 makes.
HASH = re.compile(hashes.FORM.pattern + rb"|\$1\$[./\w]{8}\$[./\w]{22}")

Snapshot = dict[str, tuple[object, ...]]


@pytest.fixture
def mail(home: Home) -> Home:
    """An installation with the domains one.com and two.com."""
    add_domains(home)
    return home


def add_domains(home: Home) -> None:
    for name in ("one.com", "two.com"):
        api.add_domain(name, directory=str(home.path), uid=home.uid, gid=home.gid)


def directory(home: Home, domain: str = "one.com") -> Path:
    return home.path / "domains" / domain


def read(path: Path) -> bytes | None:
    """Return a file's bytes; hashes, and the domain in paths, are the same for all."""
    if path.name == "vpasswd.cdb":
        assert path.read_bytes() == cdb.of("vpasswd", (path.parent / "vpasswd").read_bytes())
        return None
    data = HASH.sub(b"HASH", path.read_bytes())
    return re.sub(rb"/domains/\w+\.com/", b"/domains/D/", data)


def snapshot(top: Path) -> Snapshot:
    """Return all that is on disk below a directory."""
    found: Snapshot = {}
    for at, directories, files in os.walk(top):
        for name in directories + files:
            path = Path(at, name)
            status = path.lstat()
            about = stat.filemode(status.st_mode), status.st_uid, status.st_gid
            found[str(path.relative_to(top))] = (*about, name in files and read(path))
    return found


def one_by_one(domain: str, users: list[NewUser]) -> None:
    for user in users:
        assert user.password is not None
        api.add_user(user.name, domain, user.password, gecos=user.gecos, apop=user.apop)
        if user.quota is not None:
            api.set_quota(user.name, domain, user.quota)
        if user.flags:
            api.set_flags(user.name, domain, user.flags)


# --- the same as one after the other --------------------------------------------------------------


def test_what_is_on_disk(mail: Home) -> None:
    users = [
        NewUser("Zoe", PASSWORD, "Zoe Z."),
        NewUser("ann", PASSWORD, apop=True),
        NewUser("bob", PASSWORD, quota=Quota(5 * 2**20, 100), flags=api.UserFlags.NO_POP),
        NewUser("eve", PASSWORD, quota=Quota()),
    ]
    (mail.path / "etc/vlimits.default").write_text("default_quota 1000\n")
    assert api.add_users("ONE.com", users) == 4
    one_by_one("two.com", users)
    assert snapshot(directory(mail)) == snapshot(directory(mail, "two.com"))
    assert (directory(mail) / "ann/Maildir/maildirsize").read_text() == "1000S\n0 0\n"
    for user in api.users("one.com"):
        assert api.authenticate(user.name, "one.com", PASSWORD) == user


def test_each_hash_has_a_salt_of_its_own(mail: Home) -> None:
    api.add_users("one.com", [(f"user{n}", PASSWORD) for n in range(20)])
    stored = [user.password_hash.encode() for user in api.users("one.com")]
    assert all(HASH.fullmatch(hash_) for hash_ in stored)
    assert len({hash_.split(b"$")[2] for hash_ in stored}) == 20


NAMES = st.text("abcxyz.-+_~!1", min_size=2, max_size=6).filter(lambda name: name != "..")
NEW_USERS = st.builds(
    NewUser,
    name=NAMES,
    password=st.text(
        # A library that keeps clear passwords takes no newline.
        st.characters(codec="utf-8", exclude_characters="\0\n" if REAL else "\0"),
        min_size=1,
        max_size=20,
    ),
    gecos=st.text("Ab ,é", max_size=10),
    apop=st.booleans(),
    quota=st.none() | st.builds(Quota, st.none() | st.integers(1, 10**9)),
    flags=st.sampled_from([api.UserFlags(0), api.UserFlags.NO_IMAP | api.UserFlags.V_USER1]),
)
FREED = st.lists(st.sampled_from([b"0", b"7", b"0/b", b"", b"no/place", b"../up"]), max_size=4)


@pytest.mark.torture
@settings(max_examples=int(torture.amount(25, 2000)), deadline=None)
@given(
    st.lists(NEW_USERS, max_size=6, unique_by=lambda user: user.name),
    # What is freed and no place goes before a real library is called.
    st.lists(NEW_USERS, min_size=int(REAL), max_size=12, unique_by=lambda user: user.name),
    st.sampled_from([0, 90, 95, 199, 6199, 6295, 6299]),
    FREED,
    st.sampled_from(["NOQUOTA", "default_quota 4096\ndefault_maxmsgcount 7\n"]),
    st.booleans(),
)
def test_any_batch_gives_what_one_after_the_other_does(
    first: list[NewUser],
    batch: list[NewUser],
    count: int,
    freed: list[bytes],
    limits: str,
    unsorted: bool,
) -> None:
    there = {user.name for user in first}
    batch = [user for user in batch if user.name not in there]
    assume(batch or not REAL)
    torture.count("batches of up to 12")
    before = vpopmail_ext.info()
    with tempfile.TemporaryDirectory(dir=MEMORY) as scratch:
        home = compiled_in_home() if REAL else scratch_home(Path(scratch))
        try:
            vpopmail_ext.configure(home=home.path, qmail=home.qmail)
            add_domains(home)
            for domain in ("one.com", "two.com"):
                at = directory(home, domain)
                one_by_one(domain, first)
                begin_at(at, count, freed)
                if batch:
                    (at / ".qmailadmin-limits").write_text(limits)
                if unsorted and first:
                    lines = re.findall(rb"[^\n]*\n", (at / "vpasswd").read_bytes())
                    (at / "vpasswd").write_bytes(b"".join(reversed(lines)))
                    api.rebuild(domain)
            assert api.add_users("one.com", batch, threads=2) == len(batch)
            one_by_one("two.com", batch)
            assert snapshot(directory(home)) == snapshot(directory(home, "two.com"))
        finally:
            vpopmail_ext.configure(home=before.home, qmail=before.qmail)


def begin_at(directory: Path, count: int, freed: list[bytes]) -> None:
    """Have a domain as after so many users and some deletions."""
    place = {0: "", 90: "", 95: "", 199: "0"}.get(count, "z")
    index = {0: 0, 90: 0, 95: 0, 199: 0}.get(count, 61)
    text = f"{count}\n0\n3\n0 0 0\n61 61 61\n0 2 4\n{index} 0 0\n{place}\n"
    (directory / ".dir-control").write_text(text)
    if freed:
        (directory / ".dir_control_free").write_bytes(b"".join(line + b"\n" for line in freed))


def test_more_than_a_hashed_directory_takes(mail: Home) -> None:
    users = [(f"user{n:03}", PASSWORD) for n in range(205)]
    told: list[tuple[int, int]] = []
    api.add_users("one.com", iter(users), progress=lambda *counts: told.append(counts))
    for name, password in users:
        api.add_user(name, "two.com", password)
    assert snapshot(directory(mail)) == snapshot(directory(mail, "two.com"))
    assert told[0] == (0, 205)
    assert told[-1] == (205, 205)
    assert told == sorted(told)


def test_none_at_all(mail: Home) -> None:
    before = snapshot(mail.path)
    told: list[tuple[int, int]] = []
    assert api.add_users("one.com", [], progress=lambda *counts: told.append(counts)) == 0
    assert snapshot(mail.path) == before
    assert told == [(0, 0)]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads(mail: Home, threads: int) -> None:
    api.add_users("one.com", [(f"user{n}", PASSWORD) for n in range(30)], threads=threads)
    assert len(list(api.users("one.com"))) == 30


def test_no_threads(mail: Home) -> None:
    with pytest.raises(ValueError, match="threads must be 1 or more, not 0"):
        api.add_users("one.com", [], threads=0)


# --- forms of users -------------------------------------------------------------------------------


def test_tuples(mail: Home) -> None:
    rows: list[bulk.AnyUser] = [
        ("ann", PASSWORD),
        ("bob", PASSWORD, "Bob B."),
        ("eve", PASSWORD, "", True),
    ]
    api.add_users("one.com", rows)
    found = [(user.name, user.gecos, user.apop) for user in api.users("one.com")]
    assert found == [("ann", "ann", False), ("bob", "Bob B.", False), ("eve", "eve", True)]


def test_users_of_another_domain_keep_their_passwords(mail: Home) -> None:
    api.add_users("one.com", [NewUser("ann", PASSWORD, "Ann A.", True, Quota(1000))])
    api.set_flags("ann", "one.com", api.UserFlags.NO_POP)
    assert api.add_users("two.com", api.users("one.com")) == 1
    there, here = (api.user("ann", domain) for domain in ("one.com", "two.com"))
    assert api.authenticate("ann", "two.com", PASSWORD) == here
    for name in ("gecos", "apop", "quota", "flags", "password_hash"):
        assert getattr(there, name) == getattr(here, name)


def test_a_hash_that_nobody_has_a_password_for(mail: Home) -> None:
    api.add_users("one.com", [NewUser("ann", password_hash="")])
    assert api.user("ann", "one.com").password_hash == ""
    assert api.authenticate("ann", "one.com", "") is None


def test_a_password_with_a_newline_breaks_no_line(mail: Home) -> None:
    """It is taken, or refused where vpasswd has clear passwords."""
    with suppress(errors.InvalidValue):
        api.add_user("ann", "one.com", "one\ntwo")
    with suppress(errors.UsersRefused):
        api.add_users("one.com", [("bob", "one\ntwo")])
    api.add_user("carol", "one.com", PASSWORD)
    with suppress(errors.InvalidValue):
        api.set_password("carol", "one.com", "one\ntwo")
    names = {user.name for user in api.users("one.com")}
    assert names in ({"ann", "bob", "carol"}, {"carol"})
    assert api.user("carol", "one.com").gecos == "carol"


# --- refusals -------------------------------------------------------------------------------------


@contextmanager
def nothing_is_done(home: Home) -> Iterator[None]:
    descriptors, before = len(os.listdir("/proc/self/fd")), snapshot(home.path)
    yield
    after = snapshot(home.path)
    # A look-up in a domain without users makes its lock, a real library more that says nothing.
    for name in (".vpasswd.lock", ".dir_control_free.lock"):
        for found in (before, after):
            found.pop(f"domains/one.com/{name}", None)
    empty = Path(home.path, "domains/one.com/vpasswd")
    if REAL and "domains/one.com/vpasswd" not in before and empty.exists():
        assert empty.read_bytes() == b""
        for name in ("vpasswd", "vpasswd.cdb"):
            after.pop(f"domains/one.com/{name}")
    assert after == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


REFUSED: list[tuple[bulk.AnyUser, type[errors.VpopmailError], str]] = [
    (("x", PASSWORD), errors.InvalidName, "Illegal username: x@one.com"),
    (("b/b", PASSWORD), errors.InvalidName, "Illegal username: b/b@one.com"),
    (("", PASSWORD), errors.InvalidName, "Illegal username: @one.com"),
    (("u" * 65, PASSWORD), errors.TooLong, "user name too long"),
    (("bob", ""), errors.WeakPassword, "requires more characters : bob@one.com"),
    (("bob", "p" * 512), errors.TooLong, "password too long"),
    (("bob", PASSWORD, "a:b"), errors.InvalidValue, "bad character: bob@one.com"),
    (("bob", PASSWORD, "g" * 65), errors.TooLong, "gecos too long"),
    (("ALICE", PASSWORD), errors.UserExists, "Username exists: alice@one.com"),
    (("taken", PASSWORD), errors.UserExists, "User's directory already exists: taken@one.com"),
    (("vpasswd", PASSWORD), errors.UserExists, "User's directory already exists"),
    (("a\0b", PASSWORD), errors.InvalidValue, "a NUL in name"),
    (NewUser("bob"), errors.InvalidValue, "bob: give a password or a password_hash"),
    (NewUser("bob", PASSWORD, password_hash="x"), errors.InvalidValue, "bob: give a password or"),
    (NewUser("bob", password_hash="a:b"), errors.InvalidValue, "bad character: bob@one.com"),
    (NewUser("bob", password_hash="h" * 129), errors.TooLong, "password too long"),
    (NewUser("bob", PASSWORD, quota=Quota(10**20)), errors.TooLong, "quota too long"),
    (NewUser("bob", PASSWORD, flags=-1), errors.InvalidValue, "flags must be from 0"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("user", "kind", "text"), REFUSED)
def test_a_user_who_is_refused(
    mail: Home, user: bulk.AnyUser, kind: type[errors.VpopmailError], text: str
) -> None:
    api.add_user("alice", "one.com", PASSWORD)
    (directory(mail) / "taken").mkdir()
    if kind is errors.WeakPassword and not vpopmail_ext.info().password_policy:
        pytest.skip("it has no policy")
    with nothing_is_done(mail), pytest.raises(errors.UsersRefused) as caught:
        api.add_users("one.com", [("carol", PASSWORD), user])
    (refused,) = caught.value.refused
    assert refused.row == 2
    assert isinstance(refused.error, kind)
    assert text in str(refused.error)
    assert caught.value.code == refused.error.code
    assert f"one.com: none was added, for row 2: {refused.error}" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_every_row_that_is_refused_is_told(mail: Home) -> None:
    api.add_user("alice", "one.com", PASSWORD)
    rows = [(f"user{n}", PASSWORD) for n in range(1500)]
    rows[3], rows[7], rows[1200] = ("x", PASSWORD), ("USER5", PASSWORD), ("alice", PASSWORD)
    rows[1300:1305] = [("bad name", PASSWORD)] * 5
    with nothing_is_done(mail), pytest.raises(errors.UsersRefused) as caught:
        api.add_users("one.com", rows)
    told = [(refused.row, refused.name, refused.error.code) for refused in caught.value.refused]
    assert told == [
        (4, "x", -1),
        (8, "user5", -2),
        (1201, "alice", -2),
        *((row, "bad name", -1) for row in range(1301, 1306)),
    ]
    assert str(caught.value).endswith("; and 3 more")
    assert isinstance(caught.value, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert [refused.row for refused in again.refused] == [row for row, _, _ in told]


def test_only_the_look_up_file_has_the_user(mail: Home) -> None:
    api.add_user("alice", "one.com", PASSWORD)
    (directory(mail) / "vpasswd").write_text("")
    with pytest.raises(errors.UsersRefused, match="row 1: Username exists: alice"):
        api.add_users("one.com", [("alice", PASSWORD)])


def test_a_domain_that_is_not_there(mail: Home) -> None:
    with nothing_is_done(mail), pytest.raises(errors.NoSuchDomain, match=r"nope\.com"):
        api.add_users("nope.com", [("bob", PASSWORD)])


def test_a_user_of_no_known_form(mail: Home) -> None:
    with nothing_is_done(mail), pytest.raises(TypeError):
        api.add_users("one.com", [("carol", PASSWORD), (1, 2)])  # type: ignore[list-item]


def test_users_that_can_t_be_read_to_the_end(mail: Home) -> None:
    def users() -> Iterator[bulk.AnyUser]:
        yield "carol", PASSWORD
        raise OSError("the file ends here")

    with nothing_is_done(mail), pytest.raises(OSError, match="the file ends here"):
        api.add_users("one.com", users())


# --- errors half way ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 12, 40])
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_progress_ends_it(mail: Home, at: int, kind: type[BaseException]) -> None:
    def progress(done: int, count: int) -> None:
        if done >= at:
            raise kind("enough")

    with nothing_is_done(mail), pytest.raises(kind, match="enough"):
        api.add_users(
            "one.com", ((f"user{n}", PASSWORD) for n in range(40)), threads=2, progress=progress
        )
    assert api.add_users("one.com", [("user1", PASSWORD)]) == 1


def before_any_is_there(work: Callable[[], object]) -> bulk.Progress:
    """Return a progress that does something, once, when the rows are checked."""
    left = [work]

    def progress(done: int, count: int) -> None:
        # The bundled library adds them after the last call, a real one after the first.
        if left and (REAL or done == count):
            left.pop()()

    return progress


def test_another_adds_one_of_them_meanwhile(mail: Home) -> None:
    with pytest.raises(errors.UsersRefused) as caught:
        api.add_users(
            "one.com",
            [("ann", PASSWORD), ("bob", PASSWORD)],
            progress=before_any_is_there(lambda: api.add_user("bob", "one.com", PASSWORD)),
        )
    assert [refused.row for refused in caught.value.refused] == [2]
    assert [user.name for user in api.users("one.com")] == ["bob"]
    assert (directory(mail) / ".dir-control").read_text().startswith("1\n")
    assert sorted(path.name for path in directory(mail).iterdir() if path.is_dir()) == ["bob"]


def test_others_change_the_domain_meanwhile(mail: Home) -> None:
    users: list[bulk.AnyUser] = [(f"user{n:03}", PASSWORD) for n in range(0, 200, 2)]
    others: list[bulk.AnyUser] = [(f"user{n:03}", PASSWORD) for n in range(1, 20, 2)]
    api.add_users(
        "one.com", users, progress=before_any_is_there(lambda: api.add_users("one.com", others))
    )
    api.add_users("two.com", others)
    api.add_users("two.com", users)
    assert snapshot(directory(mail)) == snapshot(directory(mail, "two.com"))


def test_something_stands_where_a_hashed_directory_is_to_be(mail: Home) -> None:
    begin_at(directory(mail), 95, [])
    (directory(mail) / "0").write_text("a file")
    with nothing_is_done(mail), pytest.raises(errors.VpopmailError):
        api.add_users("one.com", [(f"user{n}", PASSWORD) for n in range(10)])


@bundled_alone("a full disk is as the library has it")
def test_the_disk_takes_no_new_vpasswd(mail: Home) -> None:
    begin_at(directory(mail), 95, [])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def hinder() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with nothing_is_done(mail), pytest.raises(errors.StorageFailed, match="Could not update"):
            api.add_users(
                "one.com",
                [(f"user{n}", PASSWORD) for n in range(10)],
                progress=before_any_is_there(hinder),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# --- a process that ends half way -----------------------------------------------------------------

staging = bundled_alone("what a killed process has added stays")

KILLED = """
import os, signal, sys
import vpopmail_ext
from vpopmail_ext import api
vpopmail_ext.configure(sys.argv[1], sys.argv[2])
def progress(done, count):
    if done == count:
        print("made", flush=True)
        sys.stdin.readline()
api.add_users("one.com", [(f"user{n:03}", "s3cret-PW") for n in range(120)], progress=progress)
"""


@pytest.fixture
def half_way(mail: Home) -> Iterator[subprocess.Popen[str]]:
    """A process that has made all directories and waits for a line before it adds the users."""
    command = [sys.executable, "-c", KILLED, str(mail.path), str(mail.qmail)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        yield process
        process.kill()


def staged(home: Home) -> list[Path]:
    return sorted(directory(home).glob(".adding:/*"))


@staging
def test_what_a_killed_process_leaves_goes_with_the_next_user(
    mail: Home, half_way: subprocess.Popen[str]
) -> None:
    assert len(staged(mail)) == 1
    assert len(list(staged(mail)[0].iterdir())) == 120
    api.add_user("bob", "one.com", PASSWORD)
    assert len(staged(mail)) == 1  # it lives
    half_way.kill()
    half_way.wait()
    api.add_user("carol", "one.com", PASSWORD)
    assert not (directory(mail) / ".adding:").exists()
    assert [user.name for user in api.users("one.com")] == ["bob", "carol"]


@staging
def test_what_was_moved_by_a_killed_process_goes_too(
    mail: Home, half_way: subprocess.Popen[str]
) -> None:
    half_way.kill()
    half_way.wait()
    (left,) = staged(mail)
    # As it is when the process ends after some were moved, and one of them added.
    begin_at(directory(mail), 0, [])
    (directory(mail) / "0").mkdir()
    (left / "user000").rename(directory(mail) / "user000")
    (left / "user001").rename(directory(mail) / "user001")
    (left / "user100").rename(directory(mail) / "0/user100")
    line = f"user001:x:1:0:g:{directory(mail)}/user001:NOQUOTA\n"
    (directory(mail) / "vpasswd").write_text(line)
    noted = ["user000", "user001", "0/", "0/user100", "0/user101", "../../etc/", "../../etc/gone"]
    noted += ["/", "..", "0/..", "./x", "", "one/", "vpasswd", "1/user001"]
    (directory(mail) / "one").mkdir()
    (directory(mail) / "1/user001").mkdir(parents=True)
    (left / ":paths").write_text("".join(f"{path}\n" for path in noted))
    etc = snapshot(mail.path / "etc")
    api.add_user("bob", "one.com", PASSWORD)
    names = {path.name for path in directory(mail).iterdir() if path.is_dir()}
    assert names == {"user001", "bob", "one", "1"}
    assert (directory(mail) / "1/user001").is_dir()
    assert [user.name for user in api.users("one.com")] == ["bob", "user001"]
    assert snapshot(mail.path / "etc") == etc


@staging
def test_what_a_batch_of_any_size_has_moved_goes(mail: Home) -> None:
    """Its note of what it moves may have more bytes than are read of a file of others."""
    name = "a" * 64
    api.add_user(name, "one.com", PASSWORD)
    left = directory(mail) / ".adding:/0"
    left.mkdir(0o700, parents=True)
    (directory(mail) / "moved/Maildir").mkdir(parents=True)
    (left / ":paths").write_text(f"{name}\n" * ((17 << 20) // 65) + "moved\n")
    api.add_user("bob", "one.com", PASSWORD)
    assert not left.parent.exists()
    assert {path.name for path in directory(mail).iterdir() if path.is_dir()} == {name, "bob"}
    assert [user.name for user in api.users("one.com")] == [name, "bob"]


def test_what_another_user_put_there_is_left_alone(mail: Home) -> None:
    if os.geteuid() != 0 or (mail.uid, mail.gid) != (89, 89):
        pytest.skip("needs another user")
    planted = directory(mail) / ".adding:/0"
    planted.mkdir(parents=True)
    (planted / ":paths").write_text("bob\n")
    os.chown(planted, 89, 89)
    api.add_users("one.com", [("bob", PASSWORD)])
    api.add_user("carol", "one.com", PASSWORD)
    assert (directory(mail) / "bob/Maildir").is_dir()
    assert staged(mail) == [planted]


def test_a_link_where_the_directories_are_to_be_made(mail: Home, tmp_path: Path) -> None:
    (directory(mail) / ".adding:").symlink_to(tmp_path)
    before = set(tmp_path.iterdir())
    if REAL:  # none are made there
        api.add_users("one.com", [("bob", PASSWORD)])
    else:
        with pytest.raises(errors.VpopmailError):
            api.add_users("one.com", [("bob", PASSWORD)])
        assert not list(api.users("one.com"))
    assert set(tmp_path.iterdir()) == before


def test_a_child_process_holds_nothing(mail: Home) -> None:
    """What a forked child has copies of does not keep the directories of its parent alive."""
    children: list[int] = []

    def fork() -> None:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
        os.close(read_end)
        children.append(write_end)
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        api.add_users("one.com", [("bob", PASSWORD)], progress=before_any_is_there(fork))
    assert not (directory(mail) / ".adding:").exists()
    api.add_user("bob", "one.com", PASSWORD)
    os.close(children[0])
    os.wait()


def test_the_domain_is_not_locked_while_passwords_are_hashed(mail: Home) -> None:
    locked: list[bool] = []

    def progress(done: int, count: int) -> None:
        with open(directory(mail) / ".vpasswd.lock", "a") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except OSError:
                locked.append(True)

    api.add_users("one.com", [("bob", PASSWORD)], progress=progress)
    assert locked == [False, False]


def said_as(mail: Home, user: int, call: str) -> str:
    """What a call prints in a process of another user, or the kind of its PermissionError."""
    if os.geteuid() != 0 or (mail.uid, mail.gid) != (89, 89):
        pytest.skip("needs another user")
    open_to_all(mail.qmail)
    open_to_all(mail.path)
    script = (
        "import os, sys, concurrent.futures.thread; from vpopmail_ext import api, configure\n"
        "configure(sys.argv[1], sys.argv[2])\n"
        f"os.setgroups([]); os.setgid({user}); os.setuid({user})\n"
        f"try: print({call})\n"
        "except PermissionError as error: print(type(error).__name__)\n"
    )
    command = [sys.executable, "-c", script, str(mail.path), str(mail.qmail)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_as_the_domain_s_owner(mail: Home) -> None:
    users = "[(f'user{n:03}', 's3cret-PW') for n in range(120)]"
    assert said_as(mail, 89, f"api.add_users('one.com', {users})") == "120"
    api.add_users("two.com", [(f"user{n:03}", PASSWORD) for n in range(120)])
    os.chown(directory(mail, "two.com") / ".vpasswd.lock", 89, 89)
    assert snapshot(directory(mail)) == snapshot(directory(mail, "two.com"))


@staging
def test_the_domain_s_owner_goes_on_beside_root(
    mail: Home, half_way: subprocess.Popen[str]
) -> None:
    """What root makes meanwhile is in nobody's way."""
    api.add_user("alice", "one.com", PASSWORD)
    change = "api.set_password('alice', 'one.com', 's3cret-PW-2')"
    assert said_as(mail, 89, change) == "None"
    assert api.authenticate("alice", "one.com", "s3cret-PW-2")
    assert len(staged(mail)) == 1
    half_way.communicate("\n")
    assert half_way.returncode == 0
    assert said_as(mail, 89, change) == "None"
    assert len(list(api.users("one.com"))) == 121
    assert not staged(mail)


@staging
def test_the_domain_s_owner_adds_many_beside_root(
    mail: Home, half_way: subprocess.Popen[str]
) -> None:
    api.add_user("carol", "one.com", PASSWORD)
    assert said_as(mail, 89, "api.add_users('one.com', [('alice', 's3cret-PW')])") == "1"
    half_way.kill()
    half_way.wait()
    assert said_as(mail, 89, "api.add_users('one.com', [('bob', 's3cret-PW')])") == "1"
    assert len(staged(mail)) == 1
    api.rebuild("one.com")
    assert not staged(mail)


@staging
def test_root_was_killed_before_it_gave_the_directory_away(mail: Home) -> None:
    (directory(mail) / ".adding:").mkdir(mode=0o700)
    assert said_as(mail, 89, "api.add_users('one.com', [('alice', 's3cret-PW')])") == "1"
    assert not (directory(mail) / ".adding:").exists()


def test_as_nobody(mail: Home) -> None:
    assert said_as(mail, 65534, "api.add_users('one.com', [('bob', 's3cret-PW')])") == (
        "NotPermitted"
    )


# --- one after the other, as with a real library --------------------------------------------------


def test_one_after_the_other(mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = type("Info", (), {"library": "real"})
    monkeypatch.setattr(bulk, "info", lambda: real)
    users = [
        NewUser("Zoe", PASSWORD, "Zoe Z.", True),
        NewUser("bob", PASSWORD, quota=Quota(1000), flags=api.UserFlags.NO_POP),
    ]
    told: list[tuple[int, int]] = []
    told_by = lambda *counts: told.append(counts)  # noqa: E731
    assert api.add_users("one.com", users, threads=8, progress=told_by) == 2
    one_by_one("two.com", users)
    assert snapshot(directory(mail)) == snapshot(directory(mail, "two.com"))
    assert told == [(0, 2), (1, 2), (2, 2)]


def taking(made: Path, held: list[int]) -> strike.Judge:
    """At the first lock, have a batch's directory go, and another have its place, who holds it."""

    def judge(call: strike.Call) -> int:
        if call.name == "flock" and not held:
            made.rmdir()
            made.mkdir(0o700)
            (made / "bob").mkdir()
            held.append(os.open(made, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return 0

    return judge


@bundled_alone("nothing is made before the users are")
def test_the_place_of_what_was_taken_for_dead_is_another_s(mail: Home) -> None:
    """Between a batch's making its directory and locking it, it goes, and another batch has it."""
    strike.skip_where_impossible()
    made = directory(mail) / ".adding:/0"
    held: list[int] = []

    def add() -> int:
        return api.add_users("one.com", [("alice", PASSWORD)], threads=1) - 1

    assert strike.run(add, taking(made, held)) == strike.Outcome(0, False)
    assert (made / "bob").is_dir()
    os.close(held[0])
    assert [user.name for user in api.users("one.com")] == ["alice"]
    assert api.authenticate("alice", "one.com", PASSWORD)
    api.set_password("alice", "one.com", PASSWORD)  # which clears what a dead process has left
    assert not made.parent.exists()


@bundled_alone("nothing is made before the users are")
def test_the_place_of_what_ended_is_another_s(mail: Home) -> None:
    """Between a call's opening what may be left and locking it, it goes, another has its place."""
    strike.skip_where_impossible()
    made = directory(mail) / ".adding:/0"
    made.mkdir(0o700, parents=True)
    held: list[int] = []

    def clear() -> int:
        api.add_user("alice", "one.com", PASSWORD)
        return 0

    assert strike.run(clear, taking(made, held)) == strike.Outcome(0, False)
    assert (made / "bob").is_dir()
    os.close(held[0])
