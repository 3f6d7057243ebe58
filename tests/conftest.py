"""A throw-away installation for each test."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, settings

import vpopmail_ext

if "VPOPMAIL_TEST_SANITIZED" in os.environ:
    # To explain a failure, hypothesis traces every line of Python: minutes under a sanitizer.
    settings.register_profile("sanitized", phases=set(Phase) - {Phase.explain})
    settings.load_profile("sanitized")


@dataclass(frozen=True)
class Home:
    """An installation: vpopmail's home, qmail's directory, and the ids that own domains."""

    path: Path
    qmail: Path
    uid: int
    gid: int


def domain_ids() -> tuple[int, int]:
    """Tell the ids that domains can be given to here: vpopmail's as root, else the own ones."""
    mapped = (
        "VPOPMAIL_TEST_SCRATCH" in os.environ or os.environ.get("VPOPMAIL_TEST_ROOT") == "userns"
    )
    if os.geteuid() == 0 and not mapped:
        return 89, 89
    return os.getuid(), os.getgid()


def open_to_all(path: Path) -> None:
    """Let other users reach what is in a directory of ours."""
    for directory in (path, *path.parents):
        if directory != Path("/") and directory.stat().st_uid == os.geteuid():
            directory.chmod(directory.stat().st_mode | 0o055)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Make an empty installation, which the package uses until the test ends."""
    before = vpopmail_ext.info()
    made = Home(tmp_path / "vpopmail", tmp_path / "qmail", *domain_ids())
    for directory in (made.path / "domains", made.path / "etc", made.qmail / "control"):
        directory.mkdir(parents=True)
    (made.qmail / "users").mkdir()
    (made.path / "domains").chmod(0o700)
    os.chown(made.path / "domains", made.uid, made.gid)
    (made.path / "etc/vlimits.default").write_text("maxpopaccounts -1\n")
    (made.path / "etc/password_strength.conf").write_text("Length >= 1\n")
    vpopmail_ext.configure(home=made.path, qmail=made.qmail)
    yield made
    vpopmail_ext.configure(home=before.home, qmail=before.qmail)
