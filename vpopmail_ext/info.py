"""Where the installation is, and what is linked."""

from __future__ import annotations

import os

from vpopmail_ext import _binding
from vpopmail_ext._binding import ffi
from vpopmail_ext.linked import lib

# What a program pays for that only signs users in: no module is imported that this can do without.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vpopmail_ext.records import Info

VERSION = "0.1.0"


def info() -> Info:
    """Return what phpinfo() showed for the extension, and what is linked.

    The values are those of the linked library's ``vpopmail_config.h`` (VERSION, VPOPMAILUID,
    VPOPMAILGID, VPOPMAILDIR, QMAILDIR), or what `configure` told the bundled one. No file is read
    and nothing warns.
    """
    from vpopmail_ext.records import Info

    library = ffi.new("struct vpx_library *")
    lib.vpx_library(library)
    home = home_dir()
    return Info(
        vpopmail_version=ffi.string(library.version).decode(),
        uid=int(library.uid),
        gid=int(library.gid),
        process_ids=(os.getuid(), os.getgid(), os.geteuid(), os.getegid()),
        home=home,
        vadddomain=tool_path("vadddomain"),
        vdeldomain=tool_path("vdeldomain"),
        vaddaliasdomain=tool_path("vaddaliasdomain"),
        valias=True,
        library="bundled" if library.bundled else "real",
        library_path=ffi.string(library.path).decode() or _binding.__file__,
        auth_module=ffi.string(library.auth_module).decode(),
        sql_aliases=bool(library.has_valias),
        password_policy=bool(library.has_policy),
        clear_passwords=bool(library.clear_passwords),
        user_name_max=int(library.max_user),
        gecos_max=int(library.max_gecos),
        simd=ffi.string(library.simd).decode(),
        qmail=qmail_dir(),
        version=VERSION,
    )


def configure(
    home: str | os.PathLike[str] | None = None, qmail: str | os.PathLike[str] | None = None
) -> None:
    """Tell where vpopmail and qmail are, for every thread, from the next call on.

    `home` is vpopmail's directory (``VPOPMAILDIR``: etc, domains, bin), `qmail` qmail's
    (``QMAILDIR``: control, users); None leaves one as it is. Both are absolute paths. They need
    not exist: what is missing in them shows as vpopmail's codes when a function is called. At
    first they are the environment's ``VPOPMAIL_HOME`` and ``QMAIL_HOME`` as they were when
    vpopmail_ext was imported, else what the library was built for (``/home/vpopmail`` and
    ``/var/qmail``).

    A path that is not absolute or holds a NUL is a ValueError; so is another directory than the
    one that is compiled into a linked real library. Nothing has changed then.
    """
    if lib.vpx_configure(_directory("home", home), _directory("qmail", qmail)) != 0:
        wanted = (os.fspath(home or home_dir()), os.fspath(qmail or qmail_dir()))
        raise ValueError(
            f"the linked libvpopmail has the directories {home_dir()} and {qmail_dir()} compiled "
            f"in and cannot use {wanted[0]} and {wanted[1]}; build vpopmail_ext with its bundled "
            "library (VPOPMAIL_EXT_LIBRARY=bundled) to choose them"
        )


def home_dir() -> str:
    """Return vpopmail's directory."""
    return os.fsdecode(copy_out(lib.vpx_home)[1])


def qmail_dir() -> str:
    """Return qmail's directory."""
    return os.fsdecode(copy_out(lib.vpx_qmail)[1])


def tool_path(tool: str) -> str:
    """Return the path of the program `tool`: in vpopmail's directory, else in this package.

    The package has programs where it was installed with the bundled library compiled in.
    """
    path = os.path.join(home_dir(), "bin", tool)
    ours = os.path.join(os.path.dirname(__file__), "bin", tool)
    return ours if os.path.exists(ours) and not os.path.lexists(path) else path


def copy_out(function: Callable[..., int], *arguments: bytes | int) -> tuple[int, bytes]:
    """Call a function of the binding whose last argument takes bytes; return its code and them."""
    out = ffi.new("struct vpx_bytes *")
    try:
        code = function(*arguments, out)
        return code, ffi.unpack(out.data, out.size) if out.size else b""
    finally:
        lib.vpx_free(out)


def _directory(name: str, path: str | os.PathLike[str] | None) -> object:
    if path is None:
        return ffi.NULL
    data = os.fsencode(path)
    if not data.startswith(b"/"):
        raise ValueError(f"configure(): {name} must be an absolute path, not {os.fspath(path)!r}")
    if b"\0" in data:
        raise ValueError(f"configure(): {name} must not contain a NUL byte")
    return data.rstrip(b"/") or b"/"
