"""The journal of a change: who completes it, whom it believes, what it does not undo."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vpopmail_ext as v
from tests import cdb
from tests.conftest import domain_ids
from tests.robustness import strike
from tests.robustness.installations import (
    MD5,
    MEMORY,
    SCENARIOS,
    Installation,
    Scenario,
    Tree,
    difference,
    identity,
    to_be_struck,
    tree_of,
)
from vpopmail_ext._binding import ffi, lib

NAMED = {scenario.name: scenario for scenario in SCENARIOS}
NOTHING = Scenario("nothing", lambda place: 0)


@pytest.fixture
def place() -> Iterator[Installation]:
    with to_be_struck() as made, made.used():
        yield made


def interrupted(place: Installation, scenario: Scenario, renames: int) -> None:
    """Kill the call after so many renames since it was decided; its state is the reference."""
    count = -1

    def judge(call: strike.Call) -> int:
        nonlocal count
        if count == renames and call.changes:
            return strike.KILL
        count += call.name.startswith("rename")
        return 0

    place.lay_out(scenario)
    assert strike.run(lambda: scenario.call(place), judge).code is None


def beside(place: Installation) -> list[str]:
    found = [*tree_of(place.home), *tree_of(place.qmail)]
    return [path for path in found if "/.tmp:" in path or "/.new:" in path]


def done(place: Installation, scenario: Scenario) -> Tree:
    place.lay_out(scenario)
    assert scenario.call(place) == 0
    return place.state()


# --- who completes it -----------------------------------------------------------------------------


def look_a_user_up(place: Installation) -> None:
    out = ffi.new("struct vpx_bytes *")
    lib.vpx_user(b"bob", b"ex.com", out)
    lib.vpx_free(out)


def sign_in(place: Installation) -> None:
    assert v.vpopmail_auth_user("carol", "other.com", "secret-1")


def sign_in_there(place: Installation) -> None:
    assert v.vpopmail_auth_user("bob", "ex.com", "secret-1")


def list_the_domains(place: Installation) -> None:
    out = ffi.new("struct vpx_bytes *")
    assert lib.vpx_domains(out) == 0
    lib.vpx_free(out)


def list_the_aliases(place: Installation) -> None:
    v.vpopmail_alias_get_all("ex.com")


@pytest.mark.parametrize(
    ("name", "look_up"),
    [
        ("passwd", look_a_user_up),
        ("passwd", sign_in_there),
        ("del_user", look_a_user_up),
        ("add_user", list_the_aliases),
        ("add_domain", list_the_domains),
        ("add_domain", sign_in),
        ("del_domain", look_a_user_up),
        ("alias_del_domain", list_the_aliases),
    ],
)
@pytest.mark.parametrize("renames", [0, 1])
def test_a_look_up_completes_what_was_decided(
    place: Installation, name: str, look_up: Callable[[Installation], None], renames: int
) -> None:
    scenario = NAMED[name]
    expected = done(place, scenario)
    interrupted(place, scenario, renames if name != "alias_del_domain" else 0)
    assert beside(place)
    look_up(place)
    assert beside(place) == []
    assert place.state() == expected, difference(place.state(), expected)


def test_a_look_up_does_not_wait_for_who_is_at_it(place: Installation) -> None:
    interrupted(place, NAMED["passwd"], 0)
    found = []
    lock = place.domain / ".vpasswd.lock"

    def hold() -> int:
        import fcntl

        with lock.open("r+") as held:
            fcntl.lockf(held, fcntl.LOCK_EX)
            os.write(ready, b"x")
            os.read(go, 1)
        return 0

    (waiting, ready), (go, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(hold())
    assert os.read(waiting, 1) == b"x"
    look_a_user_up(place)
    found = beside(place)
    os.write(end, b"x")
    os.waitpid(child, 0)
    for fd in (waiting, ready, go, end):
        os.close(fd)
    assert found
    look_a_user_up(place)
    assert beside(place) == []


# --- what others did meanwhile --------------------------------------------------------------------


def vpopmail_adds_a_user(place: Installation) -> bytes:
    """Write vpasswd and its cdb as vpopmail's own programs do, who know no journal."""
    vpasswd = place.domain / "vpasswd"
    line = f"zoe:{MD5}:1:0:Zoe:{place.domain}/zoe:NOQUOTA\n"
    text = vpasswd.read_bytes() + line.encode()
    for name, content in (("vpasswd", text), ("vpasswd.cdb", cdb.of("vpasswd", text))):
        new = place.domain / f"{name}.12345"
        new.write_bytes(content)
        os.chown(new, place.uid, place.gid)
        new.chmod(0o600)
        new.rename(place.domain / name)
    (place.domain / "zoe").mkdir()
    return text


@pytest.mark.parametrize("name", ["passwd", "add_user", "add_user, the hundredth", "del_user"])
def test_newer_work_is_not_undone(place: Installation, name: str) -> None:
    interrupted(place, NAMED[name], 0)
    text = vpopmail_adds_a_user(place)
    assert lib.vpx_set_flags(b"bob", b"ex.com", 0) == 0  # takes the lock
    assert beside(place) == []
    assert (place.domain / "vpasswd").read_bytes() == text
    assert (place.domain / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", text)
    # The first file was another: nothing of the change was made.
    assert not (place.domain / "dave").exists()
    assert not (place.domain / "0").exists()
    assert (place.domain / "alice/Maildir/cur").exists()
    assert v.vpopmail_auth_user("zoe", "ex.com", "secret-1")
    assert v.vpopmail_auth_user("alice", "ex.com", "secret-1")


def test_newer_work_stays_where_the_rest_is_completed(place: Installation) -> None:
    # vpasswd is in its place; vpopmail goes on from there.
    interrupted(place, NAMED["del_user"], 1)
    text = vpopmail_adds_a_user(place)
    assert lib.vpx_set_flags(b"bob", b"ex.com", 0) == 0
    assert beside(place) == []
    assert (place.domain / "vpasswd").read_bytes() == text
    assert (place.domain / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", text)
    assert (place.domain / ".dir-control").read_bytes().startswith(b"1\n")
    assert not (place.domain / "alice").exists()
    assert v.vpopmail_auth_user("zoe", "ex.com", "secret-1")


def test_a_directory_that_was_made_anew_stays(place: Installation) -> None:
    interrupted(place, NAMED["del_user"], 1)
    (place.domain / "alice").rename(place.top / "away")
    (place.domain / "alice").mkdir()
    assert lib.vpx_set_flags(b"bob", b"ex.com", 0) == 0
    assert beside(place) == []
    assert (place.domain / "alice").exists()


# --- whom it believes -----------------------------------------------------------------------------


@pytest.fixture
def outside(place: Installation) -> Path:
    """What a journal is to lead to, and must not."""
    directory = place.top / "outside"
    (directory / "tree/below").mkdir(parents=True)
    for name in ("victim", "vpasswd", ".tmp:vpasswd", ".tmp::tree", "tree/below/file"):
        (directory / name).write_text("not to be touched\n")
    (directory / "link").symlink_to("victim")
    owners = directory / "owners"
    (owners / ".tmp::tree").mkdir(parents=True)
    for name in (".dir_control_free", ".tmp:.dir_control_free", "mail", ".tmp:mail"):
        (owners / name).write_text("not to be touched\n")
    (owners / "mixed/roots").mkdir(parents=True)
    for number in range(9):
        (owners / f"mixed/{number}").mkdir()
        (owners / f"mixed/{number}/mail").write_text("not to be touched\n")
    for path in (owners, *owners.rglob("*")):
        if path.name != "roots":
            os.chown(path, place.uid, place.gid)
    return directory


def plant(place: Installation, *lines: str, name: str = ".tmp:ready") -> Path:
    journal = place.domain / name
    journal.write_bytes(b"".join(line.encode() + b"\0" for line in lines))
    os.chown(journal, place.uid, place.gid)
    return journal


def check_harmless(place: Installation, outside: Path, before: Tree) -> None:
    assert v.vpopmail_passwd("bob", "ex.com", "secret-2")
    assert v.vpopmail_alias_add("any", "ex.com", "&x@y.z")
    assert tree_of(outside) == before
    assert beside(place) == []
    assert v.vpopmail_auth_user("bob", "ex.com", "secret-2")
    assert (place.domain / "alice/Maildir/cur").exists()


HOSTILE = {
    "a path up": lambda out: ["replace 0 0 0 0 0 ../../../outside/vpasswd"],
    "a tree up": lambda out: [f"drop 0 {identity(out / 'tree')} ../../../outside/tree"],
    "an absolute directory": lambda out: [
        f"in {identity(out)} {out}",
        f"replace 1 {identity(out / 'vpasswd')} vpasswd",
        f"drop 1 {identity(out / 'tree')} tree",
    ],
    "a directory with what is another's": lambda out: [
        f"in {identity(out.parent)} {out.parent}",
        f"drop 1 {identity(out)} outside",
    ],
    "a file of root's": lambda out: [
        f"in {identity(out)} {out}",
        f"drop 1 {identity(out / 'victim')} victim",
    ],
    "a link of root's": lambda out: [
        f"in {identity(out)} {out}",
        f"drop 1 {identity(out / 'link')} link",
    ],
    "a file of the owner's": lambda out: [
        f"in {identity(out / 'owners')} {out}/owners",
        f"drop 1 {identity(out / 'owners/mail')} mail",
    ],
    "a directory of the owner's with one of root's": lambda out: [
        f"in {identity(out / 'owners')} {out}/owners",
        f"drop 1 {identity(out / 'owners/mixed')} mixed",
    ],
    "a file of the owner's that has a lock": lambda out: [
        f"in {identity(out / 'owners')} {out}/owners",
        f"replace 1 {identity(out / 'owners/.dir_control_free')} .dir_control_free",
    ],
    "a file of the owner's that is none of these": lambda out: [
        f"in {identity(out / 'owners')} {out}/owners",
        f"replace 1 {identity(out / 'owners/mail')} mail",
    ],
    "a new tree in the owner's directory": lambda out: [
        f"in {identity(out / 'owners')} {out}/owners",
        "add 1 0 0 0 0 below/tree",
    ],
    "a link": lambda out: [
        f"in {identity(out)} link",
        f"replace 1 {identity(out / 'vpasswd')} vpasswd",
        f"drop 1 {identity(out / 'tree')} tree",
    ],
    "through a link": lambda out: [
        f"in {identity(out / 'tree')} link/tree",
        f"drop 1 {identity(out / 'tree/below')} below",
    ],
    "a new tree through a link": lambda out: [f"add 0 {identity(out / 'tree')} link/tree"],
    "a file that is none of these": lambda out: ["remove 0 0 0 0 0 alice"],
    "a directory that was not told": lambda out: ["replace 7 0 0 0 0 vpasswd"],
    "numbers": lambda out: ["replace 0 -1 99999999999999999999999 x 0 vpasswd"],
    "words": lambda out: ["in", "replace", "add 0", "drop 0 0", " ", "remove 0 0 0 0 0 "],
    "itself": lambda out: ["drop 0 0 0 0 0 .tmp:ready", "add 0 0 0 0 0 .tmp:change"],
    "the directory": lambda out: ["drop 0 0 0 0 0 .", "add 0 0 0 0 0 ..", "in 0 0 0 0 ."],
    "a long name": lambda out: [f"drop 0 0 1 0 1 {'a' * 300}"],
    "a long path": lambda out: [f"in 1 0 1 1 {'a' * 300}"],
    "a long path outside": lambda out: [f"in 1 0 1 1 /{'a' * 300}"],
    "a directory for a file": lambda out: [
        f"replace 0 {identity(_domain_by(out) / 'maildirsize')} maildirsize"
    ],
    "a directory to be unlinked": lambda out: [
        f"remove 0 {identity(_domain_by(out) / 'maildirsize')} maildirsize"
    ],
    "a tree into itself": lambda out: ["add 0 1 0 1 1 .tmp::b/b"],
    "a lock twice": lambda out: ["replace 0 1 1 1 1 .dir_control_free"] * 2,
}


def _domain_by(outside: Path) -> Path:
    return outside.parent / "vpopmail/domains/ex.com"


@pytest.mark.parametrize("name", [".tmp:ready", ".tmp:change", ".new:ready", ".new:change"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_planted_journal(place: Installation, outside: Path, kind: str, name: str) -> None:
    if os.geteuid() == place.uid:
        pytest.skip("all is the owner's here")
    prefix = name[: len(".tmp:")]
    (place.domain / "link").symlink_to(outside)
    (place.domain / "maildirsize").mkdir()
    (place.domain / f"{prefix}maildirsize").write_text("1S\n")
    (place.domain / f"{prefix}:b").mkdir()
    before = tree_of(outside)
    plant(place, *(line.replace(".tmp:", prefix) for line in HOSTILE[kind](outside)), name=name)
    (place.domain / f"{prefix}vpasswd").write_text("eve::1:0::/:NOQUOTA\n")
    (place.domain / f"{prefix}:tree").symlink_to(outside / "tree")
    (place.domain / f"{prefix}link").symlink_to(outside / "victim")
    check_harmless(place, outside, before)


@pytest.mark.parametrize("name", [".tmp:ready", ".tmp:change"])
@pytest.mark.parametrize(
    "kind", ["link", "dangling", "directory", "fifo", "hard link", "hole", "17 MiB", "63 MiB"]
)
def test_what_is_no_journal(place: Installation, outside: Path, kind: str, name: str) -> None:
    before = tree_of(outside)
    journal = place.domain / name
    if kind == "link":
        journal.symlink_to(outside / "victim")
    elif kind == "dangling":
        journal.symlink_to(outside / "new")
    elif kind == "directory":
        (journal / "below").mkdir(parents=True)
        (journal / "link").symlink_to(outside / "tree")
    elif kind == "fifo":
        os.mkfifo(journal)
    elif kind == "hard link":
        os.link(outside / "victim", journal)
    elif kind == "hole":
        with journal.open("wb") as file:
            file.truncate(1 << 40)
    else:
        journal.write_bytes(b"x" * (int(kind.split()[0]) << 20))
    check_harmless(place, outside, before)


def test_a_journal_is_read_in_bounded_memory(place: Installation) -> None:
    """Each step takes several times its size; a domain's own changes have few."""
    alice = identity(place.domain / "alice")
    plant(place, *["drop 0 1 0 1 1 a"] * 100_000, f"drop 0 {alice} alice")
    assert v.vpopmail_passwd("bob", "ex.com", "secret-2")
    assert beside(place) == []
    assert (place.domain / "alice/Maildir/cur").exists()


# --- what is in the way ---------------------------------------------------------------------------


def unremovable(path: Path, mode: int) -> Path:
    """Make a directory that the mail user can't remove, as a repair of his leaves it."""
    (path / "below").mkdir(parents=True)
    for each in (path / "below", path):
        os.chown(each, 0, 0)
        each.chmod(mode)
    return path


@pytest.mark.parametrize("name", ["add_user", "del_user"])
@pytest.mark.parametrize("who", ["root", "owner"])
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_what_could_not_be_removed_is_in_nobodys_way(
    place: Installation, name: str, who: str, mode: int
) -> None:
    place.let_the_owner_in()
    scenario = NAMED[name]
    expected = done(place, scenario)
    place.lay_out(scenario)
    user = "dave" if name == "add_user" else "alice"
    left = unremovable(place.domain / f".tmp::{user}", mode)
    unremovable(place.domain / f".tmp::{user}:", mode)
    if who == "root":
        assert scenario.call(place) == 0
        assert not left.exists()
    else:
        assert place.as_owner(lambda: scenario.call(place)) == 0
    state = place.state()
    kept = {path: what for path, what in state.items() if f"/.tmp::{user}" not in path}
    assert kept == expected, difference(kept, expected)


@pytest.mark.parametrize("name", ["vpasswd", "vpasswd.cdb", ".dir-control"])
def test_a_directory_that_has_a_temporary_files_name(place: Installation, name: str) -> None:
    (place.domain / f".tmp:{name}/below").mkdir(parents=True)
    assert v.vpopmail_add_user("dave", "ex.com", "secret-1")
    assert v.vpopmail_auth_user("dave", "ex.com", "secret-1")
    assert beside(place) == []


def test_a_directory_elsewhere_that_is_not_to_be_removed(place: Installation) -> None:
    """It may be where something is mounted."""
    interrupted(place, NAMED["del_user, elsewhere"], 1)
    there = os.stat(place.qmail / "srv")

    def judge(call: strike.Call) -> int:
        found = call.file() if call.name == "unlinkat" else None
        mounted = found and (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino)
        return errno.EBUSY if mounted else 0

    code = strike.run(lambda: lib.vpx_set_flags(b"bob", b"ex.com", 0), judge).code
    assert code == 0
    assert beside(place) == []
    assert (place.qmail / "srv/alice").exists()
    assert not (place.qmail / "srv/alice/Maildir").exists()


@pytest.mark.parametrize("name", ["del_user, elsewhere", "set_user_quota, elsewhere"])
def test_a_directory_elsewhere_that_the_mail_user_does_not_get_to(
    place: Installation, name: str
) -> None:
    place.let_the_owner_in()
    interrupted(place, NAMED[name], 1)
    (place.qmail / "srv").chmod(0o700)
    os.chown(place.qmail / "srv", 0, 0)
    assert place.as_owner(lambda: lib.vpx_set_flags(b"bob", b"ex.com", 0)) == 0
    assert [path for path in beside(place) if "ex.com" in path] == []


@contextmanager
def mounted(at: Path, *, source: Path | None = None) -> Iterator[None]:
    """Mount a file system of its own there, or a file."""
    libc = ctypes.CDLL(None, use_errno=True)
    what = (source or Path("none"), at, b"tmpfs", 0 if source is None else 4096, None)
    arguments = [os.fsencode(each) if isinstance(each, Path) else each for each in what]
    if libc.mount(*arguments):
        pytest.skip(f"needs root to mount: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(at), 2)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("del_user", "domains/ex.com/alice"),
        ("del_domain", "domains/ex.com"),
        ("add_domain", "control/virtualdomains"),
        ("del_user, elsewhere", "srv/alice"),
    ],
)
def test_what_is_a_mount_point_is_told_before_anything_changes(
    place: Installation, name: str, path: str
) -> None:
    scenario = NAMED[name]
    place.lay_out(scenario)
    top = place.home if path.startswith("domains") else place.qmail
    before = place.state()
    at, copy = top / path, place.top / "copy"
    shutil.copy(at, copy) if at.is_file() else None
    with mounted(at, source=copy if at.is_file() else None):
        if at.is_dir():
            (at / "Maildir/cur").mkdir(parents=True)
            for directory in (at, *at.rglob("*")):
                os.chown(directory, place.uid, place.gid)
        assert scenario.call(place) != 0
        assert beside(place) == []
        assert lib.vpx_rebuild(b"other.com") == 0
        if name != "add_domain":
            assert (
                lib.vpx_add_domain(b"new.org", os.fsencode(place.home), place.uid, place.gid) == 0
            )
            assert lib.vpx_del_domain(b"new.org") == 0
    assert place.state() == before, difference(place.state(), before)


def renames_fail(error: int, then: strike.Judge) -> strike.Judge:
    """Have no directory be set aside, as on overlayfs one of a lower layer."""

    def judge(call: strike.Call) -> int:
        aside = call.name == "renameat" and "/.tmp::" in call.paths()[1]
        return error if aside else then(call)

    return judge


@pytest.mark.parametrize("name", ["del_user", "del_user, of the hundred", "del_domain"])
@pytest.mark.parametrize("error", [errno.EXDEV, errno.EACCES, errno.EPERM])
def test_a_directory_that_can_not_be_set_aside_is_removed(
    place: Installation, name: str, error: int
) -> None:
    scenario = NAMED[name]
    expected = done(place, scenario)
    place.lay_out(scenario)
    outcome = strike.run(lambda: scenario.call(place), renames_fail(error, lambda call: 0))
    assert outcome.code == 0
    assert place.state() == expected, difference(place.state(), expected)
    # The same where it is removed half when the process is killed.
    for point in range(4):
        removed = -1

        def kill(call: strike.Call, point: int = point) -> int:
            nonlocal removed
            removed += call.name == "unlinkat"
            return strike.KILL if call.name == "unlinkat" and removed == point else 0

        place.lay_out(scenario)
        outcome = strike.run(lambda: scenario.call(place), renames_fail(error, kill))
        assert outcome.code is None
        assert beside(place)

        def settle() -> int:
            place.settle()
            return 0

        outcome = strike.run(settle, renames_fail(error, lambda call: 0))
        assert outcome.code == 0
        place.settle()
        kept = place.state()
        place.lay_out(scenario)
        assert scenario.call(place) == 0
        place.settle()
        assert kept == place.state(), difference(kept, place.state())


def test_a_hashed_directory_of_roots(place: Installation) -> None:
    """Its owner is told before anything has changed that the directory can't go."""
    place.let_the_owner_in()
    assert v.vpopmail_add_user("bobby", "ex.com", "secret-1")
    hashed = place.domain / "0"
    hashed.mkdir()
    (place.domain / "bobby").rename(hashed / "bobby")
    vpasswd = place.domain / "vpasswd"
    text = vpasswd.read_text().replace("ex.com/bobby", "ex.com/0/bobby")
    vpasswd.write_text(text)
    assert lib.vpx_rebuild(b"ex.com") == 0
    before = place.state()
    assert place.as_owner(lambda: lib.vpx_del_user(b"bobby", b"ex.com")) != 0
    assert place.state() == before, difference(place.state(), before)
    assert place.as_owner(lambda: lib.vpx_set_flags(b"bob", b"ex.com", 1)) == 0


def test_a_directory_elsewhere_that_can_only_be_read(place: Installation) -> None:
    """Its user has no other quota then; the domain's others are as they were."""

    def judge(call: strike.Call) -> int:
        written = call.changes and any("/srv/alice/" in path for path in call.paths())
        return errno.EROFS if written else 0

    scenario = NAMED["set_user_quota, elsewhere"]
    place.lay_out(scenario)
    before = place.state()
    assert strike.run(lambda: scenario.call(place), judge).code != 0
    assert (
        strike.run(lambda: lib.vpx_passwd(b"bob", b"ex.com", b"secret-1", False), judge).code == 0
    )
    assert strike.run(lambda: lib.vpx_rebuild(b"ex.com"), judge).code == 0
    assert beside(place) == []
    after = place.state()
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed <= {"/vpopmail/domains/ex.com/vpasswd", "/vpopmail/domains/ex.com/vpasswd.cdb"}


# --- where the directories of many users are made -------------------------------------------------


def test_another_directory_in_the_place_of_our_own(place: Installation) -> None:
    """The mail user puts one there before root has opened what it made; nothing is made in it."""
    scenario = NAMED["add_users"]
    place.lay_out(scenario)
    adding = place.domain / ".adding:"
    planted: list[Path] = []

    def judge(call: strike.Call) -> int:
        own = adding / "0"
        opens = call.name == "openat" and call.paths() == [str(own)]
        if not planted and opens and own.is_dir():
            own.rename(adding / "root's")
            own.mkdir(0o777)
            os.chown(own, place.uid + 1, place.gid)
            planted.append(own)
        return 0

    assert strike.run(lambda: scenario.call(place), judge).code == 0
    assert planted
    assert os.listdir(planted[0]) == []
    assert v.vpopmail_auth_user("dan0", "ex.com", "secret-1")


def test_what_is_not_ours_yet_or_not_any_more(place: Installation) -> None:
    """Another's call makes .adding: or removes it at any moment; that is nobody's failure."""
    scenario = NAMED["add_users"]
    for point in range(3):
        place.lay_out(scenario)
        others = place.domain / ".adding:/0"
        others.mkdir(0o700, parents=True)
        os.chown(others, place.uid + 1, place.gid)
        seen = -1

        def judge(call: strike.Call, point: int = point) -> int:
            nonlocal seen
            opens = call.name == "openat" and call.paths()[0].endswith("/.adding:")
            seen += opens
            return errno.EACCES if opens and seen == point else 0

        assert strike.run(lambda: scenario.call(place), judge).code == 0, point
        assert v.vpopmail_auth_user("dan0", "ex.com", "secret-1")


def test_a_directory_that_can_not_be_told_of(place: Installation) -> None:
    """The journal names each by what it is: a change with one that it can't name is not begun."""
    scenario = NAMED["set_user_quota"]
    place.lay_out(scenario)
    before, point, reached = place.state(), 0, True
    while reached:
        left = point + 1

        def judge(call: strike.Call) -> int:
            nonlocal left
            left -= call.name == "statx"
            return errno.EIO if call.name == "statx" and not left else 0

        outcome = strike.run(lambda: scenario.call(place), judge)
        reached = left <= 0
        if reached:
            assert outcome.code != 0, point
            assert place.state() == before, difference(place.state(), before)
        point += 1
    assert point > 1


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.tuples(
                st.sampled_from([b"in", b"replace", b"remove", b"add", b"drop", b"x"]),
                st.lists(st.integers(-1, 1 << 70).map(lambda n: b"%d" % n), max_size=6),
                st.sampled_from(
                    [b"vpasswd", b"../outside", b"/", b"", b"a/b", b".", b"link", b"link/tree"]
                ),
            ).map(lambda parts: b" ".join([parts[0], *parts[1], parts[2]])),
        ),
        max_size=6,
    ),
    name=st.sampled_from([".tmp:ready", ".tmp:change", ".new:ready", ".new:change"]),
)
def test_any_bytes_for_a_journal(lines: list[bytes], name: str) -> None:
    place, outside, before = _shared()
    journal = place.domain / name
    journal.write_bytes(b"\0".join(lines))
    os.chown(journal, place.uid, place.gid)
    with place.used():
        assert lib.vpx_set_flags(b"bob", b"ex.com", 0) == 0
        assert lib.vpx_alias_set(b"any", b"ex.com", b"&x@y\0", 5) == 0
        assert v.vpopmail_auth_user("bob", "ex.com", "secret-1")
    assert tree_of(outside) == before
    assert beside(place) == []


_made: list[tuple[Installation, Path, Tree]] = []
_directory = tempfile.TemporaryDirectory(dir=MEMORY)


def _shared() -> tuple[Installation, Path, Tree]:
    """Make one installation for all examples."""
    if not _made:
        place = Installation(Path(_directory.name) / "top", *domain_ids())
        outside = place.top / "outside"
        (outside / "tree").mkdir(parents=True)
        (outside / "vpasswd").write_text("not to be touched\n")
        (place.domain / "link").symlink_to(outside)
        _made.append((place, outside, tree_of(outside)))
    return _made[0]


def contents(top: Path) -> dict[str, bytes | None]:
    return {path: content for path, (_, _, _, content) in tree_of(top).items()}


@pytest.mark.parametrize("renames", [0, 1])
@pytest.mark.parametrize("name", ["del_user, elsewhere", "set_user_quota, elsewhere"])
@pytest.mark.parametrize("given", ["nothing", "the journal", "the directory", "the domain"])
def test_what_is_the_owners_elsewhere(
    place: Installation, name: str, given: str, renames: int
) -> None:
    """A journal leads there only where its owner wrote it, and to what is still that owner's."""
    if os.geteuid() == place.uid:
        pytest.skip("only root can give files away")
    expected = done(place, NAMED[name])
    interrupted(place, NAMED[name], renames)
    alice = place.qmail / "srv/alice"
    before = contents(alice)
    for path in {
        "nothing": [],
        "the journal": [place.domain / ".tmp:ready"],
        "the directory": [alice, alice / "Maildir"],
        "the domain": [place.domain],
    }[given]:
        os.chown(path, place.uid + 1, place.gid)
    look_a_user_up(place)
    if given == "nothing":
        assert place.state() == expected, difference(place.state(), expected)
        return
    assert contents(alice) == before
    vpasswd = (place.domain / "vpasswd").read_bytes()
    assert (b"alice:" in vpasswd) == (name != "del_user, elsewhere")
    assert (place.domain / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", vpasswd)
    assert not (place.domain / ".tmp:ready").exists()


def test_a_directory_elsewhere_that_was_made_anew_stays(place: Installation) -> None:
    interrupted(place, NAMED["del_user, elsewhere"], 1)
    alice = place.qmail / "srv/alice"
    alice.rename(place.top / "away")
    alice.mkdir()
    os.chown(alice, place.uid, place.gid)
    look_a_user_up(place)
    assert beside(place) == []
    assert alice.exists()


def test_a_directory_elsewhere_stays_where_others_went_on(place: Installation) -> None:
    interrupted(place, NAMED["del_user, elsewhere"], 0)
    vpopmail_adds_a_user(place)
    assert lib.vpx_set_flags(b"bob", b"ex.com", 0) == 0
    assert (place.qmail / "srv/alice/Maildir/cur").exists()
    assert v.vpopmail_auth_user("alice", "ex.com", "secret-1")


def test_a_journal_is_its_owners(place: Installation) -> None:
    """So that the mail user can complete what root began."""
    seen = []

    def judge(call: strike.Call) -> int:
        journal = place.domain / ".tmp:change"
        if journal.exists() and call.name == "fsync":
            status = journal.stat()
            seen.append((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)))
        return 0

    scenario = NAMED["passwd"]
    place.lay_out(scenario)
    assert strike.run(lambda: scenario.call(place), judge).code == 0
    assert set(seen) == {(place.uid, place.gid, 0o600)}


@pytest.mark.parametrize("failing", [False, True])
def test_a_slow_disk_is_waited_for_side_by_side(place: Installation, failing: bool) -> None:
    scenario = NAMED["add_domain"]
    place.lay_out(NOTHING)
    before = place.state()
    expected = before if failing else done(place, scenario)
    threads = set()

    def judge(call: strike.Call) -> int:
        if call.name != "fsync":
            return 0
        time.sleep(0.003)
        threads.add(call.pid)
        return errno.EIO if failing and len(threads) > 2 else 0

    place.lay_out(scenario)
    outcome = strike.run(lambda: scenario.call(place), judge)
    assert outcome.left is False
    assert (outcome.code == 0) is not failing
    assert len(threads) > 2
    assert place.state() == expected, difference(place.state(), expected)


def test_nothing_is_left_of_a_change(place: Installation) -> None:
    for scenario in SCENARIOS:
        place.lay_out(scenario)
        assert scenario.call(place) == 0
        assert beside(place) == [], scenario.name
