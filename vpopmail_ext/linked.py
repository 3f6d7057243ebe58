"""The linked library's functions, and what goes with those of a real one.

``lib`` is the compiled module's. Where a real libvpopmail is linked, what it prints while it is
called is logged (logger ``vpopmail_ext``, level INFO), and a system that does not let it be kept
apart from the process is an OSError.
"""

from __future__ import annotations

from vpopmail_ext import _binding
from vpopmail_ext._binding import ffi

# As in info.py: with the bundled library nothing is imported that a sign-in can do without.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Caged:
    """The functions of a linked real library, with the same names as the compiled module's."""

    def __init__(self, raw: Any) -> None:
        for name in (name for name in dir(raw) if not name.startswith("_")):
            value = getattr(raw, name)
            setattr(self, name, self._heard(raw, value) if callable(value) else value)

    def _heard(self, raw: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        import errno
        from functools import wraps

        has_words, no_cage = raw.vpx_has_words, raw.VPX_NO_CAGE

        @wraps(function, assigned=("__name__",))
        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            if has_words():
                said = ffi.new("struct vpx_bytes *")
                raw.vpx_words(said)
                log_lines("libvpopmail", ffi.unpack(said.data, said.size) if said.size else b"")
                raw.vpx_free(said)
            if result == no_cage:
                raise OSError(
                    errno.EPERM,
                    "libvpopmail can't be given a working directory and descriptors of its own: "
                    "the system refuses unshare(CLONE_FS | CLONE_FILES). Allow that system call "
                    "(in a container, its seccomp profile), or build vpopmail_ext with its bundled "
                    "library (VPOPMAIL_EXT_LIBRARY=bundled)",
                )
            return result

        return call


def log_lines(name: str, text: bytes) -> None:
    """Log each line of what a library or a program has printed."""
    import logging

    log = logging.getLogger("vpopmail_ext")
    for line in text.splitlines():
        log.info("%s: %s", name, line.decode(errors="backslashreplace"))


def _in_subinterpreter() -> bool:
    for module in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = __import__(module)
        except ImportError:
            continue
        return bool(interpreters.get_current() != interpreters.get_main())
    return False


def _choose(raw: Any) -> Any:
    library = ffi.new("struct vpx_library *")
    raw.vpx_library(library)
    if library.bundled:
        return raw
    if _in_subinterpreter():
        raise ImportError(
            "vpopmail_ext is linked with a real libvpopmail, of which a process has only one, and "
            "can't be imported in a subinterpreter; import it in the main one (mod_wsgi: "
            "WSGIApplicationGroup %{GLOBAL}) or build it with its bundled library"
        )
    import atexit

    caged = Caged(raw)
    atexit.register(raw.vpx_close)
    return caged


lib: _binding._Lib = _choose(_binding.lib)
