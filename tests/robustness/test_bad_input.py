"""Names that are wrong, a home that is not as it should be, damaged files: each gives a code that
vpopmail has, changes nothing, and leaves the next call working.

Run as a program (see the end), it makes calls where the home is out of reach or the disk is full.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb
from tests.conformance.forms import FORM_5_5
from tests.linked import FORM, INFO, REAL, bundled_alone, error_text
from vpopmail_ext._binding import lib
from vpopmail_ext.info import copy_out

TOP = Path(__file__).parents[2]
DOMAIN = "example.com"
SUCCESS = "Success"
UNKNOWN = "Unknown error"
ILLEGAL = "Illegal username"
NO_USER = "User does not exist"
NO_DOMAIN = "Domain does not exist"
BAD_DOMAIN = "Invalid domain name"
LONG_USER = error_text("user name too long (max=64)")
LONG_DOMAIN = error_text("domain name too long (max=96)")
LONG_GECOS = error_text("gecos too long (max=64)")
NO_UPDATE = "Could not update file"
NO_LIMITS = "can't read domain limits"
NO_ASSIGN = "can't read users/assign file"
BAD_D_DIR = error_text("Unable to chdir to vpopmail/domains directory")
NO_DOMAINS_DIR = "Can not make /home/vpopmail/domains directory" if FORM is FORM_5_5 else ""
BAD_V_DIR = error_text("Unable to chdir to vpopmail/domains/domain directory")
TEXTS = {code: copy_out(lib.vpx_error, code)[1].decode() for code in range(-55, 1)}
NOBODY = 65534

Snapshot = dict[str, tuple[object, ...]]
Call = Callable[[], object]


def said(function: Callable[..., object], *arguments: object) -> str:
    """The error text after a call that may fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*arguments)
    return v.vpopmail_error()


def snapshot(*tops: Path) -> Snapshot:
    """All there is in directories, save locks: kind, mode, owner, content."""
    found: Snapshot = {}
    for top in tops:
        for path in [top, *sorted(top.rglob("*"))]:
            if path.name.endswith(".lock"):
                continue
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
            found[str(path)] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def populate(home: Any) -> Path:
    """A domain with alice, bob and an alias; its directory."""
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    # The count of domains is written differently from the second time on.
    assert v.vpopmail_add_domain("first.com", str(home.path), home.uid, home.gid)
    assert v.vpopmail_del_domain("first.com")
    assert v.vpopmail_add_user("alice", DOMAIN, "secret-1")
    assert v.vpopmail_add_user("bob", DOMAIN, "secret-2")
    assert v.vpopmail_alias_add("info", DOMAIN, "&alice@example.com")
    return Path(home.path) / "domains" / DOMAIN


def works(home: Any) -> bool:
    """The next calls, of each kind, go well."""
    return bool(
        v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
        and v.vpopmail_auth_user("bob", DOMAIN, "secret-2")
        and v.vpopmail_add_user("next", DOMAIN, "secret-3")
        and v.vpopmail_passwd("next", DOMAIN, "secret-4")
        and v.vpopmail_auth_user("next", DOMAIN, "secret-4")
        and v.vpopmail_set_user_quota("next", DOMAIN, "1M")
        and v.vpopmail_del_user("next", DOMAIN)
        and v.vpopmail_alias_add("next", DOMAIN, "&x@y.z")
        and v.vpopmail_alias_del("next", DOMAIN)
        and v.vpopmail_add_domain("next.com", str(home.path), home.uid, home.gid)
        and v.vpopmail_del_domain("next.com")
    )


# --- names ---------------------------------------------------------------------------------------

NEVER_A_NAME: list[str | bytes] = [
    *["..", ".", "", "/", "a/b", "../up", "/etc", "a\nb", "\n", "a b", "a:b", "a\tb", "a\x7fb"],
    *["a%s%n", "ü", "a\\b", '"a"', "n" * 300, "../" * 100],
    *[b"\xff\xfe", b"caf\xe9"],
]


def length(name: str | bytes) -> int:
    return len(name.encode() if isinstance(name, str) else name)


def user_text(name: str | bytes, otherwise: str, of_one_byte: str = ILLEGAL) -> str:
    return {True: LONG_USER}.get(length(name) > 64, of_one_byte if length(name) == 1 else otherwise)


@pytest.mark.parametrize("name", NEVER_A_NAME, ids=lambda name: repr(name)[:20])
def test_a_name_that_no_user_has(home: Any, name: str | bytes) -> None:
    populate(home)
    before = snapshot(home.path, home.qmail)
    assert said(v.vpopmail_add_user, name, DOMAIN, "secret-3") == user_text(name, ILLEGAL)
    assert said(v.vpopmail_passwd, name, DOMAIN, "secret-3") == user_text(name, ILLEGAL)
    assert said(v.vpopmail_set_user_quota, name, DOMAIN, "1M") == user_text(name, NO_USER)
    assert said(v.vpopmail_del_user, name, DOMAIN) == (NO_USER if name else ILLEGAL)
    assert not v.vpopmail_auth_user(name, DOMAIN, "secret-1")
    assert snapshot(home.path, home.qmail) == before
    assert works(home)


@pytest.mark.parametrize("name", NEVER_A_NAME, ids=lambda name: repr(name)[:20])
def test_a_name_that_no_domain_has(home: Any, name: str | bytes) -> None:
    populate(home)
    before = snapshot(home.path, home.qmail)
    too_long = length(name) > 96
    owner = str(home.path), home.uid, home.gid
    assert said(v.vpopmail_add_domain, name, *owner) == (LONG_DOMAIN if too_long else BAD_DOMAIN)
    assert said(v.vpopmail_add_user, "carol", name, "secret-3") == (
        LONG_DOMAIN if too_long else BAD_DOMAIN
    )
    # A real domain's name is looked at for its characters alone.
    sound = re.fullmatch(rb"[A-Za-z0-9.-]*", os.fsencode(name))
    aliased = said(v.vpopmail_add_alias_domain, name, "new.com")
    assert aliased == (NO_DOMAIN if sound else BAD_DOMAIN)
    assert said(v.vpopmail_del_domain, name) == (LONG_DOMAIN if too_long else NO_DOMAIN)
    assert said(v.vpopmail_del_user, "alice", name) == NO_DOMAIN
    assert said(v.vpopmail_passwd, "alice", name, "x1") == (LONG_DOMAIN if too_long else ILLEGAL)
    quota = said(v.vpopmail_set_user_quota, "alice", name, "1M")
    assert quota == (LONG_DOMAIN if too_long else NO_USER)
    added = said(v.vpopmail_alias_add, "info", name, "&x@y.z")
    assert added == (LONG_DOMAIN if too_long else ILLEGAL)
    deleted = said(v.vpopmail_alias_del, "info", name)
    assert deleted == (LONG_DOMAIN if too_long else ILLEGAL)
    assert said(v.vpopmail_alias_del_domain, name) == ILLEGAL
    assert v.vpopmail_alias_get("info", name) == []
    assert v.vpopmail_alias_get_all(name) == {}
    assert not v.vpopmail_auth_user("alice", name, "secret-1")
    assert snapshot(home.path, home.qmail) == before
    assert works(home)


@pytest.mark.parametrize("name", NEVER_A_NAME, ids=lambda name: repr(name)[:20])
def test_a_name_that_no_alias_domain_has(home: Any, name: str | bytes) -> None:
    populate(home)
    before = snapshot(home.path, home.qmail)
    if name in (".", ".."):
        return  # Every character is one of a domain's, and the name becomes no path.
    text = LONG_DOMAIN if name == "n" * 300 else BAD_DOMAIN
    assert said(v.vpopmail_add_alias_domain, DOMAIN, name) == text
    assert snapshot(home.path, home.qmail) == before
    assert works(home)


@pytest.mark.parametrize("name", NEVER_A_NAME, ids=lambda name: repr(name)[:20])
def test_an_alias_stays_in_its_domain(home: Any, name: str | bytes) -> None:
    path = populate(home)
    raw = name.encode() if isinstance(name, str) else name
    before = snapshot(home.path, home.qmail)
    assert said(v.vpopmail_alias_del, name, DOMAIN) == (LONG_USER if len(raw) > 64 else ILLEGAL)
    assert v.vpopmail_alias_get(name, DOMAIN) == []
    assert snapshot(home.path, home.qmail) == before
    text = said(v.vpopmail_alias_add, name, DOMAIN, "&x@y.z")
    if len(raw) > 64 or b"/" in raw:
        assert text == (LONG_USER if len(raw) > 64 else ILLEGAL)
        assert snapshot(home.path, home.qmail) == before
    else:
        # vpopmail takes any other name; what is made is a file of the domain's directory.
        assert text == SUCCESS
        made = snapshot(home.path, home.qmail).keys() - before.keys()
        assert made == {os.fsdecode(bytes(path / ".qmail-") + raw.replace(b".", b":"))}
        assert v.vpopmail_alias_get(name, DOMAIN) == ["&x@y.z"]
        assert v.vpopmail_alias_del(name, DOMAIN)
        assert snapshot(home.path, home.qmail) == before
    assert works(home)


@pytest.mark.skipif(not INFO.password_policy, reason="it has no policy")
def test_a_password_that_the_policy_refuses_leaves_nothing(home: Any) -> None:
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    before = snapshot(home.path, home.qmail)
    assert said(v.vpopmail_passwd, "alice", DOMAIN, "") == "password requires more characters "
    assert snapshot(home.path, home.qmail) == before


@pytest.mark.parametrize(
    ("gecos", "text"),
    [
        ("a:b", "bad character"),
        ("a\nb", "bad character"),
        (b"\xff:", "bad character"),
        ("g" * 65, LONG_GECOS),
        (b"\xff" * 65, LONG_GECOS),
        ("g" * 300, LONG_GECOS),
    ],
)
def test_a_gecos_that_is_none(home: Any, gecos: str | bytes, text: str) -> None:
    populate(home)
    before = snapshot(home.path)
    assert said(v.vpopmail_add_user, "carol", DOMAIN, "secret-3", gecos) == text
    assert snapshot(home.path) == before
    assert works(home)


def test_a_directory_that_is_none(home: Any, tmp_path: Path) -> None:
    populate(home)
    (tmp_path / "file").touch()
    before = snapshot(tmp_path)
    for directory in (
        "",
        ".",
        "..",
        "relative",
        str(tmp_path / "file"),
        "/no/such",
        b"/\xff",
        "\n",
    ):
        text = said(v.vpopmail_add_domain, "new.com", directory, home.uid, home.gid)
        assert text in (BAD_V_DIR, NO_DOMAINS_DIR, "bad character"), directory
    for strange in ("with:colon", "with\nnewline"):
        (tmp_path / strange).mkdir()
        text = said(v.vpopmail_add_domain, "new.com", str(tmp_path / strange), home.uid, home.gid)
        assert text == "bad character"
        (tmp_path / strange).rmdir()
    assert {**snapshot(tmp_path), str(tmp_path): None} == {**before, str(tmp_path): None}
    assert works(home)


@pytest.mark.parametrize(
    "name", ["vpasswd", "vpasswd.cdb", ".dir-control", ".vpasswd.lock", ".qmail-default"]
)
def test_a_first_user_named_like_a_file(home: Any, name: str) -> None:
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    path = home.path / "domains" / DOMAIN
    text = said(v.vpopmail_add_user, name, DOMAIN, "secret-1")
    listed = (path / "vpasswd").read_text() if (path / "vpasswd").is_file() else ""
    # Either there is such a user with a directory, or nothing of it.
    assert (text == SUCCESS, (path / name).is_dir(), f"{name}:" in listed) in (
        (True, True, True),
        (False, False, False),
    )
    assert v.vpopmail_add_user("alice", DOMAIN, "secret-1")
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")


@pytest.mark.parametrize(
    "name", [".tmp.vpasswd", ".tmp.vpasswd.cdb", ".tmp..dir-control", ".dir_control_free"]
)
def test_a_user_named_like_a_file_to_be_is_in_no_way(home: Any, name: str) -> None:
    populate(home)
    text = said(v.vpopmail_add_user, name, DOMAIN, "secret-3")
    assert text in (SUCCESS, ILLEGAL, "User's directory already exists")
    assert works(home)


# --- damaged files -------------------------------------------------------------------------------


def changes(home: Any) -> dict[str, Call]:
    """Calls that change something of the domain."""
    return {
        "add_user": lambda: v.vpopmail_add_user("carol", DOMAIN, "secret-3"),
        "passwd": lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-1"),
        "set_user_quota": lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "5M"),
        "del_user": lambda: v.vpopmail_del_user("bob", DOMAIN),
        "alias_add": lambda: v.vpopmail_alias_add("more", DOMAIN, "&x@y.z"),
        "alias_del": lambda: v.vpopmail_alias_del("info", DOMAIN),
        "add_domain": lambda: v.vpopmail_add_domain("b.com", str(home.path), home.uid, home.gid),
        "add_alias_domain": lambda: v.vpopmail_add_alias_domain(DOMAIN, "c.com"),
        "del_domain": lambda: v.vpopmail_del_domain(DOMAIN),
    }


def wild_cdbs(sound: bytes, keys: list[bytes]) -> Iterator[bytes]:
    """Files of a cdb's form whose lengths and places lead astray, for each key."""
    most = 0xFFFFFFFF
    for key in keys:
        number = cdb.hash_of(key)
        at = number % 256 * 8
        table, slots = struct.unpack_from("<II", sound, at)
        for wild in (
            (most, 1),
            (most - 8, 2),
            (table, most),
            (0, most),
            (len(sound) - 1, 1),
            (len(sound), 1),
            (at, 3),
            (table, 0),
        ):
            yield _changed(sound, at, *wild)
        if not slots:
            continue
        slot = table + number // 256 % slots * 8
        for place in (most, most - 7, len(sound) - 4, len(sound), slot, at, 1):
            yield _changed(sound, slot, number, place)
        record = struct.unpack_from("<I", sound, slot + 4)[0]
        for lengths in ((len(key), most), (len(key), most - record), (most, most), (0, 0)):
            yield _changed(sound, record, *lengths)
        yield _changed(sound, record, len(key), len(sound))


def _changed(data: bytes, at: int, first: int, second: int) -> bytes:
    return data[:at] + struct.pack("<II", first, second) + data[at + 8 :]


def randomly_damaged(sound: bytes, count: int) -> Iterator[bytes]:
    """The file with some bytes changed, and files of the same length that are noise."""
    source = random.Random(20)
    for number in range(count):
        data = bytearray(sound)
        for _ in range(1 + number % 40):
            data[source.randrange(len(data))] = source.randrange(256)
        yield bytes(data)
        yield source.randbytes(len(sound))


class Damage:
    """A file that is damaged again and again, and repaired."""

    def __init__(self, home: Any, file: Path) -> None:
        self.home, self.file = home, file
        self.sound = file.read_bytes()
        self.saved = Path(tempfile.mkdtemp(dir=home.path.parent))
        self.roots = (home.path, home.qmail)
        for root in self.roots:
            subprocess.run(["cp", "-a", str(root), str(self.saved)], check=True)

    def repair(self) -> None:
        """Everything as it was before."""
        for root in self.roots:
            shutil.rmtree(root)
            subprocess.run(["cp", "-a", str(self.saved / root.name), str(root)], check=True)

    def write(self, data: bytes) -> None:
        self.file.write_bytes(data)


def test_vpasswd_cdb_cut_off_anywhere(home: Any) -> None:
    file = populate(home) / "vpasswd.cdb"
    sound = file.read_bytes()
    for size in range(len(sound)):
        with open(file, "r+b") as cut:
            cut.truncate(size)
            assert v.vpopmail_auth_user("nobody", DOMAIN, "secret-1") is False
            assert v.vpopmail_auth_user("alice", DOMAIN, "not-hers") is False
            cut.write(sound)
    assert works(home)


@pytest.mark.parametrize("name", ["users/cdb", "vpasswd.cdb"])
def test_a_damaged_cdb_is_no_way_in(home: Any, name: str) -> None:
    path = populate(home)
    file, keys = {
        "users/cdb": (home.qmail / "users/cdb", [b"!example.com-", b""]),
        "vpasswd.cdb": (path / "vpasswd.cdb", [b"alice", b"bob"]),
    }[name]
    sound = file.read_bytes()
    for damaged in (*wild_cdbs(sound, keys), *randomly_damaged(sound, 100)):
        file.write_bytes(damaged)
        for user in ("alice", "nobody"):
            assert v.vpopmail_auth_user(user, DOMAIN, "not-hers") is False
        assert isinstance(v.vpopmail_alias_get_all(DOMAIN), dict)
    file.write_bytes(sound)
    assert works(home)


@pytest.mark.parametrize("name", ["users/cdb", "vpasswd.cdb"])
def test_a_damaged_cdb_changes_nothing_or_is_made_anew(home: Any, name: str) -> None:
    path = populate(home)
    file, keys = {
        "users/cdb": (home.qmail / "users/cdb", [b"!example.com-"]),
        "vpasswd.cdb": (path / "vpasswd.cdb", [b"alice"]),
    }[name]
    text_file = file.with_name("assign" if name == "users/cdb" else "vpasswd")
    damage = Damage(home, file)
    sizes = (0, 7, 2047, 2049, len(damage.sound) - 1)
    versions = [damage.sound[:size] for size in sizes]
    versions += [*list(wild_cdbs(damage.sound, keys))[::3], *randomly_damaged(damage.sound, 1)]
    failed = 0
    for damaged in versions:
        damage.write(damaged)
        for call in changes(home).values():
            before = snapshot(home.path, home.qmail)
            text = said(call)
            after = snapshot(home.path, home.qmail)
            if text == SUCCESS:
                if file.exists() and file.read_bytes() != damaged:
                    assert file.read_bytes() == cdb.of(text_file.name, text_file.read_bytes())
                damage.repair()
                damage.write(damaged)
                continue
            failed += 1
            assert text in TEXTS.values()
            assert text != UNKNOWN
            if after != before:  # vpopmail counts a user up whose directory is there already
                assert text == "User's directory already exists"
                damage.repair()
                damage.write(damaged)
    assert failed > 3 * len(versions) if name == "users/cdb" else failed > 0
    damage.repair()
    assert works(home)


@pytest.mark.parametrize("damaged", [b"", b"x" * 2047, b"\xff" * 4096])
def test_a_damaged_users_cdb_is_told(home: Any, damaged: bytes) -> None:
    populate(home)
    file = home.qmail / "users/cdb"
    sound = file.read_bytes()
    before = snapshot(home.path)
    file.write_bytes(damaged)
    texts = {what: said(call) for what, call in changes(home).items()}
    assert file.read_bytes() == damaged
    assert snapshot(home.path) == before
    without_own = {"alias_add", "alias_del"}
    assert {texts[what] for what in texts.keys() - without_own} == {NO_ASSIGN}
    assert {texts[what] for what in without_own} == {ILLEGAL}
    file.write_bytes(sound)
    assert works(home)


@pytest.mark.parametrize("damaged", [b"", b"x" * 2047, b"\xff" * 4096])
def test_a_damaged_vpasswd_cdb_is_told(home: Any, damaged: bytes) -> None:
    path = populate(home)
    file = path / "vpasswd.cdb"
    sound = file.read_bytes()
    file.write_bytes(damaged)
    before = snapshot(home.path)
    calls = changes(home)
    assert said(calls["add_user"]) == NO_UPDATE
    assert said(calls["passwd"]) == ILLEGAL
    assert said(calls["set_user_quota"]) == NO_USER
    assert said(calls["del_user"]) == NO_USER
    assert snapshot(home.path) == before
    file.write_bytes(sound)
    assert works(home)


BAD_LINES = [
    b"",
    b"\n\n\n",
    b"no colon\n",
    b"carl\n",
    b"carl:\n",
    b"carl:x:1:0:g:/d\n",
    b"carl:x:one:0:g:/d:NOQUOTA\n",
    b"carl:x:-1:99999999999:g:/d:NOQUOTA\n",
    b":" * 40 + b"\n",
    b"\0" * 100 + b"\n",
    b"a" * 100_000 + b"\n",
    b"carl:" + b"h" * 100_000 + b":1:0:g:/d:NOQUOTA\n",
    b"carl:x:1:0:g:/d:NOQUOTA:more:and:more\r\n",
    b"zz:x:1:0:g:/d:NOQUOTA",
]


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: repr(line)[:24])
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_damaged_vpasswd_keeps_the_rest(home: Any, line: bytes, where: str) -> None:
    path = populate(home)
    file = path / "vpasswd"
    sound = file.read_bytes()
    if where == "first" and line and not line.endswith(b"\n"):
        line += b"\n"
    file.write_bytes(line + sound if where == "first" else sound + line)
    (path / "vpasswd.cdb").unlink()
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    if REAL and line not in SOUND:
        calls = "add_user", "passwd", "set_user_quota", "del_user"
        is_left_to_the_administrator(home, file, sound, *calls)
        return
    assert works(home)
    kept = line if line.endswith(b"\n") or not line else line + b"\n"
    lines = file.read_bytes()
    if REAL and not lines.endswith(b"\n"):
        lines += b"\n"  # It leaves the last line as it is.
    assert len(lines) == len(kept + sound)
    assert kept in lines
    for user in ("carl", "zz"):
        assert not v.vpopmail_auth_user(user, DOMAIN, "secret-1")


SOUND = (b"", *BAD_LINES[-2:], BAD_LINES[-1] + b"\n")
"""What a real library has no trouble with."""


def is_left_to_the_administrator(home: Any, file: Path, sound: bytes, *calls: str) -> None:
    """A real library is kept from a malformed file: it may crash, or stop half way."""
    before = snapshot(home.path, home.qmail)
    for name in calls:
        assert said(changes(home)[name]) == NO_UPDATE
    assert snapshot(home.path, home.qmail) == before
    assert v.vpopmail_auth_user("bob", DOMAIN, "secret-2")
    file.write_bytes(sound)
    assert works(home)


def test_a_vpasswd_that_is_noise(home: Any) -> None:
    path = populate(home)
    file = path / "vpasswd"
    damage = Damage(home, file)
    for number, damaged in enumerate(randomly_damaged(damage.sound, 8)):
        file.write_bytes(damaged)
        (path / "vpasswd.cdb").unlink()
        assert not v.vpopmail_auth_user("alice", DOMAIN, "not-hers")
        for name in ("passwd", "set_user_quota", "del_user", "add_user"):
            text = said(changes(home)[name])
            assert text in TEXTS.values()
            assert text != UNKNOWN
        assert (path / "alice").is_dir(), number
        damage.repair()
    assert works(home)


@pytest.mark.parametrize("line", [*BAD_LINES, b"+:::::::\n", b"+x-:a:b:c:d:e:f:\n", b"=\n.\nx\n"])
def test_a_damaged_assign_keeps_the_rest(home: Any, line: bytes) -> None:
    populate(home)
    file = home.qmail / "users/assign"
    sound = file.read_bytes()
    file.write_bytes(line + (b"" if line.endswith(b"\n") or not line else b"\n") + sound)
    if line.startswith(b"=\n.\n"):
        return  # What follows the dot is not part of the file.
    if REAL and line not in (b"", b"+:::::::\n", b"+x-:a:b:c:d:e:f:\n", BAD_LINES[-2]):
        calls = "add_domain", "add_alias_domain", "del_domain"
        is_left_to_the_administrator(home, file, sound, *calls)
        return
    assert works(home)
    assert v.vpopmail_add_alias_domain(DOMAIN, "c.com")
    assert v.vpopmail_auth_user("alice", "c.com", "secret-1")
    assert v.vpopmail_del_domain("c.com")
    file.write_bytes(sound)
    assert works(home)


def as_directory(file: Path) -> Iterator[None]:
    """A directory stands where a file should be."""
    moved = file.with_name("moved")
    if file.exists():
        file.rename(moved)
    file.mkdir()
    yield
    file.rmdir()
    if moved.exists():
        moved.rename(file)


def test_an_assign_that_cannot_be_read(home: Any) -> None:
    populate(home)
    before = snapshot(home.path, home.qmail)
    for _ in as_directory(home.qmail / "users/assign"):
        calls = changes(home)
        for what in ("add_domain", "add_alias_domain", "del_domain"):
            assert said(calls[what]) == NO_ASSIGN
        assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    assert snapshot(home.path, home.qmail) == before
    assert works(home)


@pytest.mark.parametrize("name", ["rcpthosts", "virtualdomains", "locals"])
def test_a_control_file_that_cannot_be_read(home: Any, name: str) -> None:
    populate(home)
    before = snapshot(home.path, home.qmail)
    for _ in as_directory(home.qmail / "control" / name):
        calls = changes(home)
        for what in ("add_domain", "add_alias_domain"):
            assert said(calls[what]) == NO_UPDATE
        if name != "locals":
            assert said(calls["del_domain"]) == NO_UPDATE
    assert snapshot(home.path, home.qmail) == before
    assert works(home)


@pytest.mark.parametrize("name", ["vpasswd", "vpasswd.cdb", ".dir-control"])
def test_a_file_of_the_domain_that_is_a_directory(home: Any, name: str) -> None:
    path = populate(home)
    before = snapshot(home.path)
    for _ in as_directory(path / name):
        assert said(changes(home)["add_user"]) == NO_UPDATE
        if name != ".dir-control":
            assert said(changes(home)["passwd"]) in (ILLEGAL, NO_UPDATE)
            assert said(changes(home)["del_user"]) in (NO_USER, NO_UPDATE)
    assert snapshot(home.path) == before
    assert works(home)


LIMITS = [
    b"",
    b"\0\0\0",
    b"default_quota\n",
    b"default_quota :\n",
    b"default_quota -5\ndefault_maxmsgcount x\n",
    b"maxpopaccounts " + b"9" * 5_000 + b"\n",
    b"disable_nothing\n" * 5_000,
    b"x" * 200_000,
    b"\xff" * 500 + b"\n" + b": " * 500,
]


@pytest.mark.parametrize("text", LIMITS, ids=lambda text: repr(text)[:24])
@pytest.mark.parametrize("of", ["domain", "installation"])
def test_damaged_limits_limit_nothing(home: Any, text: bytes, of: str) -> None:
    path = populate(home)
    file = path / ".qmailadmin-limits" if of == "domain" else home.path / "etc/vlimits.default"
    file.write_bytes(text)
    assert works(home)
    assert file.read_bytes() == text


def test_a_limit_is_never_more_than_a_quota_can_be(home: Any) -> None:
    path = populate(home)
    limits = path / ".qmailadmin-limits"
    limits.write_text(f"default_quota {'9' * 30}\ndefault_maxmsgcount {'9' * 30}\n")
    said(v.vpopmail_add_user, "carol", DOMAIN, "secret-3")
    limits.unlink()
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    assert works(home)


@pytest.mark.parametrize("of", ["domain", "installation"])
def test_limits_that_cannot_be_read(home: Any, of: str) -> None:
    path = populate(home)
    file = path / ".qmailadmin-limits" if of == "domain" else home.path / "etc/vlimits.default"
    before = snapshot(home.path)
    for _ in as_directory(file):
        assert said(changes(home)["add_user"]) == NO_LIMITS
    assert snapshot(home.path) == before
    assert works(home)


POLICIES = [
    b"",
    b"\0\0\0\n",
    b"Length\n",
    b"Length >=\n",
    b"Length ~ 5\n",
    b"Nothing >= 5\nLength >= 500\n",
    b"Length >= x\n",
    b"Length >= nan\nAlphabet >= -inf\n",
    b"x" * 200_000 + b"\nLength >= 500\n",
    b"\xff\xfe >= 5\nLength >= 500\n",
    b"#" * 100_000,
]


@pytest.mark.parametrize("text", POLICIES, ids=lambda text: repr(text)[:24])
def test_a_damaged_password_policy(home: Any, text: bytes) -> None:
    populate(home)
    file = home.path / "etc/password_strength.conf"
    usual = file.read_bytes() if file.exists() else b""
    file.write_bytes(text)
    before = snapshot(home.path / "domains")
    answer = said(v.vpopmail_add_user, "carol", DOMAIN, "secret-3")
    assert answer == SUCCESS or answer.startswith("password ")
    assert (answer == SUCCESS) == (snapshot(home.path / "domains") != before)
    file.write_bytes(usual)
    assert works(home)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "password_strength.conf", marks=bundled_alone("the policy is read once in a process")
        ),
        "vlimits.default",
    ],
)
def test_files_in_etc_may_be_links(home: Any, tmp_path: Path, name: str) -> None:
    populate(home)
    (tmp_path / "real").write_text("Length >= 20\ndefault_quota 4096\n")
    (home.path / "etc" / name).unlink(missing_ok=True)
    (home.path / "etc" / name).symlink_to(tmp_path / "real")
    text = said(v.vpopmail_add_user, "carol", DOMAIN, "secret-3")
    if name == "vlimits.default":
        assert text == SUCCESS
        (carol,) = re.findall("carol:.*", (home.path / "domains" / DOMAIN / "vpasswd").read_text())
        assert carol.split(":")[6] == "4096S"
    else:
        assert text == "password requires more characters "


COUNTS = [
    b"",
    b"\n" * 8,
    b"2\n",
    b"-5\n0\n3\n",
    b"99999999999\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n",
    b"99\n9\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n",
    b"99\n0\n3\n-1 -1 -1\n99 99 99\n-9 900 4000\n7 7 7\n0\n",
    b"99\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n../../..\n",
    b"99\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n/etc\n",
    b"99\n2\n3\n0 0 0\n61 61 61\n4 4 4\n0 0 0\n0/0/0/0/0/0/0\n",
    b"99\n0\n3\n" + b"9" * 10_000 + b"\n",
    b"\0" * 500,
    b"\xff" * 500,
]


@pytest.mark.parametrize("text", COUNTS, ids=lambda text: repr(text)[:30])
@pytest.mark.parametrize("name", [".dir-control", ".dir_control_free"])
def test_a_damaged_count(home: Any, tmp_path: Path, name: str, text: bytes) -> None:
    path = populate(home)
    (path / name).write_bytes(text)
    above = sorted(os.listdir(tmp_path)), sorted(os.listdir(home.path / "domains"))
    for number in range(3):
        assert v.vpopmail_add_user(f"user{number}", DOMAIN, "secret-3")
    for number in range(3):
        # Each is where its line says, below the domain's directory.
        line = next(
            line
            for line in (path / "vpasswd").read_text().splitlines()
            if line.startswith(f"user{number}:")
        )
        directory = Path(line.split(":")[5])
        assert (directory / "Maildir/cur").is_dir()
        assert path in directory.resolve().parents
    assert (path / ".dir-control").read_bytes().count(b"\n") == 8
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(home.path / "domains"))) == above
    for number in range(3):
        assert v.vpopmail_del_user(f"user{number}", DOMAIN)
    assert works(home)


@pytest.mark.parametrize("text", COUNTS, ids=lambda text: repr(text)[:30])
def test_a_damaged_count_of_domains(home: Any, text: bytes) -> None:
    populate(home)
    (home.path / "domains/.dir-control").write_bytes(text)
    assert v.vpopmail_add_domain("b.com", str(home.path), home.uid, home.gid)
    (line,) = [
        line
        for line in (home.qmail / "users/assign").read_text().splitlines()
        if line.startswith("+b.com-:")
    ]
    directory = Path(line.split(":")[4])
    assert directory.is_dir()
    assert home.path / "domains" in directory.resolve().parents
    assert v.vpopmail_del_domain("b.com")
    assert works(home)


# --- a home that is not as it should be ----------------------------------------------------------


def outcomes(home: Path, ids: tuple[int, int]) -> dict[str, str]:
    calls: dict[str, Call] = {
        "add_domain": lambda: v.vpopmail_add_domain("b.com", str(home), *ids),
        "add_user": lambda: v.vpopmail_add_user("carol", DOMAIN, "secret-3"),
        "passwd": lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-3"),
        "set_user_quota": lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "5M"),
        "del_user": lambda: v.vpopmail_del_user("bob", DOMAIN),
        "alias_add": lambda: v.vpopmail_alias_add("more", DOMAIN, "&x@y.z"),
        "alias_del": lambda: v.vpopmail_alias_del("info", DOMAIN),
        "alias_del_domain": lambda: v.vpopmail_alias_del_domain(DOMAIN),
        "auth_user": lambda: v.vpopmail_auth_user("alice", DOMAIN, "secret-1"),
        "alias_get_all": lambda: v.vpopmail_alias_get_all(DOMAIN),
        "del_domain": lambda: v.vpopmail_del_domain(DOMAIN),
    }
    texts = {}
    for name, call in calls.items():
        text = said(call)
        texts[name] = text
        if name == "auth_user":
            texts[name] = str(call())
        if name == "alias_get_all":
            texts[name] = json.dumps(call())
    return texts


OUT_OF_REACH = {
    "add_domain": BAD_V_DIR,
    "add_user": BAD_D_DIR,
    "passwd": ILLEGAL,
    "set_user_quota": NO_USER,
    "del_user": BAD_D_DIR,
    "alias_add": ILLEGAL,
    "alias_del": ILLEGAL,
    "alias_del_domain": ILLEGAL,
    "auth_user": "False",
    "alias_get_all": "{}",
}


def test_a_home_that_does_not_exist(home: Any) -> None:
    populate(home)
    moved = home.path.with_name("moved")
    home.path.rename(moved)
    before = snapshot(moved, home.qmail)
    texts = outcomes(home.path, (home.uid, home.gid))
    texts.pop("del_domain")  # A domain without a directory can be deleted.
    # A real library looks at the limits first, which are in the home, too.
    assert texts == {**OUT_OF_REACH, **({"add_user": NO_LIMITS} if REAL else {})}
    assert not home.path.exists()
    moved.rename(home.path)
    assert before.keys() >= snapshot(home.qmail).keys()
    assert v.vpopmail_add_domain("other.com", str(home.path), home.uid, home.gid)
    assert v.vpopmail_add_user("alice", "other.com", "secret-1")


def test_a_qmail_that_does_not_exist(home: Any) -> None:
    populate(home)
    moved = home.qmail.with_name("moved")
    home.qmail.rename(moved)
    before = snapshot(moved, home.path)
    texts = outcomes(home.path, (home.uid, home.gid))
    assert texts["add_domain"] == NO_UPDATE
    assert texts["del_domain"] == texts["add_user"] == texts["del_user"] == NO_DOMAIN
    assert texts["set_user_quota"] == NO_USER
    assert texts["auth_user"] == "False"
    assert not home.qmail.exists()
    assert snapshot(moved, home.path) == before
    moved.rename(home.qmail)
    assert works(home)


def run_program(*arguments: str, before: list[str] | None = None) -> Any:
    path = os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [*(before or []), sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture
def reachable() -> Iterator[Any]:
    """An installation that others can get at, unless it is closed to them."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        yield Path(top)


@dataclass(frozen=True)
class Place:
    """An installation as the fixture `home` makes it."""

    path: Path
    qmail: Path
    uid: int
    gid: int

    @classmethod
    def made(cls, top: Path) -> Place:
        """Make it below a directory, with the domain."""
        place = cls(top / "vpopmail", top / "qmail", os.getuid(), os.getgid())
        for directory in (place.path / "domains", place.qmail / "control", place.qmail / "users"):
            directory.mkdir(parents=True)
        v.configure(home=place.path, qmail=place.qmail)
        populate(place)
        return place


@pytest.mark.parametrize("closed", ["vpopmail", "vpopmail/domains", "qmail"])
@bundled_alone("its home can't be another one")
@pytest.mark.usefixtures("home")
def test_a_home_that_cannot_be_read(reachable: Path, closed: str) -> None:
    if os.environ.get("VPOPMAIL_TEST_ROOT") == "userns":
        pytest.skip("root of a user namespace can't become another user")
    place = Place.made(reachable)
    home, qmail = place.path, place.qmail
    mode = (reachable / closed).stat().st_mode
    before = snapshot(home, qmail)
    (reachable / closed).chmod(0o000)
    try:
        texts = run_program("as-nobody", str(home), str(qmail))
    finally:
        (reachable / closed).chmod(mode)
    assert snapshot(home, qmail) == before
    if closed == "qmail":
        expected = dict.fromkeys(("add_domain", "add_user", "del_user", "del_domain"), NO_ASSIGN)
        expected |= {"auth_user": "False", "alias_get_all": "{}", "alias_add": ILLEGAL}
    else:
        expected = dict(OUT_OF_REACH)
        assert texts["del_domain"] in (BAD_D_DIR, NO_UPDATE)
    if closed == "vpopmail/domains":
        del expected["add_domain"]  # The directory itself can be reached.
    if closed == "vpopmail":
        # Whether it may be opened as a path alone is the system's to say.
        assert texts.pop("add_domain") in (BAD_V_DIR, NO_UPDATE)
        del expected["add_domain"]
    assert {name: texts[name] for name in expected} == expected
    assert UNKNOWN not in texts.values()
    assert v.vpopmail_auth_user("alice", DOMAIN, "secret-1")
    assert v.vpopmail_add_user("next", DOMAIN, "secret-3")


@bundled_alone("a full disk is as the library has it")
def test_a_full_disk() -> None:
    with tempfile.TemporaryDirectory() as top:
        mounting = os.geteuid() == 0 and _may_mount(Path(top))
        before = ["unshare", "--mount"] if mounting else None
        told = run_program("full-disk" if mounting else "file-limit", top, before=before)
    assert told["wrong"] == []
    # Each call has failed for want of room, and went well once there was some.
    assert set(told["failed"]) >= {"add_domain", "add_user", "passwd", "alias_add"}
    assert UNKNOWN not in {text for texts in told["failed"].values() for text in texts}


def _may_mount(top: Path) -> bool:
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(top)]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Disk:
    """Calls with less and less room, in a process of their own."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.wrong: list[str] = []
        self.failed: dict[str, list[str]] = {}

    def calls(self, home: Path) -> dict[str, Call]:
        ids = os.getuid(), os.getgid()
        return {
            "add_domain": lambda: v.vpopmail_add_domain("b.com", str(home), *ids),
            "add_user": lambda: v.vpopmail_add_user("carol", DOMAIN, "secret-3"),
            "passwd": lambda: v.vpopmail_passwd("alice", DOMAIN, "secret-4"),
            "set_user_quota": lambda: v.vpopmail_set_user_quota("alice", DOMAIN, "5M"),
            "alias_add": lambda: v.vpopmail_alias_add("info", DOMAIN, "&bob@example.com"),
            "del_user": lambda: v.vpopmail_del_user("bob", DOMAIN),
            "add_alias_domain": lambda: v.vpopmail_add_alias_domain(DOMAIN, "c.com"),
        }

    def attempt(self, place: str, name: str, call: Call, roots: tuple[Path, Path]) -> bool:
        before = snapshot(*roots)
        text = said(call)
        if text == SUCCESS:
            return True
        self.failed.setdefault(name, []).append(text)
        if snapshot(*roots) != before:
            after = snapshot(*roots)
            paths = sorted(p for p in before.keys() | after if before.get(p) != after.get(p))
            self.wrong.append(f"{name}, {place}: {text}, but changed: {paths}")
        return False

    def full(self) -> None:
        """A file system in memory with so many free pages, or so many free inodes."""
        for options in ("size=1m", "nr_inodes=400"):
            for name in self.calls(self.top):
                for room in range(30):
                    if self._with_room(options, name, room):
                        break
                else:
                    self.wrong.append(f"{name} never went well ({options})")

    def _with_room(self, options: str, name: str, room: int) -> bool:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(self.top)], check=True)
        try:
            place = Place.made(self.top)
            home, qmail = place.path, place.qmail
            filler = self._fill(room, pages=options.startswith("size"))
            went_well = self.attempt(
                f"{options} {room}", name, self.calls(home)[name], (home, qmail)
            )
            shutil.rmtree(filler)
            if not went_well and said(self.calls(home)[name]) != SUCCESS:
                self.wrong.append(f"{name}, {options} {room}: fails with room, too")
        finally:
            subprocess.run(["umount", "-l", str(self.top)], check=True)
        return went_well

    def _fill(self, room: int, pages: bool) -> Path:
        filler = self.top / "filler"
        filler.mkdir()
        free = os.statvfs(self.top)
        if pages:
            (filler / "big").write_bytes(b"x" * (free.f_bfree - room) * free.f_bsize)
        else:
            for number in range(free.f_ffree - room):
                (filler / f"{number}").touch()
        return filler

    def limited(self) -> None:
        """Files may have so many bytes."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        place = Place.made(self.top)
        home, qmail = place.path, place.qmail
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for name, call in self.calls(home).items():
            for size in (0, 1, 10, 30, 60, 100, 200, 400, 1000, 2047, 2100, 2200):
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
                went_well = self.attempt(f"{size} bytes", name, call, (home, qmail))
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
                if went_well:
                    break
            else:
                if said(call) != SUCCESS:
                    self.wrong.append(f"{name} fails with room, too")


def main(what: str, top: str, qmail: str = "") -> object:
    if what == "as-nobody":
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        v.configure(home=top, qmail=qmail)
        return outcomes(Path(top), (os.getuid(), os.getgid()))
    disk = Disk(Path(top))
    if what == "full-disk":
        disk.full()
    else:
        disk.limited()
    return {"wrong": disk.wrong, "failed": disk.failed}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
