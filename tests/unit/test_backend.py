"""``pip install .`` with ``-C library=…``, from a checkout and from a source distribution."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from setuptools import build_meta

from linking import backend
from tests.installation import copy_project, lay_out

Called = list[tuple[str | None, tuple[Any, ...]]]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """Return what setuptools is asked for: the environment's library, and the arguments."""
    calls: Called = []

    def build(*arguments: Any) -> str:
        calls.append((os.environ.get("VPOPMAIL_EXT_LIBRARY"), arguments))
        return "a.whl"

    for name in ("build_wheel", "build_editable"):
        monkeypatch.setattr(build_meta, name, build)
    monkeypatch.delenv("VPOPMAIL_EXT_LIBRARY", raising=False)
    return calls


@pytest.mark.parametrize("name", ["build_wheel", "build_editable"])
@pytest.mark.parametrize(
    ("settings", "library"),
    [
        (None, None),
        ({}, None),
        ({"library": "real"}, "real"),
        ({"library": "bundled"}, "bundled"),
        # Given twice; neither is guessed.
        ({"library": ["real", "bundled"]}, "real, bundled"),
    ],
)
def test_the_setting_is_the_environment_s(
    called: Called, name: str, settings: backend.Settings | None, library: str | None
) -> None:
    assert getattr(backend, name)("wheels", settings, "metadata") == "a.whl"
    assert called == [(library, ("wheels", None, "metadata"))]
    assert "VPOPMAIL_EXT_LIBRARY" not in os.environ


def test_the_setting_is_stronger_than_the_environment(
    called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPOPMAIL_EXT_LIBRARY", "auto")
    backend.build_wheel("wheels")
    backend.build_wheel("wheels", {"library": "real"})
    assert [library for library, _ in called] == ["auto", "real"]
    assert os.environ["VPOPMAIL_EXT_LIBRARY"] == "auto"


def test_the_environment_comes_back_after_a_failure(
    called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> str:
        raise SystemExit("no")

    monkeypatch.setattr(build_meta, "build_wheel", fail)
    with pytest.raises(SystemExit):
        backend.build_wheel("wheels", {"library": "real"})
    assert "VPOPMAIL_EXT_LIBRARY" not in os.environ


def test_another_setting_is_refused(called: Called) -> None:
    with pytest.raises(SystemExit) as caught:
        backend.build_wheel("wheels", {"libary": "real", "library": "real"})
    assert caught.value.code == (
        "vpopmail_ext: the setting libary is not known; -C takes library=real, library=bundled or "
        "library=auto."
    )
    assert called == []


def pip(source: Path, site: Path, library: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Install as an administrator does, but for the packages that are there already."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)]
    command += [
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "--no-cache-dir",
        "-C",
        f"library={library}",
    ]
    return subprocess.run(
        [*command, str(source)],
        env={**os.environ, "VPOPMAIL_HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_pip_and_a_source_distribution(tmp_path: Path) -> None:
    home = lay_out(tmp_path / "vpopmail")
    make = "import sys; from linking import backend; print(backend.build_sdist(sys.argv[1]))"
    copy = copy_project(tmp_path / "copy")
    made = subprocess.run(
        [sys.executable, "-c", make, tmp_path], cwd=copy, check=True, capture_output=True, text=True
    )
    source = tmp_path / made.stdout.splitlines()[-1]
    done = pip(source, tmp_path / "site", "real", home)
    assert done.returncode == 0, done.stdout
    tell = "import vpopmail_ext as v; print(v.info().library_path, v.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", tell],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "VPOPMAIL_HOME": str(home)}
        | {"QMAIL_HOME": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout == f"{home}/lib/libvpopmail.a {tmp_path}/site/vpopmail_ext/__init__.py\n"
    assert not (tmp_path / "site/linking").exists()


def test_pip_shows_why_not(tmp_path: Path) -> None:
    copy = copy_project(tmp_path / "copy")
    done = pip(copy, tmp_path / "site", "real", tmp_path)
    assert done.returncode != 0
    assert f"vpopmail_ext: {tmp_path} is no installation of vpopmail: there is no " in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "site").exists()
