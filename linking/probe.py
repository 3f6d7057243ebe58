"""Try whether a libvpopmail can be linked with, and say in a sentence why not."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden"]
# An object without machine code has no symbols to hide, to wrap or to find missing.
NO_LTO = "-fno-lto"
OLDEST = (5, 4, 33)
BUNDLED = "set VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the module."
# The Debian package that has the file for -lNAME.
PACKAGES = {
    "crypt": "libcrypt-dev",
    "mysqlclient": "default-libmysqlclient-dev",
    "mariadb": "libmariadb-dev",
    "mariadbclient": "libmariadb-dev",
    "pq": "libpq-dev",
    "ldap": "libldap-dev",
    "lber": "libldap-dev",
    "nsl": "libnsl-dev",
    "ssl": "libssl-dev",
    "crypto": "libssl-dev",
    "z": "zlib1g-dev",
    "zstd": "libzstd-dev",
}


class Library(NamedTuple):
    """What to compile and link with; paths are absolute or relative to the project's directory."""

    bundled: bool
    """Whether it is our own: of the checkout, or installed by build_libvpopmail.sh."""
    sources: list[str]
    depends: list[str]
    compile_flags: list[str]
    link_flags: list[str]
    path: str = ""
    """The library's file; empty for what is compiled into the module."""
    told_by: str = ""
    """The file that `link_flags` are from; empty for none."""
    auth_module: str = ""
    """The file of the auth module that a shared library loads; empty for what is an archive."""


class Obstacle(SystemExit):
    """Why there is no linking with a library: a sentence that names the cure."""


def checked(library: Library, wanted: str) -> Library:
    """Return the library; raise `Obstacle` where the module would not link with it."""
    if library.bundled and wanted == "real":
        raise Obstacle(
            f"vpopmail_ext: {library.path} is vpopmail_ext's own, which build_libvpopmail.sh "
            "installed, and not vpopmail's. Set VPOPMAIL_EXT_LIBRARY=auto to link it, or "
            "VPOPMAIL_HOME to the directory where vpopmail is installed."
        )
    version = macros(library.compile_flags).get("VERSION", "").strip('"')
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not numbers or tuple(map(int, numbers.groups())) < OLDEST:
        raise Obstacle(
            f"vpopmail_ext: the vpopmail of {library.path} is of {named(version)}; "
            f"{'.'.join(map(str, OLDEST))} or a later one is needed. Install one, or {BUNDLED}"
        )
    said = link(library, "binding.c" if library.bundled else "needed.c")
    if said:
        raise Obstacle(f"vpopmail_ext: {_reason(said, library, version)}, or {BUNDLED}")
    return library


def named(version: str) -> str:
    """Return what to call a version in a sentence."""
    return f"version {version}" if version else "an unknown version"


def macros(flags: list[str]) -> dict[str, str]:
    """Return what an installation's vpopmail_config.h defines; nothing where it has none."""
    probe = run([*compiler(), "-E", "-dM", "-xc", "-", *flags], '#include "vpopmail_config.h"\n')
    return dict(re.findall(r"^#define (\w+) (.*)$", probe.stdout, re.MULTILINE))


def link(library: Library, probe: str) -> str:
    """Link csrc/binding/`probe` with a library, and nothing left open; return the complaints.

    The module itself leaves Python's functions open, so that what is missing would only show when
    it is imported.
    """
    flags = [
        word for name in ("CFLAGS", "LDFLAGS") for word in shlex.split(os.environ.get(name, ""))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        done = run(
            [
                *compiler(),
                *flags,
                *CFLAGS,
                NO_LTO,
                "-shared",
                "-fPIC",
                "-Werror=incompatible-pointer-types",
                "-Wl,--no-undefined",
                "-o",
                f"{scratch}/probe.so",
                *library.compile_flags,
                f"csrc/binding/{probe}",
                *library.link_flags,
            ]
        )
    return (done.stdout or "failed\n") if done.returncode else ""


def _reason(said: str, library: Library, version: str) -> str:
    """Tell what the compiler's or linker's complaints mean, and what to do, without a full stop."""
    return (
        _not_independent(said, library)
        or _absent_libraries(said, library)
        or _other_functions(said, library, version)
        or (
            f"what vpopmail_ext calls does not compile or link with {library.path}:\n{said}"
            f"Its headers and the library must be of one installation. {_again(library)}"
        )
    )


def _not_independent(said: str, library: Library) -> str:
    archives = re.findall(r"ld: (.*\.a)\(.*recompile with -fPIC", said)
    if not archives:
        return ""
    # A client library, too, may be an archive.
    other = [path for path in archives if Path(path).name != "libvpopmail.a"]
    if other:
        return (
            f"{library.path} needs {other[0]} ({_flags(library)}), which is not "
            "position-independent code, so no Python module can be linked with it. Install that "
            "library as a shared one (.so), or build it with -fPIC"
        )
    return (
        f"{library.path} is not position-independent code, so no Python module can be linked with "
        "it. Build vpopmail again so that it is: in its source `make clean`, then "
        '`CFLAGS="-g -O2 -fPIC" ./configure` with the options that it was configured with, `make` '
        "and `make install-strip`"
    )


def _absent_libraries(said: str, library: Library) -> str:
    absent = sorted(set(re.findall(r"cannot find -l([\w.+-]+)", said)))
    packages = " ".join(sorted({PACKAGES[name] for name in absent if name in PACKAGES}))
    if not absent:
        return ""
    cure = (
        f"Install the Debian package {packages} (apt-get install {packages})"
        if packages
        else "Install the package that has it, with what is for developers"
    )
    return (
        f"{library.path} needs {', '.join('lib' + name for name in absent)}, which the linker does "
        f"not find ({_flags(library)}). {cure}"
    )


def _other_functions(said: str, library: Library, version: str) -> str:
    undefined = set(re.findall(r"undefined reference to [`'](\w+)'", said))
    if library.bundled and undefined:
        return (
            f"{library.path} lacks {_list(undefined)}: it is of another release. {_again(library)}"
        )
    needed = set(re.findall(r"needed_(\w+)", (ROOT / "csrc/binding/needed.c").read_text()))
    lacking = needed & {*undefined, *re.findall(r"'(\w+)' undeclared", said)}
    theirs = f"the vpopmail {version} of {library.path}"
    if lacking:
        return (
            f"{theirs} lacks {_list(lacking)}, which vpopmail_ext calls. 5.4.33 and 5.6.13 "
            "have it all: install one of these"
        )
    other = set(re.findall(r"incompatible pointer type.*\n.*?needed_(\w+)", said))
    if other:
        return (
            f"{theirs} has other arguments for {_list(other)} than 5.4.33 and 5.6.13 have and "
            "vpopmail_ext gives. Install one of these"
        )
    if undefined:
        return (
            f"{library.path} needs {_list(undefined)}, which no library has that it is linked with "
            f"({_flags(library)}). Add the one that has it to vpopmail's etc/lib_deps"
        )
    return ""


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _flags(library: Library) -> str:
    """Tell what the library is linked with, and by whose account."""
    by = f"{library.told_by}: " if library.told_by else ""
    return by + shlex.join(library.link_flags)


def _again(library: Library) -> str:
    if library.bundled:
        home = shlex.quote(str(Path(library.path).parents[1]))
        return f"Run ./build_libvpopmail.sh --prefix {home} --qmail DIR again"
    return "Install vpopmail again"


# --- asking the compiler --------------------------------------------------------------------------


def compiler() -> list[str]:
    """Tell the command of the C compiler, as setuptools chooses it; raise where there is none."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if not shutil.which(command[0]):
        raise SystemExit(
            f"vpopmail_ext: there is no C compiler {command[0]!r}. Install the Debian package gcc "
            "(apt-get install gcc), or set CC to a compiler that is there."
        )
    return command


def files(pattern: str) -> list[str]:
    """Return the project's files of a pattern, relative to it."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


def run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in the project's directory, with its words and complaints as one text."""
    return subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=ROOT,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
