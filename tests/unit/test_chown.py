"""Another uid and gid for vpopmail: assign, its cdb, the trees; refused, interrupted, finished."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import cdb, torture
from tests.conftest import Home
from vpopmail_ext import api, chown, errors, processes, users_cdb
from vpopmail_ext.chown import Ids, Refused

NEW = Ids(8089, 8090)


class Owners:
    """Who owns what, where the tests may not give files away: by device and inode."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, old: Ids) -> None:
        self.old, self.given, self.calls = old, dict[int, Ids](), 0
        self.status = chown._status
        monkeypatch.setattr(chown, "_status", self.read)
        monkeypatch.setattr(chown, "_give", self.give)
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    def read(self, fd: int) -> os.stat_result:
        status = list(self.status(fd))
        status[4:6] = self.given.get(status[1], self.old)
        return os.stat_result(status)

    def give(self, fd: int, status: os.stat_result, old: Ids, new: Ids) -> None:
        self.calls += 1
        uid = new.uid if status.st_uid == old.uid else status.st_uid
        gid = new.gid if status.st_gid == old.gid else status.st_gid
        self.given[status.st_ino] = Ids(uid, gid)

    def of(self, path: Path) -> Ids:
        return self.given.get(path.lstat().st_ino, self.old)


@pytest.fixture
def mail(home: Home, tmp_path: Path) -> Home:
    """Two domains, one of them elsewhere, one of another owner, and an alias domain."""
    api.add_domain("example.com")
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", "s3cret-PW")
    (tmp_path / "srv").mkdir()
    api.add_domain("else.com", directory=str(tmp_path / "srv"))
    # As vadddomain -u does it, whoever owns it here.
    assign = home.qmail / "users/assign"
    text = assign.read_text()
    theirs = f"+theirs.com-:theirs.com:500:500:{tmp_path}/theirs:-::\n.\n"
    assign.write_text(text.removesuffix(".\n") + theirs)
    (home.qmail / "users/cdb").write_bytes(cdb.of("assign", assign.read_bytes()))
    return home


@pytest.fixture
def owners(mail: Home, monkeypatch: pytest.MonkeyPatch) -> Owners:
    """All files are vpopmail's."""
    return Owners(monkeypatch, Ids(89, 89))


@pytest.fixture(autouse=True)
def of_89(request: pytest.FixtureRequest) -> None:
    """Where domains belong to other ids than 89, the lines of assign say 89 nevertheless."""
    if "owners" in request.fixturenames:
        mail: Home = request.getfixturevalue("mail")
        assign = mail.qmail / "users/assign"
        text = assign.read_text().replace(f":{mail.uid}:{mail.gid}:", ":89:89:")
        assign.write_text(text)
        (mail.qmail / "users/cdb").write_bytes(cdb.of("assign", assign.read_bytes()))


def everything(mail: Home, tmp_path: Path) -> list[Path]:
    tops = [mail.path, tmp_path / "srv/domains/else.com"]
    return [path for top in tops for path in (top, *top.rglob("*"))]


def check(mail: Home, text: str) -> None:
    assign = (mail.qmail / "users/assign").read_text()
    assert assign == text.replace(":89:89:", f":{NEW}:")
    assert (mail.qmail / "users/cdb").read_bytes() == cdb.of("assign", assign.encode())
    assert not (mail.qmail / "users" / chown.JOURNAL).exists()
    assert list((mail.qmail / "users").glob(".tmp:*")) == []
    for name in ("assign", "cdb"):
        assert stat.S_IMODE((mail.qmail / "users" / name).stat().st_mode) == 0o644


def test_all_is_given(mail: Home, owners: Owners, tmp_path: Path) -> None:
    text = (mail.qmail / "users/assign").read_text()
    old_cdb = (mail.qmail / "users/cdb").read_bytes()
    root_s = mail.path / "domains/example.com/.dir_control_free"
    root_s.write_text("")
    owners.given[root_s.stat().st_ino] = Ids(0, 0)
    (mail.path / "domains/example.com/link").symlink_to("/etc/passwd")
    paths = everything(mail, tmp_path)
    planned = chown.chown(*NEW, dry_run=True)
    assert (mail.qmail / "users/assign").read_text() == text
    assert owners.calls == 0
    assert planned == (Ids(89, 89), NEW, 3, len(paths) - 1, "")

    done = chown.chown(*NEW)
    assert done[:4] == planned[:4]
    check(mail, text)
    assert {owners.of(path) for path in paths if path != root_s} == {NEW}
    assert owners.of(root_s) == Ids(0, 0)
    assert api.domain("example.net").uid == NEW.uid
    assert api.domain("theirs.com").uid == 500

    backup = Path(done.backup)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert (backup / "assign").read_text() == text
    assert (backup / "cdb").read_bytes() == old_cdb
    lines = [json.loads(line) for line in (backup / "owners").read_text().splitlines()]
    assert sorted(lines) == sorted([89, 89, str(path)] for path in paths if path != root_s)


@pytest.mark.skipif("os.geteuid() != 0", reason="needs root, whom no mode keeps out")
@pytest.mark.parametrize("umask", [0o777, 0o277, 0o022, 0], ids=oct)
def test_modes_hold_under_any_umask(mail: Home, owners: Owners, umask: int) -> None:
    users = mail.qmail / "users"
    (users / "assign.lock").unlink()
    before = os.umask(umask)
    try:
        backup = Path(chown.chown(*NEW).backup)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (backup, *backup.iterdir())}
    assert modes == {backup.name: 0o700, "assign": 0o600, "cdb": 0o600, "owners": 0o600}
    modes = {name: stat.S_IMODE((users / name).stat().st_mode) for name in ("assign.lock", "cdb")}
    assert modes == {"assign.lock": 0o600, "cdb": 0o644}
    (users / "assign.lock").chmod(0o640)  # as the administrator has it
    chown.chown(89, 89)
    assert stat.S_IMODE((users / "assign.lock").stat().st_mode) == 0o640


def test_what_is_of_the_group_alone(mail: Home, owners: Owners) -> None:
    path = mail.path / "etc/vlimits.default"
    twice = mail.path / "etc/password_strength.conf"
    os.link(twice, mail.path / "etc/second-name")
    for each in (path, twice):
        owners.given[each.stat().st_ino] = Ids(0, 89)
    chown.chown(*NEW)
    assert owners.of(path) == Ids(0, NEW.gid)
    # A second name may be of a file that somebody else had put there.
    assert owners.of(twice) == Ids(0, 89)


def test_links_are_not_followed(mail: Home, owners: Owners, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("")
    (mail.path / "domains/example.com/link").symlink_to(outside)
    chown.chown(*NEW)
    assert owners.of(outside) == owners.of(outside / "file") == Ids(89, 89)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_on_the_way_is_root_s(mail: Home, owners: Owners, absolute: bool) -> None:
    """An administrator has moved the domains; or the mail user leads root to what is another's."""
    domains = mail.path / "domains"
    moved = mail.path.parent / "moved"
    shutil.rmtree(moved, ignore_errors=True)  # a real library's home is there for all tests
    domains.rename(moved)
    domains.symlink_to(moved if absolute else "../moved")
    text = f"on the way to {domains} a link of uid 89 leads to .*moved; only root's are followed"
    with pytest.raises(Refused, match=text):
        chown.chown(*NEW)
    assert owners.calls == 0
    owners.given[domains.lstat().st_ino] = Ids(0, 0)
    chown.chown(*NEW)
    assert owners.of(moved / "example.com/vpasswd") == NEW


def test_links_in_a_loop(mail: Home, owners: Owners) -> None:
    domains = mail.path / "domains"
    domains.rename(mail.path / "moved")
    domains.symlink_to("domains")
    owners.given[domains.lstat().st_ino] = Ids(0, 0)
    with pytest.raises(Refused, match="leads to domains"):
        chown.chown(*NEW)


def test_what_goes_meanwhile(mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*before(path), "gone"])
    chown.chown(*NEW)
    assert owners.of(mail.path / "domains") == NEW


@pytest.mark.parametrize("dry_run", [True, False])
def test_not_while_qmail_send_runs(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    monkeypatch.setattr(processes, "running", lambda program: [1])
    with pytest.raises(Refused, match="qmail-send runs; stop it first"):
        chown.chown(*NEW, dry_run=dry_run)
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    mutex = mail.qmail / "queue/lock/sendmutex"
    mutex.parent.mkdir(parents=True)
    with mutex.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="qmail-send runs"):
            chown.chown(*NEW, dry_run=dry_run)
    assert owners.calls == 0


def test_qmail_send_can_t_start_meanwhile(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutex = mail.qmail / "queue/lock/sendmutex"
    mutex.parent.mkdir(parents=True)
    mutex.write_text("")

    def locked(fd: int, *arguments: Any) -> None:
        with mutex.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owners.give(fd, *arguments)

    monkeypatch.setattr(chown, "_give", locked)
    chown.chown(*NEW)
    with mutex.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_vpopmail_s_lock_is_waited_for(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, held = fcntl.lockf, [BlockingIOError] * 2

    def lockf(fd: int, how: int) -> None:
        if held:
            raise held.pop()
        before(fd, how)

    monkeypatch.setattr(fcntl, "lockf", lockf)
    chown.chown(*NEW, dry_run=True)
    held += [BlockingIOError]
    monkeypatch.setattr(chown, "_LOCK_SECONDS", -1.0)
    with pytest.raises(Refused, match="another program is changing domains"):
        chown.chown(*NEW, dry_run=True)


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (Ids(89, 89), "belongs to 89:89 already"),
        (Ids(0, 90), "from 89:89 to 0:90"),
    ],
)
def test_ids_that_are_refused(mail: Home, owners: Owners, new: Ids, text: str) -> None:
    with pytest.raises(Refused, match=text):
        chown.chown(*new)


def test_only_root(mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="only root"):
        chown.chown(*NEW)


def test_without_qmail_s_directory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (home.qmail / "users").rmdir()
    with pytest.raises(Refused, match=f"there is no {home.qmail}/users"):
        chown.chown(*NEW)


def test_an_installation_without_domains(
    home: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("users/assign", "users/cdb"):
        (home.qmail / path).unlink()
    monkeypatch.setattr(chown, "info", lambda: Ids(89, 89))
    (home.path / "domains").rename(home.path / "before")
    assert chown.chown(*NEW).domains == 0


class Killed(BaseException):
    """What ends a run on the way, without a chance to clean up."""


def ending(at: int) -> Callable[[], None]:
    calls = iter(range(at))

    def count() -> None:
        if next(calls, None) is None:
            raise Killed

    return count


@pytest.mark.parametrize("function", ["_give", "_write", "unlink"])
def test_it_can_be_interrupted_anywhere(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, function: str
) -> None:
    text = (mail.qmail / "users/assign").read_text()
    before = os.unlink if function == "unlink" else getattr(chown, function)
    points = 0
    while True:
        step = ending(points)

        def stopping(*arguments: Any, **options: Any) -> Any:
            step()  # noqa: B023
            return before(*arguments, **options)

        where = os if function == "unlink" else chown
        monkeypatch.setattr(where, function, stopping)
        try:
            chown.chown(*NEW)
            break
        except Killed:
            points += 1
        # qmail's files are whole at every moment.
        assign = (mail.qmail / "users/assign").read_bytes()
        assert assign in (text.encode(), text.replace(":89:89:", f":{NEW}:").encode())
        cdb.read((mail.qmail / "users/cdb").read_bytes())
    assert points > 0
    monkeypatch.setattr(where, function, before)
    check(mail, text)
    assert {owners.of(path) for path in everything(mail, tmp_path)} == {NEW}
    with pytest.raises(Refused, match="already"):
        chown.chown(*NEW)


def test_another_target_has_to_wait(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chown, "_give", lambda *arguments: ending(0)())
    with pytest.raises(Killed):
        chown.chown(*NEW)
    with pytest.raises(Refused, match="finish it first: vpopmail-ext chown --uid 8089 --gid 8090"):
        chown.chown(1, 1)
    monkeypatch.setattr(chown, "_give", owners.give)
    assert chown.chown(*NEW, dry_run=True).domains == 3
    assert chown.chown(*NEW).old == Ids(89, 89)


def test_somebody_goes_on_making_files(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(fd: int, status: os.stat_result, old: Ids, new: Ids) -> None:
        if stat.S_ISDIR(status.st_mode):
            owners.give(fd, status, old, new)

    monkeypatch.setattr(chown, "_give", careless)
    with pytest.raises(Refused, match="still belongs to 89:89: something goes on making files"):
        chown.chown(*NEW)
    monkeypatch.setattr(chown, "_give", owners.give)
    chown.chown(*NEW)


def test_the_result_is_read_again(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = chown._write

    def spoiling(directory: int, name: str, data: Any, mode: int) -> None:
        before(directory, name, [b"spoilt"] if name == "cdb" else data, mode)

    monkeypatch.setattr(chown, "_write", spoiling)
    with pytest.raises(Refused, match="run this again"):
        chown.chown(*NEW)


def test_the_journal_stays_until_the_owners_are_on_the_disk(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syncfs=fail))
    with pytest.raises(OSError, match=f"error: '{mail.path}'"):
        chown.chown(*NEW)
    assert (mail.qmail / "users" / chown.JOURNAL).exists()
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    Owners.__init__(owners, monkeypatch, Ids(89, 89))
    chown.chown(*NEW)


def test_giving_a_file(tmp_path: Path) -> None:
    own = Ids(os.getuid(), os.getgid())
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("")
    link.symlink_to("/etc/passwd")
    for mode in (0o640, 0o6755):
        file.chmod(mode)
        for path, old in ((file, own), (link, own), (file, Ids(own.uid + 1, own.gid + 1))):
            name = b"/" + os.fsencode(path.name)
            with chown._tree(os.fsencode(tmp_path)) as top, chown._opened(name, top) as fd:
                chown._give(fd, chown._status(fd), old, own)
        assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.fixture
def true_root(mail: Home) -> None:
    if os.geteuid() != 0 or mail.uid == 0:
        pytest.skip("needs root, who may give files to anybody")


@pytest.mark.usefixtures("true_root")
def test_as_root(mail: Home, tmp_path: Path) -> None:
    planted = mail.path / "domains/example.com/passwd"
    os.link("/etc/passwd", planted) if os.stat("/etc").st_dev == mail.path.stat().st_dev else None
    (mail.path / "domains/example.com/link").symlink_to("/etc/hostname")
    os.lchown(mail.path / "domains/example.com/link", mail.uid, mail.gid)
    before = os.stat("/etc/hostname")
    text = (mail.qmail / "users/assign").read_text()
    chown.chown(*NEW)
    check(mail, text)
    (directory,) = {
        (status.st_uid, status.st_gid)
        for path in (mail.path / "domains").rglob("*")
        if (status := path.lstat()).st_uid != 0
    }
    assert directory == NEW
    after = os.stat("/etc/hostname")
    assert (before.st_uid, before.st_gid) == (after.st_uid, after.st_gid)
    assert os.stat("/etc/passwd").st_uid == 0
    assert api.authenticate("alice", "example.com", "s3cret-PW")


# --- assign and its cdb ---------------------------------------------------------------------------


def test_the_cdb_is_that_of_the_library(mail: Home) -> None:
    for number in range(30):
        api.add_domain(f"domain{number}.example")
    assign = (mail.qmail / "users/assign").read_bytes()
    assert users_cdb.compile_assign(assign) == (mail.qmail / "users/cdb").read_bytes()


def test_lines_of_all_kinds() -> None:
    assign = (
        b"+a-:a:89:89:/a:-::\n=joe:joe:89:89:/home/joe:::\nbad\n+short-:x\n?what-:a:b:c:d:e::\n"
        b"+short-of-an-end-:d:500:500:/d:-:\n"
        b"+:alias:1:1:/alias:-::\n+UP+:b:89:90:/b:-::\n.\n+after-:c:89:89:/c:-::\n"
    )
    sound = [
        line for line in assign.splitlines(True) if line[:1] in b"+=." and b"short" not in line
    ]
    assert users_cdb.compile_assign(assign) == cdb.of("assign", b"".join(sound))
    given, number = users_cdb.give(assign, (89, 89), (7, 8))
    # What follows on the dot is nobody's, as for qmail.
    assert number == 1
    assert given == assign.replace(b"a:89:89:/a", b"a:7:8:/a")
    assert users_cdb.paths(assign) == [b"/a", b"/alias", b"/b"]


@pytest.mark.parametrize(
    "path", ["", "/", "//", ".", "..", "srv", "srv/x", "/./", "/srv/..", "/srv/../x", "/srv/a\0b"]
)
def test_a_path_that_is_no_domain_s(
    mail: Home, owners: Owners, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    """What is at it is not looked at: the whole of / it may be."""
    assign = mail.qmail / "users/assign"
    text = assign.read_text()
    odd = f"+odd.com-:odd.com:89:89:{path}:-::\n"
    assign.write_text(f"{odd}{text}+late.com-:late.com:89:89:/etc:-::\n.\n")
    looked_at: list[bytes] = []
    before = chown._tree
    monkeypatch.setattr(chown, "_tree", lambda path: looked_at.append(path) or before(path))
    assert chown.chown(*NEW, dry_run=True).domains == 4
    tops = "domains", "", "domains/example.com"
    theirs = tmp_path / "srv/domains/else.com", tmp_path / "theirs"
    assert {Path(os.fsdecode(path)) for path in looked_at} == {
        *(mail.path / top for top in tops),
        *theirs,
    }


def test_figures_are_known_to_be_of_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of chown's tests; comments don't count, nor does it for the other tests."""
    (tmp_path / "vpopmail_ext").mkdir()
    copies = [tmp_path / "vpopmail_ext" / name for name in ("chown.py", "users_cdb.py")]
    for copy in copies:
        shutil.copy(torture.TOP / "vpopmail_ext" / copy.name, copy)
    monkeypatch.setattr(torture, "TOP", tmp_path)
    monkeypatch.setattr(torture, "_of_the_library", lambda: "0123456789abcdef")
    tests = "test_crashes.py::test_chown_s_calls_fail", "test_mail_user.py::test_nothing[chown]"

    def codes() -> set[str]:
        torture._of_chown.cache_clear()
        assert torture.code("test_chown.py::test_another[add_user]") == "0123456789abcdef"
        return {torture.code(test) for test in tests}

    before = codes()
    for copy in copies:
        text = copy.read_text()
        copy.write_text(f"# A comment.\n{text}")
        assert codes() == before
        copy.write_text(f"{text}pass\n")
        assert not codes() & before
        copy.write_text(text)
    torture._of_chown.cache_clear()


def test_the_errors_of_the_api_are_not_this_one_s() -> None:
    assert not issubclass(Refused, errors.VpopmailError)
