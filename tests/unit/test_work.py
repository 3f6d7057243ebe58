"""How much work a change is: bytes read and written, counted by the kernel, whatever the time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpopmail_ext import (
    vpopmail_add_domain,
    vpopmail_add_user,
    vpopmail_del_user,
    vpopmail_passwd,
    vpopmail_set_user_quota,
)

DOMAIN = "example.com"
# Limits, the domain's other files, the user's own: they do not grow with the domain.
OTHER_FILES = 4096
# vpasswd is read and written in blocks of at least so many bytes.
BLOCK = 65_536


def io_counts() -> dict[str, int]:
    """Return what this process has read and written through system calls, and in how many."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def work(function: Callable[..., bool], *arguments: str) -> dict[str, int]:
    before = io_counts()
    assert function(*arguments)
    return {name: value - before[name] for name, value in io_counts().items()}


CHANGES: dict[str, tuple[Callable[..., bool], tuple[str, ...]]] = {
    "add_user": (vpopmail_add_user, ("user2x", DOMAIN, "a-password")),
    "passwd": (vpopmail_passwd, ("someone", DOMAIN, "another-password")),
    "set_user_quota": (vpopmail_set_user_quota, ("someone", DOMAIN, "5M")),
    "del_user": (vpopmail_del_user, ("someone", DOMAIN)),
}


@pytest.mark.skipif(not os.access("/proc/self/io", os.R_OK), reason="no /proc/self/io here")
@pytest.mark.parametrize("users", [100, 4000])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reads_and_writes_each_file_once(home: Any, name: str, users: int) -> None:
    assert vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    path = home.path / "domains" / DOMAIN
    filler = "".join(
        f"user{i:05d}:$6${'s' * 8}${'h' * 86}:1:0:Some One:{path}/0/user{i:05d}:NOQUOTA\n"
        for i in range(users)
    )
    (path / "vpasswd").write_text(filler)
    (path / "vpasswd").chmod(0o600)
    os.chown(path / "vpasswd", home.uid, home.gid)
    assert vpopmail_add_user("someone", DOMAIN, "a-password")
    size = (path / "vpasswd").stat().st_size
    function, arguments = CHANGES[name]
    done = work(function, *arguments)
    text, cdb = ((path / file).stat().st_size for file in ("vpasswd", "vpasswd.cdb"))
    assert size <= done["rchar"] <= size + OTHER_FILES
    assert text + cdb <= done["wchar"] <= text + cdb + OTHER_FILES
    assert done["syscr"] <= size // BLOCK + 40
    assert done["syscw"] <= (text + cdb) // BLOCK + 20
