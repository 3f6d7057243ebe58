"""Where the installation is, what is linked, and ``python -m vpopmail_ext``."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import vpopmail_ext as v
from vpopmail_ext._binding import ffi
from vpopmail_ext._binding import lib as real_library

# `vpopmail_ext.info` is the function, which hides the module of that name.
module: Any = import_module("vpopmail_ext.info")


@pytest.fixture(autouse=True)
def _directories_stay() -> Iterator[None]:
    before = v.info()
    yield
    v.configure(before.home, before.qmail)


def example(**changes: Any) -> v.Info:
    made = v.Info(
        vpopmail_version="5.6.13",
        uid=89,
        gid=89,
        process_ids=(0, 0, 0, 0),
        home="/home/vpopmail",
        vadddomain="/home/vpopmail/bin/vadddomain",
        vdeldomain="/home/vpopmail/bin/vdeldomain",
        vaddaliasdomain="/home/vpopmail/bin/vaddaliasdomain",
        valias=True,
        library="bundled",
        library_path="/lib/_binding.so",
        auth_module="cdb",
        sql_aliases=False,
        password_policy=True,
        clear_passwords=False,
        user_name_max=64,
        gecos_max=64,
        simd="avx2",
        qmail="/var/qmail",
        version="0.1.0",
    )
    return dataclasses.replace(made, **changes)


def test_rows_are_phpinfo_s_then_the_others() -> None:
    assert example().rows() == [
        ("vpopmail support", "enabled"),
        ("vpopmail version", "5.6.13"),
        ("vpopmail uid/gid php uid/gid/euid/egid", "89/89 0/0/0/0"),
        ("vpopmail dir", "/home/vpopmail"),
        ("vpopmail vadddomain", "/home/vpopmail/bin/vadddomain"),
        ("vpopmail vdeldomain", "/home/vpopmail/bin/vdeldomain"),
        ("vpopmail vaddaliasdomain", "/home/vpopmail/bin/vaddaliasdomain"),
        ("vpopmail valias support", "Enabled"),
        ("vpopmail library", "bundled"),
        ("vpopmail library path", "/lib/_binding.so"),
        ("vpopmail auth module", "cdb"),
        ("vpopmail aliases in SQL", "no"),
        ("vpopmail password policy", "yes"),
        ("vpopmail clear passwords", "not kept"),
        ("vpopmail longest user name, gecos", "64, 64"),
        ("passwords hashed in lanes", "avx2"),
        ("qmail dir", "/var/qmail"),
        ("vpopmail_ext version", "0.1.0"),
    ]


def test_rows_of_another_library() -> None:
    other = example(valias=False, sql_aliases=True, password_policy=False, clear_passwords=True)
    rows = dict(other.rows())
    assert rows["vpopmail password policy"] == "no"
    assert rows["vpopmail clear passwords"] == "kept"
    assert rows["vpopmail valias support"] == "Not supported by vpopmail"
    assert rows["vpopmail aliases in SQL"] == "yes"


def test_info_of_what_is_linked() -> None:
    info = v.info()
    assert re.fullmatch(r"5\.[0-9.]+", info.vpopmail_version)
    assert info.process_ids == (os.getuid(), os.getgid(), os.geteuid(), os.getegid())
    assert info.vadddomain == f"{info.home}/bin/vadddomain"
    assert info.vdeldomain == f"{info.home}/bin/vdeldomain"
    assert info.vaddaliasdomain == f"{info.home}/bin/vaddaliasdomain"
    assert info.version == v.__version__
    assert Path(info.library_path).is_file()


@pytest.mark.parametrize("bundled", [0, 1])
def test_info_of_either_library(monkeypatch: pytest.MonkeyPatch, bundled: int) -> None:
    path = b"" if bundled else b"/home/lib/libvpopmail.a"
    texts = [ffi.new("char[]", text) for text in (b"5.4.33", b"mysql", path, b"off")]  # type: ignore[call-arg]

    def tell(out: Any) -> None:
        out.bundled, out.has_valias, out.uid, out.gid = bundled, 1, 89, 90
        out.version, out.auth_module, out.path, out.simd = texts
        out.has_policy, out.max_user, out.max_gecos = 0, 32, 48
        out.clear_passwords = 1

    names = ("vpx_home", "vpx_qmail", "vpx_free")
    library = SimpleNamespace(
        vpx_library=tell, **{name: getattr(real_library, name) for name in names}
    )
    monkeypatch.setattr(module, "lib", library)
    info = v.info()
    assert (info.vpopmail_version, info.auth_module) == ("5.4.33", "mysql")
    assert (info.uid, info.gid, info.sql_aliases, info.simd) == (89, 90, True, "off")
    assert (info.password_policy, info.user_name_max, info.gecos_max) == (False, 32, 48)
    assert info.clear_passwords is True
    if bundled:
        assert info.library == "bundled"
        assert Path(info.library_path).name.startswith("_binding.")
    else:
        assert info.library == "real"
        assert info.library_path == "/home/lib/libvpopmail.a"


def configurable() -> None:
    if v.info().library == "real":
        pytest.skip("a linked real library has its directories compiled in")


def test_configure(tmp_path: Path) -> None:
    configurable()
    v.configure(home=str(tmp_path / "é\udce9"), qmail=tmp_path / "q")
    assert (v.info().home, v.info().qmail) == (f"{tmp_path}/é\udce9", f"{tmp_path}/q")
    v.configure(home=tmp_path)
    assert (v.info().home, v.info().qmail) == (str(tmp_path), f"{tmp_path}/q")
    v.configure(qmail=tmp_path)
    v.configure()
    assert (v.info().home, v.info().qmail) == (str(tmp_path), str(tmp_path))


@pytest.mark.parametrize("path", ["", ".", "home/vpopmail", "~vpopmail"])
def test_configure_wants_absolute_paths(path: str) -> None:
    before = v.info()
    with pytest.raises(ValueError, match=re.escape(f"home must be an absolute path, not {path!r}")):
        v.configure(path)
    with pytest.raises(ValueError, match="qmail must be an absolute path"):
        v.configure("/elsewhere", path)
    assert v.info() == before


def test_configure_refuses_a_nul() -> None:
    with pytest.raises(ValueError, match="qmail must not contain a NUL byte"):
        v.configure(qmail="/var\0/qmail")


def test_configure_of_another_home_than_the_one_compiled_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        module,
        "lib",
        SimpleNamespace(
            vpx_configure=lambda *_: -1,
            vpx_home=real_library.vpx_home,
            vpx_qmail=real_library.vpx_qmail,
            vpx_free=real_library.vpx_free,
        ),
    )
    home, qmail = module.home_dir(), module.qmail_dir()
    message = re.escape(
        f"has the directories {home} and {qmail} compiled in and cannot use /else and {qmail};"
    )
    with pytest.raises(ValueError, match=message):
        v.configure(Path("/else"))
    with pytest.raises(ValueError, match=re.escape(f"cannot use {home} and /q;")):
        v.configure(qmail="/q")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_is_read_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configurable()
    tell = "import vpopmail_ext as v; print(v.info().home, v.info().qmail)"
    done = run("-c", tell, VPOPMAIL_HOME=str(tmp_path), QMAIL_HOME="/q")
    assert done.stdout == f"{tmp_path} /q\n"
    done = run("-c", tell, VPOPMAIL_HOME="", QMAIL_HOME="")
    monkeypatch.delenv("VPOPMAIL_HOME", raising=False)
    monkeypatch.delenv("QMAIL_HOME", raising=False)
    assert done.stdout == run("-c", tell).stdout != ""


def test_the_command_prints_what_phpinfo_printed() -> None:
    done = run("-m", "vpopmail_ext", "info")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(" => ") for line in done.stdout.splitlines())
    assert rows["vpopmail support"] == "enabled"
    assert rows["vpopmail_ext version"] == v.__version__


def test_the_package_is_typed() -> None:
    directory = Path(v.__file__).parent
    assert (directory / "py.typed").is_file()
    assert (directory / "_binding.pyi").is_file()


def test_version_is_the_distribution_s() -> None:
    try:
        installed = importlib.metadata.version("vpopmail_ext")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert installed == v.__version__


def test_programs_of_the_package_stand_in_for_those_of_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, package = tmp_path / "vpopmail", tmp_path / "package"
    monkeypatch.setattr(module, "home_dir", lambda: str(home))
    monkeypatch.setattr(module, "__file__", str(package / "info.py"))
    installed, ours = home / "bin/vadddomain", package / "bin/vadddomain"
    assert module.tool_path("vadddomain") == str(installed)
    ours.parent.mkdir(parents=True)
    ours.touch()
    assert module.tool_path("vadddomain") == str(ours)
    installed.parent.mkdir(parents=True)
    # One that is there counts, even where it leads nowhere.
    installed.symlink_to("missing")
    assert module.tool_path("vadddomain") == str(installed)


def test_lanes_as_the_environment_allows() -> None:
    tell = "import vpopmail_ext as v; print(v.info().simd)"
    names = ["off", "avx2", "avx512"]
    most = run("-c", tell, VPOPMAIL_EXT_SIMD="").stdout.strip()
    for wanted in names:
        chosen = run("-c", tell, VPOPMAIL_EXT_SIMD=wanted).stdout.strip()
        assert names.index(chosen) == min(names.index(wanted), names.index(most))
    assert run("-c", tell, VPOPMAIL_EXT_SIMD="nonsense").stdout.strip() == most
