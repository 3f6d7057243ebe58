"""Choose the libvpopmail to link with: an installed one, or the bundled one.

``VPOPMAIL_EXT_LIBRARY`` (or ``pip install . -C library=…``) is ``real``, ``bundled`` or ``auto``,
which takes an installed one where it is complete and links. ``VPOPMAIL_HOME`` names an
installation; without it the usual places are looked at.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden"]
OLDEST = (5, 4, 33)
HOMES = ["/home/vpopmail", "/usr/local/vpopmail", "/var/vpopmail", "/var/lib/vpopmail"]
# Where a distribution's package has the headers; its library is where the linker looks.
INCLUDES = ["/usr/include/vpopmail", "/usr/local/include/vpopmail"]
# The Debian package that has the file for -lNAME.
PACKAGES = {
    "crypt": "libcrypt-dev",
    "mysqlclient": "default-libmysqlclient-dev",
    "mariadb": "libmariadb-dev",
    "mariadbclient": "libmariadb-dev",
    "pq": "libpq-dev",
    "ldap": "libldap-dev",
    "lber": "libldap-dev",
    "sqlite3": "libsqlite3-dev",
    "cdb": "libcdb-dev",
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
    path: str
    """The library's file; empty for what is compiled into the module."""


class Obstacle(SystemExit):
    """Why there is no linking with a library: a sentence that names the cure."""


def find_library(environment: Mapping[str, str]) -> Library:
    """Choose the library; raise `Obstacle` where the one that is asked for can't be linked."""
    wanted = environment.get("VPOPMAIL_EXT_LIBRARY") or "auto"
    if wanted not in ("auto", "bundled", "real"):
        raise Obstacle(
            f"vpopmail_ext: VPOPMAIL_EXT_LIBRARY (or -C library=…) is {wanted!r}; it takes real "
            "(an installed libvpopmail), bundled (the one in csrc/libvpopmail) or auto."
        )
    if wanted == "bundled":
        return bundled()
    named = environment.get("VPOPMAIL_HOME")
    if named:
        return checked(installed(Path(named)))
    obstacles = []
    for look, place in [(at_home, home) for home in homes()] + [
        (packaged, include) for include in INCLUDES
    ]:
        try:
            library = look(Path(place))
            if library:
                return checked(library)
        except Obstacle as obstacle:
            obstacles.append(str(obstacle))
    if wanted == "real":
        raise Obstacle("\n".join([*obstacles, nothing_found()]))
    for text in obstacles:
        print(f"{text} Until then the bundled library is built in.", file=sys.stderr)
    return bundled()


def bundled() -> Library:
    """Tell how the bundled library is compiled into the module."""
    sources = files("csrc/libvpopmail/*.c")
    if not sources:
        raise Obstacle(
            "vpopmail_ext: the bundled library's source, csrc/libvpopmail, is not in "
            f"{ROOT}. Build from a complete checkout or source distribution, or set "
            "VPOPMAIL_HOME to the directory of an installed vpopmail."
        )
    return Library(
        True,
        sources,
        files("csrc/libvpopmail/**/*.h"),
        # Not -I: its limits.h is not the system's <limits.h>.
        ["-Icsrc/libvpopmail/include", "-iquote", "csrc/libvpopmail"],
        ["-lcrypt", "-lpthread"],
        "",
    )


def installed(home: Path) -> Library:
    """Tell how to link with the vpopmail that is installed in `home`, by its own account."""
    header, archive = home / "include/vpopmail.h", home / "lib/libvpopmail.a"
    inc_deps, lib_deps = home / "etc/inc_deps", home / "etc/lib_deps"
    missing = [str(file) for file in (header, archive, inc_deps, lib_deps) if not file.is_file()]
    if missing:
        quoted = shlex.quote(str(home))
        what = {
            (False, True): "has vpopmail's headers without its library",
            (True, False): "has vpopmail's library without its headers",
            (False, False): "is no installation of vpopmail",
        }.get((archive.is_file(), header.is_file()), "is not complete")
        raise Obstacle(
            f"vpopmail_ext: {home} {what}: there is no {', no '.join(missing)}. Install vpopmail "
            f"there (make install-strip in its source; or run ./build_libvpopmail.sh --prefix "
            f"{quoted} --qmail DIR), set VPOPMAIL_HOME to the directory where it is, or set "
            "VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the module."
        )
    return _library(
        [str(archive), str(inc_deps), str(lib_deps)],
        [*_words(inc_deps), f"-I{home}/include"],
        [f"-L{home}/lib", *_words(lib_deps)],
    )


def at_home(home: Path) -> Library | None:
    """Do the same where there is a vpopmail in `home` at all."""
    there = (home / "include/vpopmail.h").is_file() or (home / "lib/libvpopmail.a").is_file()
    return installed(home) if there else None


def packaged(include: Path) -> Library | None:
    """Tell how to link with a distribution's package, whose headers are in `include`."""
    if not (include / "vpopmail.h").is_file():
        return None
    library = system_library()
    if not library:
        raise Obstacle(
            f"vpopmail_ext: {include} has vpopmail's headers, but {compiler()[0]} finds no "
            "libvpopmail.a or libvpopmail.so. Install the package that has the library, or set "
            "VPOPMAIL_HOME to the directory of an installed vpopmail."
        )
    # Its own account of what it links with is in its home, where there is one.
    flags = [f"-I{include}"]
    lib_deps = Path(macros(flags).get("VPOPMAILDIR", "").strip('"')) / "etc/lib_deps"
    return _library(
        [library], flags, _words(lib_deps) if lib_deps.is_file() else ["-lvpopmail", "-lcrypt"]
    )


def homes() -> Iterator[str]:
    """Tell where vpopmail may be installed: its user's home first."""
    try:
        home = pwd.getpwnam("vpopmail").pw_dir
    except KeyError:
        home = HOMES[0]
    yield home
    yield from (other for other in HOMES if other != home)


def nothing_found() -> str:
    """Tell where was looked, and what to do."""
    places = ", ".join([*homes(), *INCLUDES])
    return (
        "vpopmail_ext: no installed libvpopmail that can be linked was found in " + places + ". "
        "Set VPOPMAIL_HOME to the directory where vpopmail is installed (it holds include/, "
        "lib/libvpopmail.a, etc/inc_deps and etc/lib_deps), or set VPOPMAIL_EXT_LIBRARY=bundled."
    )


def system_library() -> str:
    """Return the path of the library where the linker looks; empty for none."""
    for name in ("libvpopmail.a", "libvpopmail.so"):
        found = run([*compiler(), f"-print-file-name={name}"]).stdout.strip()
        if os.path.isabs(found) and os.path.isfile(found):
            return found
    return ""


def macros(flags: list[str]) -> dict[str, str]:
    """Return what an installation's vpopmail_config.h defines; nothing where it has none."""
    probe = run([*compiler(), "-E", "-dM", "-xc", "-", *flags], '#include "vpopmail_config.h"\n')
    return dict(re.findall(r"^#define (\w+) (.*)$", probe.stdout, re.MULTILINE))


def checked(library: Library) -> Library:
    """Return the library; raise `Obstacle` where the module would not link with it."""
    defined = macros(library.compile_flags)
    version = defined.get("VERSION", "").strip('"')
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not numbers or tuple(map(int, numbers.groups())) < OLDEST:
        raise Obstacle(
            f"vpopmail_ext: the vpopmail of {library.path} is of version {version or 'unknown'}; "
            f"{'.'.join(map(str, OLDEST))} or a later one is needed. Install one, or set "
            "VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the module."
        )
    said = link(library, "needed.c")
    if said:
        raise Obstacle(f"{said}vpopmail_ext: {_cure(said, library)}")
    return library


def link(library: Library, probe: str) -> str:
    """Link csrc/binding/`probe` with a library, and nothing left open; return the complaints.

    The module itself leaves Python's functions open, so that what is missing would only show when
    it is imported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        done = run(
            [
                *compiler(),
                *CFLAGS,
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


def _library(depends: list[str], compile_flags: list[str], link_flags: list[str]) -> Library:
    ours = "VPOPMAIL_EXT_BUNDLED" in macros(compile_flags)
    return Library(ours, [], depends, compile_flags, link_flags, depends[0])


def _words(file: Path) -> list[str]:
    return shlex.split(file.read_text())


def _cure(said: str, library: Library) -> str:
    bundled = "set VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the module."
    if re.search(r"-fPIC|making a shared object|-shared", said):
        return (
            f"{library.path} is not position-independent code, so no Python module can link it. "
            "Build vpopmail again with it: in its source `make clean`, then "
            '`CFLAGS="-g -O2 -fPIC" ./configure` with the options that it has now, `make` and '
            f"`make install-strip`; or {bundled}"
        )
    absent = sorted(set(re.findall(r"cannot find -l([\w.+-]+)", said)))
    if absent:
        packages = [PACKAGES[name] for name in absent if name in PACKAGES]
        install = (
            f"Install {' '.join(packages)} (apt-get install {' '.join(packages)})"
            if packages
            else "Install the packages that have them"
        )
        return (
            f"{library.path} needs {', '.join('lib' + name for name in absent)}, which "
            f"the linker does not find ({library.depends[-1]}: "
            f"{shlex.join(library.link_flags)}). {install} or correct that file; or {bundled}"
        )
    lacking = sorted(set(re.findall(r"undefined reference to [`'](\w+)'", said)))
    if lacking:
        return (
            f"{library.path} lacks {', '.join(lacking)}; the reason is above. A library that it "
            f"needs is not in {library.depends[-1]} ({shlex.join(library.link_flags)}), or it is "
            f"not whole: install vpopmail again, or {bundled}"
        )
    return (
        f"what vpopmail_ext calls does not compile or link with {library.path}; the reason is "
        f"above. Its headers and its library must be of one installation: install vpopmail again, "
        f"or {bundled}"
    )
