"""A throw-away installation for each test."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, settings

import vpopmail_ext
from tests import torture

if "VPOPMAIL_TEST_SANITIZED" in os.environ:
    # To explain a failure, hypothesis traces every line of Python: minutes under a sanitizer.
    settings.register_profile("sanitized", phases=set(Phase) - {Phase.explain})
    settings.load_profile("sanitized")


def _is_not_traced() -> None:
    """Keep a child from waiting for coverage's lock, which a thread of its parent's may have."""
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]


os.register_at_fork(after_in_child=_is_not_traced)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `make torture RESUME=1` has of this code."""
    if torture.FACTOR and os.environ.get("VPOPMAIL_TEST_RESUME"):
        had = [item for item in items if torture.is_done(item.nodeid)]
        config.hook.pytest_deselected(items=had)
        items[:] = [item for item in items if item not in had]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    note_skipped(report)
    if torture.FACTOR and report.when == "call" and report.passed:
        torture.enter(report.nodeid)


WANTING = ("needs other users", "needs another user", "needs root", "only root", "needs the Debian")
WANTING += ("there is one file system", "strace", "seccomp", "this user may not make devices")
"""What the reasons begin with for which .ci/run is not to leave tests out."""
left_out: list[str] = []


def note_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Note what is left out although all is to be there."""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if "VPOPMAIL_TEST_ALL" in os.environ and reason.startswith(WANTING):
            left_out.append(f"{report.nodeid}: {reason}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    note_skipped(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if left_out:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for each in left_out:
        terminalreporter.write_line(f"LEFT OUT, though VPOPMAIL_TEST_ALL is set: {each}")
    if torture.FACTOR and torture.figures:
        terminalreporter.section("figures")
        for test, lines in torture.figures.items():
            for line in lines:
                terminalreporter.write_line(f"{test.split('::')[-1]}: {line}")


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


def scratch_home(top: Path) -> Home:
    """Make an empty installation for the bundled library, below a directory."""
    return fill(Home(top / "vpopmail", top / "qmail", *domain_ids()))


def compiled_in_home() -> Home:
    """Lay out anew the installation that the linked real library has compiled in."""
    if not INSTALLATION.is_dir():
        pytest.skip("the home of a real libvpopmail is laid out in tests/container.sh alone")
    linked = vpopmail_ext.info()
    home = Home(Path(linked.home), Path(linked.qmail), *domain_ids())
    for top, of, names in ((home.path, "home", INSTALLED), (home.qmail, "qmail", ("bin",))):
        top.mkdir(parents=True, exist_ok=True)
        top.chmod(0o755)
        for path in top.iterdir():
            remove(path)
        for name in names:
            shutil.copytree(INSTALLATION / of / name, top / name, symlinks=True)
    for path in (home.path / "etc").iterdir():
        if path.name not in KEPT:
            path.unlink()
    return fill(home)


INSTALLATION = Path("/srv/installation")
"""Where tests/container.sh shows what is to be copied."""
INSTALLED = ("bin", "etc", "include", "lib")
KEPT = {"inc_deps", "lib_deps", "vpopmail.authmodule", "vpopmail.mysql", "vusagec.conf"}


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def fill(home: Home) -> Home:
    """Make what an installation has before its first domain."""
    for directory in (home.path / "domains", home.path / "etc", home.qmail / "control"):
        directory.mkdir(parents=True, exist_ok=True)
    (home.qmail / "users").mkdir()
    (home.path / "domains").chmod(0o700)
    os.chown(home.path / "domains", home.uid, home.gid)
    (home.path / "etc/vlimits.default").write_text("maxpopaccounts -1\n")
    (home.path / "etc/password_strength.conf").write_text("Length >= 1\n")
    return home


@contextmanager
def own_programs(top: Path) -> Iterator[Path]:
    """Give an empty `top`/bin for programs of the test's own; what is installed comes back."""
    programs, installed = top / "bin", top / "bin.installed"
    if programs.exists():
        programs.rename(installed)
    programs.mkdir()
    yield programs
    remove(programs)
    if installed.exists():
        installed.rename(programs)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Make an empty installation, which the package uses until the test ends."""
    before = vpopmail_ext.info()
    made = compiled_in_home() if before.library == "real" else scratch_home(tmp_path)
    vpopmail_ext.configure(home=made.path, qmail=made.qmail)
    yield made
    vpopmail_ext.configure(home=before.home, qmail=before.qmail)


@pytest.fixture
def programs(home: Home, tmp_path: Path) -> Home:
    """An installation with vpopmail's programs, which the _ex functions run."""
    built = Path(os.environ.get("VPOPMAIL_HOME", "/nonexistent"), "bin")
    if not (home.path / "bin").exists():
        if not (built / "vadddomain").exists():
            script = Path(__file__).parents[1] / "build_libvpopmail.sh"
            command = [script, "--prefix", tmp_path / "built", "--qmail", "/q"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            built = tmp_path / "built/bin"
        (home.path / "bin").symlink_to(built)
    return home
