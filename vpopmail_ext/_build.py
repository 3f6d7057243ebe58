"""Build ``vpopmail_ext._binding``: what it is linked with, and what is missing for that.

``VPOPMAIL_HOME`` names an installation, whose ``etc/inc_deps`` and ``etc/lib_deps`` say how to
compile and link with it; without it the bundled library is compiled into the module.
``VPOPMAIL_EXT_SANITIZE`` (as in ``address,undefined``) names sanitizers to build with.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cffi
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent.parent
HEADER = "csrc/binding/binding.h"
BINDING = "csrc/binding/binding.c"
CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden"]


class Library(NamedTuple):
    """What to compile and link with; paths are absolute or relative to the project's directory."""

    sources: list[str]
    depends: list[str]
    compile_flags: list[str]
    link_flags: list[str]
    bundled: bool


def bundled() -> Library:
    """Tell how the bundled library is compiled into the module."""
    sources = _files("csrc/libvpopmail/*.c")
    if not sources:
        raise SystemExit(
            "vpopmail_ext: the bundled library's source, csrc/libvpopmail, is not in "
            f"{ROOT}. Build from a complete checkout or source distribution, or set "
            "VPOPMAIL_HOME to the directory of an installed vpopmail."
        )
    return Library(
        sources,
        _files("csrc/libvpopmail/**/*.h"),
        # Not -I: its limits.h is not the system's <limits.h>.
        ["-Icsrc/libvpopmail/include", "-iquote", "csrc/libvpopmail"],
        ["-lcrypt", "-lpthread"],
        bundled=True,
    )


def installed(home: Path) -> Library:
    """Tell how to link with the vpopmail that is installed in `home`, by its own account."""
    inc_deps, lib_deps = home / "etc/inc_deps", home / "etc/lib_deps"
    archive = home / "lib/libvpopmail.a"
    for needed in (inc_deps, lib_deps, archive):
        if not needed.is_file():
            raise SystemExit(
                f"vpopmail_ext: VPOPMAIL_HOME is {home}, but there is no {needed}. Install "
                f"vpopmail there (or run ./build_libvpopmail.sh --prefix {shlex.quote(str(home))} "
                "--qmail DIR), set VPOPMAIL_HOME to the directory where it is, or unset it to "
                "build the bundled library into the module."
            )
    return Library(
        [],
        [str(archive), str(inc_deps), str(lib_deps)],
        shlex.split(inc_deps.read_text()),
        shlex.split(lib_deps.read_text()),
        bundled=False,
    )


def find_library(environment: Mapping[str, str]) -> Library:
    """Choose the library: the installation that VPOPMAIL_HOME names, else the bundled one."""
    home = environment.get("VPOPMAIL_HOME")
    return installed(Path(home)) if home else bundled()


def sanitizers(environment: Mapping[str, str]) -> list[str]:
    """Tell the flags, for the compiler and the linker, of the sanitizers that are asked for."""
    names = environment.get("VPOPMAIL_EXT_SANITIZE")
    if not names:
        return []
    # Python's own flags may hold -fwrapv, which would hide overflows.
    return [
        f"-fsanitize={names}",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
        "-fno-wrapv",
        "-g",
    ]


def compiler() -> list[str]:
    """Tell the command of the C compiler, as setuptools chooses it."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def check(library: Library, extra: list[str]) -> None:
    """Exit with a sentence that names the cure where something needed for a build is missing."""
    command = compiler()
    if not shutil.which(command[0]):
        raise SystemExit(
            f"vpopmail_ext: there is no C compiler {command[0]!r}. Install the Debian package gcc "
            "(apt-get install gcc), or set CC to a compiler that is there."
        )
    include = sysconfig.get_path("include")
    headers = [("stdlib.h", "libc6-dev"), ("Python.h", "python3-dev")]
    if library.bundled:
        headers.append(("crypt.h", "libcrypt-dev"))
    for header, package in headers:
        probe = [*command, "-E", "-xc", "-", f"-I{include}"]
        if _run(probe, f"#include <{header}>\n").returncode:
            raise SystemExit(
                f"vpopmail_ext: {command[0]} finds no {header}. Install the Debian package "
                f"{package} (apt-get install {package})."
            )
    if not library.bundled:
        _check_links([*command, *CFLAGS, *extra], library)


def _check_links(command: list[str], library: Library) -> None:
    # The module leaves Python's functions open, so one of the library's that is missing would
    # show when the module is imported. The binding alone must link without any left open.
    with tempfile.TemporaryDirectory() as scratch:
        flags = ["-shared", "-fPIC", "-Wl,--no-undefined", "-o", f"{scratch}/probe.so"]
        probe = _run([*command, *flags, *library.compile_flags, BINDING, *library.link_flags])
    if probe.returncode:
        raise SystemExit(
            f"{probe.stdout}vpopmail_ext: the binding does not compile or link with the library "
            f"that VPOPMAIL_HOME names; the reason is above. What it was linked with is from "
            f"{library.depends[-1]}: {shlex.join(library.link_flags)}. Where a library is not "
            "found, install its Debian -dev package (-lcrypt: libcrypt-dev) or correct that file; "
            "unset VPOPMAIL_HOME to build the bundled library into the module."
        )


def ffibuilder() -> cffi.FFI:
    """Describe the module to cffi, which calls this from setup.py."""
    library = find_library(os.environ)
    extra = sanitizers(os.environ)
    compile_flags = [*CFLAGS, *extra, *library.compile_flags]
    link_flags = [*library.link_flags, *extra]
    builder = cffi.FFI()
    builder.cdef((ROOT / HEADER).read_text())
    builder.set_source(
        "vpopmail_ext._binding",
        # The flags are named so that a build with others is not taken for up to date.
        f'// {shlex.join([*compile_flags, *link_flags])}\n#include "binding.h"\n',
        sources=[BINDING, *library.sources],
        depends=[HEADER, *library.depends],
        include_dirs=["csrc/binding"],
        extra_compile_args=compile_flags,
        extra_link_args=link_flags,
    )
    return builder


class BuildExt(build_ext):
    """Look for what is missing before anything is compiled."""

    def run(self) -> None:
        """Check, then build."""
        check(find_library(os.environ), sanitizers(os.environ))
        super().run()


def _files(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=ROOT,
        check=False,
    )
