"""The bundled library's package beside a linked real one's, each with a tree of its own.

Both see their tree as /home/vpopmail, /var/qmail and /srv/mail, in mount namespaces of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext
from tests.conformance import tree

TOP = Path(__file__).parents[2]
MOUNTS = (tree.HOME, tree.QMAIL, "/srv/mail")

_INFO = vpopmail_ext.info()
_PLACES = (tree.HOME, tree.QMAIL)

on_real_cdb = pytest.mark.skipif(
    _INFO.library != "real"
    or _INFO.auth_module != "cdb"
    or (_INFO.home, _INFO.qmail) != _PLACES
    or os.environ.get("VPOPMAIL_TEST_ROOT") != "root",
    reason="needs a linked real libvpopmail with its cdb module in tests/container.sh, as root "
    "(make test-system VPOPMAIL_HOME=…)",
)


def build_bundled(directory: Path) -> Path:
    """Build the package with the bundled library; return what PYTHONPATH is to be for it."""
    copy = directory / "bundled"
    for name in ("csrc", "docs", "linking", "vpopmail_ext", "tests"):
        shutil.copytree(
            TOP / name, copy / name, ignore=shutil.ignore_patterns("*.so", "_binding.c")
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "build_libvpopmail.sh"):
        shutil.copy(TOP / name, copy)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=copy,
        env={**os.environ, "VPOPMAIL_EXT_LIBRARY": "bundled"},
        check=True,
    )
    return copy


def lay_out(root: Path, programs: Path | None) -> None:
    """Make an empty installation below `root`; `programs` is the one whose programs it has."""
    home, qmail = root / tree.HOME[1:], root / tree.QMAIL[1:]
    for directory in (home / "domains", home / "etc", qmail / "users", qmail / "control"):
        directory.mkdir(parents=True)
    (root / "srv/mail").mkdir(parents=True)
    shutil.copytree(f"{tree.QMAIL}/bin", qmail / "bin")
    shutil.copytree(programs or f"{tree.HOME}/bin", home / "bin")
    if _INFO.library_path.endswith(".so"):  # which loads more from its home
        shutil.copytree(f"{tree.HOME}/lib", home / "lib")
        for name in ("vpopmail.authmodule", "vusagec.conf"):
            shutil.copy(f"{tree.HOME}/etc/{name}", home / "etc", follow_symlinks=False)
    (home / "domains").chmod(0o700)
    os.chown(home / "domains", 89, 89)
    (home / "etc/vlimits.default").write_text("maxpopaccounts -1\n")
    (home / "etc/password_strength.conf").write_text("Length >= 1\n")


def contained(root: Path, command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` with the tree below `root`."""
    mounts = [part for path in MOUNTS for part in ("--bind", f"{root}{path}", path)]
    return ["bwrap", "--dev-bind", "/", "/", *mounts, "--", *command]


class Worker:
    """A process that makes calls of the package on the tree below `root`."""

    def __init__(self, root: Path, package: Path) -> None:
        self.root = root
        Path("/srv/mail").mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            contained(root, [sys.executable, "-m", "tests.system.worker"]),
            cwd="/",
            env={
                **os.environ,
                "VPOPMAIL_HOME": tree.HOME,
                "QMAIL_HOME": tree.QMAIL,
                "PYTHONPATH": str(package),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: str, arguments: Sequence[Any]) -> Any:
        """Make a call; return what came of it."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([function, list(arguments)]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
