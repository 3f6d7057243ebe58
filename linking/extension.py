"""Compile and link ``vpopmail_ext._binding``.

``VPOPMAIL_EXT_SANITIZE`` (as in ``address,undefined``) names sanitizers to build with.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import cffi
from setuptools import Extension
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

from linking.find import bundled, find_library
from linking.probe import CFLAGS, NO_LTO, ROOT, Library, compiler, files, link, run

HEADER = "csrc/binding/binding.h"
# What our own library does beside a real one.
OWN = ["csrc/binding/own.c", "csrc/binding/own_checks.c"]
TOOLS = "csrc/libvpopmail/tools"
# The oldest Python that a module for the stable ABI is for, as in pyproject.toml.
STABLE_ABI = "cp310"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# What a real library calls that must not reach the process, or files of others; csrc/binding/wrap.c
# and files.c.
WRAPPED = [
    *["printf", "fprintf", "vprintf", "vfprintf", "__printf_chk", "__fprintf_chk"],
    *["__vfprintf_chk", "puts", "fputs", "fputc", "putc", "putchar", "fwrite", "perror", "warn"],
    *["openlog", "closelog", "syslog", "__syslog_chk", "vsyslog", "exit", "kill", "rand", "srand"],
    *["crypt", "strtok", "gmtime", "localtime", "open", "fopen", "chown", "chmod", "chdir"],
]


def ffibuilder() -> cffi.FFI:
    """Describe the module to cffi, which calls this from setup.py; BuildExt adds the rest."""
    builder = cffi.FFI()
    builder.cdef((ROOT / HEADER).read_text())
    builder.set_source(
        "vpopmail_ext._binding",
        '#include "binding.h"\n',
        depends=[HEADER],
        include_dirs=["csrc/binding"],
    )
    return builder


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


def check_headers() -> None:
    """Exit with a sentence that names the package of a header that is not there."""
    include = sysconfig.get_path("include")
    for header, package in (
        ("stdlib.h", "libc6-dev"),
        ("Python.h", "python3-dev"),
        ("crypt.h", "libcrypt-dev"),
    ):
        probe = [*compiler(), "-E", "-xc", "-", f"-I{include}"]
        if run(probe, f"#include <{header}>\n").returncode:
            raise SystemExit(
                f"vpopmail_ext: {compiler()[0]} finds no {header}. Install the Debian package "
                f"{package} (apt-get install {package})."
            )


def describe(extension: Extension, library: Library, extra: list[str]) -> None:
    """Tell an extension module what it is made of."""
    sources, depends = ["csrc/binding/binding.c"], [*library.depends, *files("csrc/binding/*")]
    compile_flags, link_flags = [*CFLAGS, *extra], [*library.link_flags, *extra]
    if library.bundled:
        # To find a function at its first call the linker would save registers, in which a hash may
        # be, on the stack, where it stays.
        link_flags.insert(0, "-Wl,-z,now")
    else:
        ours = bundled()
        depends += [*ours.sources, *ours.depends]
        names = ["real", "real_records", "real_bulk", "cage", "wrap", "files"]
        wraps = [f"-Wl,--wrap={name}" for name in WRAPPED]
        # Only what Python looks for is seen from outside: not the library's own many names.
        link_flags += ["-Wl,-Bsymbolic", "-Wl,--version-script=csrc/binding/exports.map", *wraps]
        policy = not link(library, "policy.c")
        compile_flags += [f"-DVPX_HAS_POLICY={int(policy)}", NO_LTO]
        if library.auth_module:
            names += ["imports"]
            each = "".join(f"X({name})" for name in WRAPPED)
            compile_flags += [f"-DVPX_AUTH_MODULE={_c_text(library.auth_module)}"]
            compile_flags += [f"-DVPX_WRAPPED(X)={each}"]
        sources = [f"csrc/binding/{name}.c" for name in names]
    if library.path:
        compile_flags.append(f"-DVPX_LIBRARY={_c_text(library.path)}")
    sources += library.sources
    extension.sources = [*extension.sources, *sources]
    extension.depends = depends
    extension.extra_compile_args += [*compile_flags, *library.compile_flags]
    extension.extra_link_args += link_flags


class BuildExt(build_ext):
    """Finds the library before anything is compiled."""

    def run(self) -> None:
        """Find the library, then build."""
        check_headers()
        self.library = find_library(os.environ)
        for extension in self.extensions:
            describe(extension, self.library, sanitizers(os.environ))
        # What was built with other flags than these is not up to date.
        flags = repr(
            [(e.sources, e.extra_compile_args, e.extra_link_args) for e in self.extensions]
        )
        note = Path(self.build_temp, "flags")
        if not note.is_file() or note.read_text() != flags:
            self.force = True
            note.unlink(missing_ok=True)
        super().run()
        note.write_text(flags)

    def build_extension(self, ext: Extension) -> None:
        """Build the module; with a real library, with what our own does beside it.

        A bundled library that is compiled in brings its programs along, into what is installed.
        """
        if not self.library.bundled:
            ext.extra_objects = [*ext.extra_objects, self._own_object()]
        super().build_extension(ext)
        if self.library.sources and not self.inplace:
            self._build_tools(Path(self.get_ext_fullpath(ext.name)).with_name("bin"))

    def _build_tools(self, directory: Path) -> None:
        flags = [*CFLAGS, *sanitizers(os.environ)]
        objects = self.compiler.object_filenames(self.library.sources, output_dir=self.build_temp)
        for tool in files(f"{TOOLS}/v*.c"):
            objects_of_it = self.compiler.compile(
                [tool, f"{TOOLS}/tool.c"],
                output_dir=self.build_temp,
                extra_postargs=[*flags, *self.library.compile_flags],
            )
            self.compiler.link_executable(
                [*objects_of_it, *objects],
                Path(tool).stem,
                output_dir=str(directory),
                extra_postargs=[*self.library.link_flags, *flags],
            )

    def _own_object(self) -> str:
        # The bundled library has functions of the same names; none of them is left to be seen.
        ours = bundled()
        objects = self.compiler.compile(
            [*OWN, *ours.sources],
            output_dir=self.build_temp,
            extra_postargs=[*CFLAGS, NO_LTO, *sanitizers(os.environ), *ours.compile_flags],
        )
        whole = os.path.join(self.build_temp, "own.o")
        subprocess.run([*compiler(), "-r", "-nostdlib", "-o", whole, *objects], check=True)
        subprocess.run(["objcopy", "--localize-hidden", whole], check=True)
        return whole


class BdistWheel(bdist_wheel):
    """Names a wheel for every Python from 3.10 on where cffi builds for the stable ABI."""

    def finalize_options(self) -> None:
        """Take cffi's word for it: not for free-threaded Pythons, nor for debugging ones."""
        modules = self.distribution.ext_modules or []
        if not FREE_THREADED and all(
            getattr(module, "py_limited_api", False) for module in modules
        ):
            self.py_limited_api = STABLE_ABI
        super().finalize_options()


def _c_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
