"""What the module is linked with, and the sentences for what is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

from vpopmail_ext import _build


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation as far as setup.py looks at it."""
    for name, text in (
        ("etc/inc_deps", f"-I{tmp_path}/include '-DA=b c'\n"),
        ("etc/lib_deps", f"-L{tmp_path}/lib -lvpopmail  -lcrypt\n"),
        ("lib/libvpopmail.a", "!<arch>\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose binding calls the library's verror()."""
    root = tmp_path / "project"
    for name, text in (
        ("csrc/binding/binding.h", "int vpx_one(int code);\n"),
        (
            "csrc/binding/binding.c",
            '#include "binding.h"\nchar *verror(int);\n'
            "int vpx_one(int code) { return verror(code)[0]; }\n",
        ),
        ("csrc/libvpopmail/a.c", "char *verror(int code) { (void)code; return 0; }\n"),
        ("csrc/libvpopmail/a.h", ""),
        ("csrc/libvpopmail/include/vpopmail.h", ""),
        ("csrc/libvpopmail/tools/tool.c", "int main(void) { return 0; }\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(_build, "ROOT", root)
    return root


def sentence(caught: pytest.ExceptionInfo[SystemExit]) -> str:
    assert isinstance(caught.value.code, str)
    return caught.value.code


@pytest.mark.parametrize("environment", [{}, {"VPOPMAIL_HOME": ""}])
def test_the_bundled_library_is_the_default(source: Path, environment: dict[str, str]) -> None:
    assert _build.find_library(environment) == _build.Library(
        sources=["csrc/libvpopmail/a.c"],
        depends=["csrc/libvpopmail/a.h", "csrc/libvpopmail/include/vpopmail.h"],
        compile_flags=["-Icsrc/libvpopmail/include", "-iquote", "csrc/libvpopmail"],
        link_flags=["-lcrypt", "-lpthread"],
        bundled=True,
    )


def test_an_incomplete_checkout(source: Path) -> None:
    (source / "csrc/libvpopmail/a.c").unlink()
    with pytest.raises(SystemExit) as caught:
        _build.bundled()
    assert f"csrc/libvpopmail, is not in {source}. Build from a complete" in sentence(caught)


def test_an_installation(home: Path) -> None:
    assert _build.find_library({"VPOPMAIL_HOME": str(home)}) == _build.Library(
        sources=[],
        depends=[f"{home}/lib/libvpopmail.a", f"{home}/etc/inc_deps", f"{home}/etc/lib_deps"],
        compile_flags=[f"-I{home}/include", "-DA=b c"],
        link_flags=[f"-L{home}/lib", "-lvpopmail", "-lcrypt"],
        bundled=False,
    )


@pytest.mark.parametrize("missing", ["etc/inc_deps", "etc/lib_deps", "lib/libvpopmail.a"])
def test_an_installation_that_lacks_a_file(home: Path, missing: str) -> None:
    (home / missing).unlink()
    with pytest.raises(SystemExit) as caught:
        _build.find_library({"VPOPMAIL_HOME": str(home)})
    said = sentence(caught)
    assert f"VPOPMAIL_HOME is {home}, but there is no {home}/{missing}. Install" in said
    assert f"./build_libvpopmail.sh --prefix {home} --qmail DIR" in said
    assert "or unset it to build the bundled library" in said


def test_sanitizers() -> None:
    assert _build.sanitizers({}) == []
    flags = _build.sanitizers({"VPOPMAIL_EXT_SANITIZE": "address,undefined"})
    assert flags[0] == "-fsanitize=address,undefined"
    assert "-fno-wrapv" in flags


def test_the_description_for_cffi(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPOPMAIL_HOME", raising=False)
    monkeypatch.setenv("VPOPMAIL_EXT_SANITIZE", "thread")
    name, text, suffix, options = _build.ffibuilder()._assigned_source  # type: ignore[attr-defined]
    assert (name, suffix) == ("vpopmail_ext._binding", ".c")
    assert text.endswith('\n#include "binding.h"\n')
    assert text.startswith("// -std=c11 -D_GNU_SOURCE -O2 -fvisibility=hidden -fsanitize=thread ")
    assert options["sources"] == ["csrc/binding/binding.c", "csrc/libvpopmail/a.c"]
    assert options["depends"][0] == "csrc/binding/binding.h"
    assert options["include_dirs"] == ["csrc/binding"]
    assert "-fsanitize=thread" in options["extra_compile_args"]
    assert options["extra_link_args"][:3] == ["-lcrypt", "-lpthread", "-fsanitize=thread"]


def test_a_build_with_other_flags_is_not_up_to_date(
    source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for directory in ("", str(home)):
        monkeypatch.setenv("VPOPMAIL_HOME", directory)
        texts.append(_build.ffibuilder()._assigned_source[1])  # type: ignore[attr-defined]
    assert texts[0] != texts[1]


def test_nothing_is_missing(source: Path) -> None:
    _build.check(_build.bundled(), [])


def test_no_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -pthread")
    with pytest.raises(SystemExit) as caught:
        _build.check(_build.bundled(), [])
    assert sentence(caught) == (
        "vpopmail_ext: there is no C compiler 'no-such-compiler'. Install the Debian package gcc "
        "(apt-get install gcc), or set CC to a compiler that is there."
    )


@pytest.mark.parametrize(
    ("header", "package"),
    [("stdlib.h", "libc6-dev"), ("Python.h", "python3-dev"), ("crypt.h", "libcrypt-dev")],
)
def test_a_missing_header(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, package: str
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n! grep -q '<{header}>'\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(SystemExit) as caught:
        _build.check(_build.bundled(), [])
    assert sentence(caught) == (
        f"vpopmail_ext: {compiler} finds no {header}. Install the Debian package {package} "
        f"(apt-get install {package})."
    )


def archive(home: Path, source: Path, text: str) -> None:
    """Makes the installation's library."""
    (home / "lib/a.c").write_text(text)
    (home / "lib/libvpopmail.a").unlink()
    for command in (
        ["gcc", "-fPIC", "-c", "a.c"],
        ["ar", "rcs", "libvpopmail.a", "a.o"],
    ):
        subprocess.run(command, cwd=home / "lib", check=True)


def test_an_installation_that_links(source: Path, home: Path) -> None:
    archive(home, source, (source / "csrc/libvpopmail/a.c").read_text())
    _build.check(_build.installed(home), [])


@pytest.mark.parametrize(
    ("text", "lib_deps", "reason"),
    [
        ("int other;\n", "-lvpopmail", "verror"),
        (
            "char *other(void); char *verror(int c) { (void)c; return other(); }\n",
            "-lvpopmail",
            "other",
        ),
        ("char *verror(int c) { (void)c; return 0; }\n", "-lvpopmail -lno-such", "no-such"),
    ],
)
def test_an_installation_that_does_not_link(
    source: Path, home: Path, text: str, lib_deps: str, reason: str
) -> None:
    archive(home, source, text)
    (home / "etc/lib_deps").write_text(f"-L{home}/lib {lib_deps}\n")
    with pytest.raises(SystemExit) as caught:
        _build.check(_build.installed(home), [])
    said, found, cure = sentence(caught).partition("vpopmail_ext: the binding does not compile or ")
    assert found
    assert reason in said
    assert f"{home}/etc/lib_deps: -L{home}/lib {lib_deps}" in cure
    assert "libcrypt-dev" in cure


@pytest.mark.parametrize("complete", [True, False])
def test_setup_checks_before_it_builds(
    source: Path, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    built: list[Any] = []
    monkeypatch.setattr(build_ext, "run", lambda command: built.append(command))
    monkeypatch.delenv("VPOPMAIL_HOME", raising=False)
    if not complete:
        monkeypatch.setenv("CC", "no-such-compiler")
    command = _build.BuildExt(Distribution())
    if complete:
        command.run()
        assert built == [command]
    else:
        with pytest.raises(SystemExit):
            command.run()
        assert built == []
