"""Make corpus/ of what the recordings hold: ``python -m tests.fuzz.seeds [TARGET…]``.

Of all that the recorded files hold for a parser libFuzzer keeps what reaches more of it (-merge).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests import cdb
from tests.conformance.tree import Entry, entry
from tests.fuzz.__main__ import BUILD, HERE, TOP, build

TRACES = TOP / "tests/conformance/traces"
LARGEST = 4096
TEXTS = {
    "assign": "assign",
    ".dir-control": "dir_control",
    ".dir_control_free": "dir_control",
    ".qmail-default": "catchall",
    ".qmailadmin-limits": "limits",
    "vlimits.default": "limits",
    "rcpthosts": "control",
    "morercpthosts": "control",
    "virtualdomains": "control",
    "locals": "control",
    "password_strength.conf": "password_policy",
}
"""A file's name and the target that takes its text."""
KEYED = {"catchall": b"alice", "control": b"mail.test", "password_policy": b"s3cret-PW"}
"""What stands before the text there, and a NUL."""


def main(targets: Sequence[str]) -> None:
    """Write corpus/, or what it has for those targets, anew."""
    seeds: dict[str, set[bytes]] = defaultdict(set)
    for path in sorted(TRACES.glob("*.json")):
        for target, data in of_trace(json.loads(path.read_text())):
            if len(data) <= LARGEST and (target in targets or not targets):
                seeds[target].add(data)
    build(seeds)
    for target, inputs in sorted(seeds.items()):
        corpus = HERE / "corpus" / target
        shutil.rmtree(corpus, ignore_errors=True)
        corpus.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            for data in inputs:
                (Path(scratch) / hashlib.sha1(data).hexdigest()).write_bytes(data)
            command = [BUILD / target, "-merge=1", corpus, scratch]
            subprocess.run(command, check=True, capture_output=True, cwd=scratch)
        print(target, len(inputs), "recorded,", len(list(corpus.iterdir())), "kept")


def of_trace(trace: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield (target, input) for all that a trace's files, and calls with a quota, hold."""
    files = {path: entry(recorded) for path, recorded in trace["start"].items()}
    yield from of_files(files, files)
    for call in trace["calls"]:
        changed = {path: entry(recorded) for path, recorded in call.get("changed", {}).items()}
        files.update(changed)
        yield from of_files(files, changed)
        if call.get("fn") == "vpopmail_set_user_quota":
            yield "quota", str(call["args"][2]).encode()


def of_files(files: dict[str, Entry], changed: dict[str, Entry]) -> Iterator[tuple[str, bytes]]:
    """Yield those of files that have changed."""
    for path, file in changed.items():
        directory, _, name = path.rpartition("/")
        if target := TEXTS.get(name):
            key = KEYED.get(target)
            yield target, file.data if key is None else key + b"\0" + file.data
        elif name.startswith(".qmail-"):
            yield "dot_qmail", file.data
        elif name == "vpasswd":
            for line in file.data.splitlines():
                yield "vpasswd_line", line
            yield from of_accounts(file.data)
        elif name == "cdb" and "assign" in file.source:
            text = files[f"{directory}/assign"].data
            yield "users_cdb", b"example.com\0" + cdb.of("assign", text)
        elif name == "vpasswd.cdb":
            text = files[f"{directory}/vpasswd"].data
            yield "vpasswd_cdb", text.partition(b":")[0] + b"\0" + cdb.of("vpasswd", text)
        elif name == "maildirsize":
            inside = [other for other in files if other.startswith(directory)]
            names = [
                other.rpartition("/")[2] for other in inside if ",S=" in other or ":2" in other
            ]
            yield "maildirsize", b"\n".join([file.data.split(b"\n")[0], *map(str.encode, names)])


def of_accounts(vpasswd: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what is made of whole accounts: the file with a name, and the users as new ones."""
    users = [line.split(b":") for line in vpasswd.splitlines()]
    if all(len(fields) == 7 for fields in users):
        yield "vpasswd", users[0][0] + b"\0" + vpasswd if users else b"alice\0"
        paths = b"\n".join(
            fields[5].partition(b"/domains/")[2].partition(b"/")[2] for fields in users
        )
        yield "adding", b"\0" + paths
        yield "adding", vpasswd + b"\0" + paths
        rows = [
            [name, b"", b"=" + hashed, gecos, kind, flags, quota]
            for name, hashed, kind, flags, gecos, _, quota in users
        ]
        yield "bulk", b"".join(field + b"\0" for row in rows for field in row)


if __name__ == "__main__":
    main(sys.argv[1:])
