"""Password hashes: the form that libvpopmail gives them, and crypt(3) to check them with.

crypt(3) is called through ctypes, since Python's own module for it is gone from 3.13 on.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache

FORM = re.compile(rb"\$6\$[./0-9A-Za-z]{8}\$[./0-9A-Za-z]{86}")
_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so")


def verify(password: bytes, stored: bytes) -> bool:
    """Tell whether `stored` is a hash of `password`."""
    return crypt(password, stored) == stored


@cache
def crypt(password: bytes, setting: bytes) -> bytes:
    """Return crypt(3)'s hash; empty where it knows no such setting."""
    hashed = _library().crypt(password, setting)
    return hashed if isinstance(hashed, bytes) else b""


@cache
def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        library.crypt.restype = ctypes.c_char_p
        return library
    raise RuntimeError(f"no crypt(3): none of {', '.join(_LIBRARIES)} (Debian package libcrypt1)")
