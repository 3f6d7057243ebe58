"""Which processes run what, by /proc."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator


def running(program: str) -> list[int]:
    """Return the ids of the processes that run the file `program`, or did when it was replaced.

    Others' processes can be told by root alone, by others where their name is the program's.
    """
    wanted = os.path.realpath(program)
    name = os.path.basename(wanted)[:15]
    found = []
    for pid in _all():
        try:
            runs = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)") == wanted
        except PermissionError:
            runs = _name(pid) == name
        except OSError:
            continue
        if runs:
            found.append(pid)
    return found


def owners(names: Collection[str]) -> dict[str, set[int]]:
    """Return the user ids that processes of these names run as."""
    found: dict[str, set[int]] = {}
    for pid in _all():
        if (name := _name(pid)) in names:
            try:
                uid = os.stat(f"/proc/{pid}").st_uid
            except OSError:
                continue
            found.setdefault(name, set()).add(uid)
    return found


def _all() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdecimal())


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""
