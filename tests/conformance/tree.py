"""File trees: as a trace tells them, as they are on disk, and in what two of them differ."""

from __future__ import annotations

import base64
import difflib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests import cdb

ROOTS = (
    "/home/vpopmail/domains",
    "/home/vpopmail/etc",
    "/srv/mail",
    "/var/qmail/users",
    "/var/qmail/control",
)
HOME = "/home/vpopmail"
QMAIL = "/var/qmail"
WORK = "/tmp/rec"
"""The directory that the calls were made in."""
INSTALLED = (f"{HOME}/etc/vpopmail.authmodule", f"{HOME}/etc/vusagec.conf")
"""What vpopmail 5.5 can't do without; no recording has it."""

_KINDS = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
_MAPPED = re.compile(rb"(?:/home/vpopmail|/var/qmail|/srv/mail|/tmp/rec)(?![\w.-])")
_ASSIGN_IDS = re.compile(rb"(?m)^([+=][^:\n]*:[^:\n]*:)[0-9]+:[0-9]+:")
_SHOWN_LINES = 24

cdb_of = lru_cache(maxsize=256)(cdb.of)


@dataclass(frozen=True)
class Entry:
    """A file, directory or link. Exactly one of `data` and `source` says what a file holds."""

    kind: str
    mode: int
    uid: int
    gid: int
    data: bytes = b""
    """A file's bytes or a link's target."""
    source: str = ""
    """The name of the text file beside it that this cdb is made of, whatever that holds."""


Tree = dict[str, Entry]


def entry(recorded: Mapping[str, Any]) -> Entry:
    """Return the entry for a trace's JSON; a cdb is made of its records and checked."""
    made = Entry(
        kind=recorded["type"],
        mode=int(recorded["mode"], 8),
        uid=recorded["uid"],
        gid=recorded["gid"],
        source=recorded.get("cdb_of", ""),
    )
    return replace(made, data=_data(recorded))


def _data(recorded: Mapping[str, Any]) -> bytes:
    if "base64" in recorded:
        return base64.b64decode(recorded["base64"])
    if "cdb" in recorded:
        data = cdb.make((key.encode(), value.encode()) for key, value in recorded["cdb"])
        if hashlib.sha256(data).hexdigest() != recorded["sha256"]:
            raise ValueError("a recorded cdb is not what its records give")
        return data
    text: str = recorded.get("text", recorded.get("target", ""))
    return text.encode()


@dataclass(frozen=True)
class Place:
    """Where a trace's paths and ids are on this machine."""

    scratch: str = ""
    """The directory that the recorded paths are put below; empty: they are used as they are."""
    own_ids: bool = False
    """Everything belongs to this process's user and group, whoever it belonged to."""

    def path(self, recorded: str) -> str:
        """Return where the recorded path is."""
        return self.scratch + recorded

    def data(self, recorded: bytes) -> bytes:
        """Return text of a file, argument or result with its paths mapped."""
        if not self.scratch:
            return recorded
        scratch = os.fsencode(self.scratch)
        return _MAPPED.sub(lambda path: scratch + path[0], recorded)

    def entry(self, path: str, recorded: Entry) -> Entry:
        """Return the entry that the recorded one at `path` is here."""
        data = self.data(recorded.data)
        if not self.own_ids:
            return replace(recorded, data=data)
        uid, gid = os.geteuid(), os.getegid()
        if path == f"{QMAIL}/users/assign":
            data = _ASSIGN_IDS.sub(rb"\g<1>%d:%d:" % (uid, gid), data)
        return replace(recorded, data=data, uid=uid, gid=gid)


def lay_out(tree: Tree, place: Place) -> None:
    """Make the five roots hold `tree` and, besides what is installed, nothing else."""
    installed = {path: _entry_at(path) for path in INSTALLED if os.path.lexists(path)}
    for root in ROOTS:
        _remove(place.path(root))
    write(tree, tree, place)
    write(installed, installed, Place())


def write(entries: Tree, tree: Tree, place: Place) -> None:
    """Put `entries` on disk; `tree` is where a cdb finds its source."""
    for path in sorted(entries):
        _write(place.path(path), entries[path], content(path, tree))


def remove(paths: Iterable[str], place: Place) -> None:
    """Take paths away from the disk, with what is below them."""
    for path in paths:
        _remove(place.path(path))


def _write(path: str, made: Entry, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if made.kind == "dir":
        os.makedirs(path, exist_ok=True)
    else:
        _remove(path)
        if made.kind == "link":
            os.symlink(content, path)
        else:
            Path(path).write_bytes(content)
    os.chown(path, made.uid, made.gid, follow_symlinks=False)
    if made.kind != "link":
        os.chmod(path, made.mode)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def scan(place: Place) -> Tree:
    """Return what the five roots hold, by recorded path."""
    found: Tree = {}
    for root in ROOTS:
        for path in _walk(place.path(root)):
            found[path[len(place.scratch) :]] = _entry_at(path)
    return {path: entry for path, entry in found.items() if path not in INSTALLED}


def _walk(path: str) -> Iterator[str]:
    if not os.path.lexists(path):
        return
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for name in os.listdir(path):
            yield from _walk(f"{path}/{name}")


def _entry_at(path: str) -> Entry:
    status = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
    data = b""
    if kind == "file":
        data = Path(path).read_bytes()
    elif kind == "link":
        data = os.fsencode(os.readlink(path))
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, data)


def differences(expected: Tree, found: Tree) -> list[str]:
    """Return a text for each thing in which what was found is not what was expected."""
    texts: list[str] = []
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            texts.append(f"{path}: is missing")
        elif path not in expected:
            texts.append(f"{path}: should not be there")
        else:
            texts += _entry_differences(path, expected, found[path])
    return texts


def _entry_differences(path: str, tree: Tree, found: Entry) -> Iterator[str]:
    expected = tree[path]
    if expected.kind != found.kind:
        yield f"{path}: expected a {expected.kind}, got a {found.kind}"
        return
    if expected.mode != found.mode:
        yield f"{path}: expected mode {expected.mode:04o}, got {found.mode:04o}"
    if (expected.uid, expected.gid) != (found.uid, found.gid):
        owners = f"{expected.uid}:{expected.gid}, got {found.uid}:{found.gid}"
        yield f"{path}: expected owner {owners}"
    held = content(path, tree)
    if held != found.data:
        yield f"{path}:\n{_content_difference(held, found.data)}"


def content(path: str, tree: Tree) -> bytes:
    """Return what a file holds, or is to hold."""
    made = tree[path]
    if not made.source:
        return made.data
    return cdb_of(made.source, tree[f"{os.path.dirname(path)}/{made.source}"].data)


def _content_difference(expected: bytes, found: bytes) -> str:
    if b"\0" in expected:
        return _cdb_difference(expected, found)
    return _diff(_shown_lines(expected), _shown_lines(found))


def _cdb_difference(expected: bytes, found: bytes) -> str:
    try:
        wanted, got = cdb.read(expected), cdb.read(found)
    except ValueError as error:
        return f"    expected a cdb of {len(expected)} bytes, got {len(found)} bytes; {error}"
    if wanted == got:
        pairs = enumerate(zip(expected, found, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), len(expected))
        return f"    the same records laid out differently, from byte {at} on"
    return _diff([repr(record) for record in wanted], [repr(record) for record in got])


def _shown_lines(data: bytes) -> list[str]:
    # repr shows what a terminal hides; the newline is seen where it is missing.
    lines = data.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    return [
        repr(line)[1:-1].removesuffix("\\n") if line.endswith("\n") else repr(line)
        for line in lines
    ]


def _diff(expected: list[str], found: list[str]) -> str:
    lines = list(difflib.unified_diff(expected, found, "expected", "got", lineterm="", n=1))
    if len(lines) > _SHOWN_LINES:
        lines[_SHOWN_LINES:] = [f"… {len(lines) - _SHOWN_LINES} lines more"]
    return "\n".join(f"    {line}" for line in lines)
