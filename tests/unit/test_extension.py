"""How the module is compiled and linked with the library that was chosen."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

from linking import extension, find, probe

# A project in the small: a module, a library of our own and one that is installed, both of which
# have a function verror().
FILES = {
    "csrc/binding/binding.h": "",
    "csrc/binding/binding.c": "char *verror(int);\nchar *bundled(void) { return verror(0); }\n",
    "csrc/binding/needed.c": "char *verror(int);\nchar *(*const needed_verror)(int) = verror;\n",
    "csrc/binding/policy.c": "int pw_strength(void);\nint (*const p)(void) = pw_strength;\n",
    "csrc/binding/real.c": (
        "#include <stdio.h>\n"
        "char *verror(int), *own_verror(void);\n"
        "static const char said[] = VPX_LIBRARY;\n"
        '__attribute__((visibility("default"))) const char *vpx_all(void);\n'
        "const char *vpx_all(void) {\n"
        "    static char all[500];\n"
        '    snprintf(all, sizeof all, "%s %s %d %s", verror(0), own_verror(), VPX_HAS_POLICY,'
        " said);\n"
        "    return all;\n}\n"
    ),
    "csrc/binding/real_records.c": "",
    "csrc/binding/real_bulk.c": "",
    "csrc/binding/cage.c": "",
    "csrc/binding/files.c": "",
    "csrc/binding/own_checks.c": "",
    "csrc/binding/wrap.c": (
        "int __wrap_puts(const char *text);\n"
        "int __wrap_puts(const char *text) { return text[0]; }\n"
    ),
    "csrc/binding/own.c": (
        '__attribute__((visibility("default"))) char *own_verror(void);\n'
        "char *verror(int);\nchar *own_verror(void) { return verror(0); }\n"
    ),
    "csrc/binding/exports.map": "{ global: PyInit_*; vpx_all; local: *; };\n",
    "csrc/libvpopmail/a.c": 'char *verror(int code) { (void)code; return "ours"; }\n',
    "csrc/libvpopmail/a.h": "",
    "csrc/libvpopmail/include/vpopmail.h": "",
    "module.c": (
        '__attribute__((visibility("default"))) void PyInit_module(void);\n'
        "void PyInit_module(void) {}\n"
    ),
    # What is installed; its words are caught.
    "home/a.c": (
        "#include <stdio.h>\nchar *verror(int code) { return puts(\"said\") == 's' && !code ? "
        '"theirs" : "uncaught"; }\n'
    ),
    "home/include/vpopmail.h": "",
    "home/include/vpopmail_config.h": '#define VERSION "5.6.13"\n',
    "home/etc/inc_deps": "-Ihome/include\n",
    "home/etc/lib_deps": "-lvpopmail\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the project; no vpopmail is to be found but by VPOPMAIL_HOME."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "home/lib").mkdir()
    install(tmp_path)
    for module in (extension, find, probe):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find, "places", lambda: iter(()))
    for name in ("CC", "CFLAGS", "LDFLAGS", "VPOPMAIL_HOME", "VPOPMAIL_EXT_SANITIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("VPOPMAIL_EXT_LIBRARY", raising=False)
    return tmp_path


def install(project: Path) -> None:
    for command in (
        ["gcc", "-fPIC", "-O2", "-c", "a.c"],
        ["ar", "rcs", "lib/libvpopmail.a", "a.o"],
    ):
        subprocess.run(command, cwd=project / "home", check=True)


def build() -> Path:
    """Build the module as setup.py does; return its file."""
    made = Extension("module", ["module.c"])
    command = extension.BuildExt(Distribution({"ext_modules": [made]}))
    command.build_lib, command.build_temp = "lib", "temp"
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath("module")).absolute()


def told(module: Path) -> str:
    """Return what the module, linked with an installed library, says of it."""
    function = ctypes.CDLL(str(module)).vpx_all
    function.restype = ctypes.c_char_p
    answer: bytes = function()
    return answer.decode()


def names(module: Path) -> list[str]:
    """Return the names that can be seen from outside."""
    command = ["nm", "-D", "--defined-only", "--format=just-symbols", str(module)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted(listed.split())


def describe(library: probe.Library) -> Extension:
    made = Extension("module", ["module.c"])
    extension.describe(made, library, ["-g"])
    return made


# --- what it is made of ---------------------------------------------------------------------------


def test_the_description_for_cffi() -> None:
    builder = extension.ffibuilder()
    name, text, suffix, options = builder._assigned_source  # type: ignore[attr-defined]
    assert (name, text, suffix) == ("vpopmail_ext._binding", '#include "binding.h"\n', ".c")
    assert options["depends"] == ["csrc/binding/binding.h"]
    assert options["include_dirs"] == ["csrc/binding"]


def test_sanitizers() -> None:
    assert extension.sanitizers({}) == []
    flags = extension.sanitizers({"VPOPMAIL_EXT_SANITIZE": "address,undefined"})
    assert flags[0] == "-fsanitize=address,undefined"
    assert "-fno-wrapv" in flags


def test_with_the_bundled_library_compiled_in(project: Path) -> None:
    made = describe(find.bundled())
    assert made.sources == ["module.c", "csrc/binding/binding.c", "csrc/libvpopmail/a.c"]
    assert {"csrc/libvpopmail/a.h", "csrc/binding/binding.h"} <= set(made.depends)
    assert made.extra_compile_args == [*probe.CFLAGS, "-g", *find.bundled().compile_flags]
    assert made.extra_link_args == ["-Wl,-z,now", "-lcrypt", "-lpthread", "-g"]


def test_with_one_of_our_own_installed(project: Path) -> None:
    library = probe.Library(True, [], ["/x/a"], ["-I/x"], ["-lx"], '/x/"\\.a')
    made = describe(library)
    assert made.sources == ["module.c", "csrc/binding/binding.c"]
    assert "/x/a" in made.depends
    assert made.extra_compile_args[-2:] == ['-DVPX_LIBRARY="/x/\\"\\\\.a"', "-I/x"]
    assert made.extra_link_args == ["-Wl,-z,now", "-lx", "-g"]


def test_with_a_real_one(project: Path) -> None:
    found = find.find_library({"VPOPMAIL_HOME": str(project / "home")})
    made = describe(found)
    binding = ["real", "real_records", "real_bulk", "cage", "wrap", "files"]
    assert made.sources == ["module.c", *(f"csrc/binding/{name}.c" for name in binding)]
    # A change of any of these is one of the module.
    sources = ("csrc/binding/own.c", "csrc/libvpopmail/a.c", "csrc/libvpopmail/a.h")
    assert {*found.depends, *sources} <= set(made.depends)
    assert "-DVPX_HAS_POLICY=0" in made.extra_compile_args
    wrapped = {"exit", "printf", "__fprintf_chk", "syslog", "crypt", "kill"}
    assert {f"-Wl,--wrap={name}" for name in wrapped} <= set(made.extra_link_args)


@pytest.mark.parametrize("flags", ["", "-flto"])
def test_a_module_with_a_real_library(
    project: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    """Each library keeps its own functions, and nobody else sees them."""
    monkeypatch.setenv("VPOPMAIL_HOME", str(project / "home"))
    monkeypatch.setenv("CFLAGS", flags)
    module = build()
    assert told(module) == f"theirs ours 0 {project}/home/lib/libvpopmail.a"
    assert names(module) == ["PyInit_module", "vpx_all"]


def test_a_password_policy_is_looked_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPOPMAIL_HOME", str(project / "home"))
    with (project / "home/a.c").open("a") as file:
        file.write("int pw_strength(void) { return 0; }\n")
    install(project)
    assert told(build()).startswith("theirs ours 1 ")


# --- when it is built -----------------------------------------------------------------------------


def test_it_is_built_again_where_something_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPOPMAIL_HOME", str(project / "home"))
    before = build()
    long_ago = 1_600_000_000_000_000_000
    for path in [*project.rglob("*.[cha]"), *project.rglob("*_deps"), *project.rglob("*.map")]:
        os.utime(path, ns=(long_ago, long_ago))

    def rebuilt() -> bool:
        os.utime(before, ns=(long_ago + 1, long_ago + 1))
        assert build() == before
        return before.stat().st_mtime_ns != long_ago + 1

    assert not rebuilt()
    for name in ("home/lib/libvpopmail.a", "csrc/binding/own.c", "csrc/libvpopmail/a.c"):
        (project / name).touch()
        assert rebuilt()
        os.utime(project / name, ns=(long_ago, long_ago))
    assert not rebuilt()
    (project / "home/etc/lib_deps").write_text("-lvpopmail -lm\n")
    os.utime(project / "home/etc/lib_deps", ns=(long_ago, long_ago))
    assert rebuilt()
    assert not rebuilt()


def test_a_build_that_failed_does_not_count(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = build()
    assert "vpx_all" not in names(module)
    monkeypatch.setenv("VPOPMAIL_HOME", str(project / "home"))

    def fail(command: build_ext) -> None:
        raise OSError("no space")

    with monkeypatch.context() as failing:
        failing.setattr(build_ext, "run", fail)
        with pytest.raises(OSError, match="no space"):
            build()
    build()
    assert told(module).startswith("theirs ours ")


def test_programs_come_with_a_library_that_is_compiled_in(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = project / "csrc/libvpopmail/tools"
    tools.mkdir()
    (tools / "tool.c").write_text("char *verror(int);\nchar *said(void) { return verror(0); }\n")
    (tools / "vprogram.c").write_text(
        "#include <stdio.h>\nchar *said(void);\nint main(void) { return puts(said()) < 0; }\n"
    )
    program = build().parent / "bin/vprogram"
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"ours\n"
    assert [path.name for path in program.parent.iterdir()] == ["vprogram"]

    program.unlink()
    monkeypatch.setenv("VPOPMAIL_HOME", str(project / "home"))
    build()
    assert not program.exists()


@pytest.mark.parametrize(
    ("limited", "free_threaded", "tag"),
    [(True, False, "cp310"), (False, False, ""), (True, True, "")],
)
def test_the_name_of_a_wheel(
    monkeypatch: pytest.MonkeyPatch, limited: bool, free_threaded: bool, tag: str
) -> None:
    monkeypatch.setattr(extension, "FREE_THREADED", free_threaded)
    made = Extension("module", ["module.c"], py_limited_api=limited)
    command = extension.BdistWheel(Distribution({"name": "x", "ext_modules": [made]}))
    command.ensure_finalized()
    assert (command.py_limited_api or "") == tag


# --- what is missing ------------------------------------------------------------------------------


def refusal() -> str:
    with pytest.raises(SystemExit) as caught:
        build()
    assert isinstance(caught.value.code, str)
    return caught.value.code


@pytest.mark.parametrize(
    ("header", "package"),
    [("stdlib.h", "libc6-dev"), ("Python.h", "python3-dev"), ("crypt.h", "libcrypt-dev")],
)
def test_a_missing_header(
    project: Path, monkeypatch: pytest.MonkeyPatch, header: str, package: str
) -> None:
    compiler = project / "cc"
    compiler.write_text(f"#!/bin/sh\n! grep -q '<{header}>'\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert refusal() == (
        f"vpopmail_ext: {compiler} finds no {header}. Install the Debian package {package} "
        f"(apt-get install {package})."
    )


def test_nothing_is_built_where_the_library_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPOPMAIL_EXT_LIBRARY", "real")
    assert "no installed libvpopmail that can be linked was found" in refusal()
    assert not (project / "lib").exists()
