"""Choose the libvpopmail to link with: an installed one, or the bundled one.

``VPOPMAIL_EXT_LIBRARY`` (or ``pip install . -C library=…``) is ``real``, ``bundled`` or ``auto``,
which takes an installed one where it is complete and links. ``VPOPMAIL_HOME`` names an
installation; it must link then. Without it the usual places are looked at.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from linking.probe import (
    BUNDLED,
    ROOT,
    Library,
    Obstacle,
    checked,
    compiler,
    files,
    macros,
    named,
    run,
)

HOMES = ["/home/vpopmail", "/usr/local/vpopmail", "/var/vpopmail", "/var/lib/vpopmail"]
# Where a distribution's package has the headers; its library is where the compiler looks, or there.
INCLUDES = ["/usr/include/vpopmail", "/usr/local/include/vpopmail"]
LIBRARIES = ["/usr/local/lib"]
# vpopmail 5.5: its auth modules, and what the headers of other versions define of each.
MODULES = {
    "vcdb.so": "USE_CDB",
    "vmysql.so": "USE_MYSQL",
    "vpgsql.so": "USE_POSTGRES",
    "vldap.so": "USE_LDAP",
    "vopenldap.so": "USE_LDAP",
}


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
        return checked(installed(named), wanted)
    obstacles = []
    for look in places():
        try:
            library = look()
            if library:
                return checked(library, wanted)
        except Obstacle as obstacle:
            obstacles.append(str(obstacle))
    if wanted == "real":
        raise Obstacle("\n".join([*obstacles, nothing_found()]))
    for text in obstacles:
        print(f"{text}\nvpopmail_ext: the bundled library is built in.", file=sys.stderr)
    return bundled()


def places() -> Iterator[Callable[[], Library | None]]:
    """Tell, in order, how to look for a vpopmail."""
    yield from (partial(at_home, home) for home in homes())
    yield packaged


def homes() -> list[str]:
    """Tell where vpopmail may be installed: its user's home first."""
    try:
        home = pwd.getpwnam("vpopmail").pw_dir
    except KeyError:
        return HOMES
    return [home, *(other for other in HOMES if other != home)]


def nothing_found() -> str:
    """Tell where was looked, and what to do."""
    looked_at = ", ".join([*homes(), *INCLUDES])
    return (
        f"vpopmail_ext: no installed libvpopmail that can be linked was found in {looked_at}. Set "
        "VPOPMAIL_HOME to the directory where vpopmail is installed (it holds include/, "
        f"lib/libvpopmail.a, etc/inc_deps and etc/lib_deps), or {BUNDLED}"
    )


# --- what there is --------------------------------------------------------------------------------


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
    )


def installed(home: str) -> Library:
    """Tell how to link with the vpopmail that is installed in `home`, by its own account."""
    if not os.path.isabs(home):
        raise Obstacle(f"vpopmail_ext: VPOPMAIL_HOME is {home!r}; it takes an absolute path.")
    header, archive, inc_deps, lib_deps = (
        os.path.join(home, name)
        for name in ("include/vpopmail.h", "lib/libvpopmail.a", "etc/inc_deps", "etc/lib_deps")
    )
    shared = os.path.join(home, "lib/libvpopmail.so")
    library = shared if not is_file(archive) and is_file(shared) else archive
    missing = [path for path in (header, library, inc_deps, lib_deps) if not is_file(path)]
    if missing:
        what = {
            (False, True): "has vpopmail's headers without its library",
            (True, False): "has vpopmail's library without its headers",
            (False, False): "is no installation of vpopmail",
        }.get((library not in missing, header not in missing), "is not complete")
        raise Obstacle(
            f"vpopmail_ext: {home} {what}: there is no {', no '.join(missing)}. Install vpopmail "
            f"there (make install-strip in its source; or run ./build_libvpopmail.sh --prefix "
            f"{shlex.quote(home)} --qmail DIR), set VPOPMAIL_HOME to the directory where it is, "
            f"or {BUNDLED}"
        )
    found = _library(
        library, [*words(inc_deps), f"-I{home}/include"], [f"-L{home}/lib"], lib_deps, [inc_deps]
    )
    return with_module(home, found) if library == shared else found


def with_module(home: str, library: Library) -> Library:
    """Add the auth module that a shared library loads: vpopmail 5.5 has it in a file of its own."""
    told = macros(library.compile_flags)
    version = told.get("VERSION", "").strip('"')
    if not version.startswith("5.5."):
        raise Obstacle(
            f"vpopmail_ext: {home} has only the shared {library.path}, not libvpopmail.a, which is "
            f"needed of every vpopmail but 5.5 (this one is of {named(version)}). Install "
            f"vpopmail again, or {BUNDLED}"
        )
    module = os.path.join(home, "etc/vpopmail.authmodule")
    name = os.path.basename(os.path.realpath(module)) if is_file(module) else ""
    if name not in MODULES:
        has = f"has the auth module {name}" if name else f"has no auth module {module}"
        raise Obstacle(
            f"vpopmail_ext: the vpopmail {version} in {home} {has}. Install one of "
            f"{', '.join(MODULES)} (in vpopmail's source: cd backends/cdb, or another, then "
            f"./configure, make, make install), or {BUNDLED}"
        )
    defined = ["VPX_SHARED", f'AUTH_MODULE="{name[1:-3]}"', MODULES[name], "ENABLE_AUTH_LOGGING"]
    # It has a name for each directory in its home, and none for that.
    compiled_in = os.path.dirname(told["VPOPMAIL_DIR_DOMAINS"].strip('"'))
    defined += [f'VPOPMAILDIR="{compiled_in}"']
    if re.search(r" T alias_select$", run(["nm", "-D", module]).stdout, re.MULTILINE):
        defined += ["VALIAS"]
    return library._replace(
        depends=[*library.depends, module],
        compile_flags=[*library.compile_flags, *(f"-D{each}" for each in defined)],
        # Loaded with the library, it finds there what it takes of it.
        link_flags=["-Wl,--no-as-needed", *library.link_flags, module],
        auth_module=module,
    )


def at_home(home: str) -> Library | None:
    """Do the same where there is a vpopmail in `home` at all."""
    there = is_file(f"{home}/include/vpopmail.h") or is_file(f"{home}/lib/libvpopmail.a")
    return installed(home) if there else None


def packaged() -> Library | None:
    """Tell how to link with the vpopmail of a distribution's package."""
    include = next((path for path in INCLUDES if is_file(f"{path}/vpopmail.h")), None)
    archive, shared = (system_library(f"libvpopmail.{suffix}") for suffix in ("a", "so"))
    cure = f"or set VPOPMAIL_HOME to the directory of an installed vpopmail, or {BUNDLED}"
    if include and not archive:
        only = f"only the shared {shared}, not" if shared else "no"
        raise Obstacle(
            f"vpopmail_ext: {include} has vpopmail's headers without its library: {compiler()[0]} "
            f"finds {only} libvpopmail.a, which is needed (what the library prints is caught when "
            f"it is linked). Install the package that has it, {cure}"
        )
    if archive and not include:
        raise Obstacle(
            f"vpopmail_ext: {archive} is vpopmail's library without its headers: there is no "
            f"vpopmail.h in {', '.join(INCLUDES)}. Install the package that has them, {cure}"
        )
    if not include:
        return None
    # Its own account of what it links with is in its home, where there is one.
    home = macros([f"-I{include}"]).get("VPOPMAILDIR", "").strip('"')
    lib_deps = f"{home}/etc/lib_deps"
    return _library(archive, [f"-I{include}"], [], lib_deps if is_file(lib_deps) else "", [])


def system_library(name: str) -> str:
    """Return the path of a library where the compiler looks; empty for none."""
    found = run([*compiler(), f"-print-file-name={name}"]).stdout.strip()
    paths = [found, *(f"{directory}/{name}" for directory in LIBRARIES)]
    there = (path for path in paths if os.path.isabs(path) and is_file(path))
    return next(map(os.path.realpath, there), "")


def _library(
    archive: str, compile_flags: list[str], before: list[str], lib_deps: str, depends: list[str]
) -> Library:
    told = words(lib_deps) if lib_deps else ["-lvpopmail", "-lcrypt"]
    # By its path, so that this one is linked and not another, or a shared one, of that name.
    link_flags = [archive if word == "-lvpopmail" else word for word in told]
    return Library(
        "VPOPMAIL_EXT_BUNDLED" in macros(compile_flags),
        [],
        [archive, *depends, *([lib_deps] if lib_deps else [])],
        compile_flags,
        [*before, *link_flags],
        archive,
        lib_deps,
    )


def is_file(path: str) -> bool:
    """Tell whether there is such a file; raise where that may not be known, or not read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb"):
            return True
    except PermissionError as error:
        raise Obstacle(
            f"vpopmail_ext: {path} can't be read: {error.strerror}. Build as a user who may read "
            f"it, such as root, or {BUNDLED}"
        ) from None
    except OSError:
        return False


def words(path: str) -> list[str]:
    """Return the words of a file such as etc/lib_deps."""
    try:
        return shlex.split(Path(path).read_text())
    except ValueError as error:
        raise Obstacle(
            f"vpopmail_ext: {path} can't be understood: {error}. It is to hold the compiler's or "
            f"linker's flags in one line: correct it, install vpopmail again, or {BUNDLED}"
        ) from None
