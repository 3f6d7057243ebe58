"""The bundled library's vauth_user() work in a C loop, without Python."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from typing import Any

import cffi

from bench.common import TOP, Bench

SOURCE = """
#include <time.h>
#include "vpopmail.h"

long long look_up_loop(const char *user, const char *domain, const char *password, int count) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < count; i++)
        vpopmail_authenticate(user, domain, password);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec;
}
"""
ffi: Any = cffi.FFI()
ffi.cdef(
    "int vpopmail_set_home(const char *, const char *);"
    "long long look_up_loop(const char *, const char *, const char *, int);"
)


@cache
def _lib() -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        built, library = f"{scratch}/lookup.so", TOP / "csrc/libvpopmail"
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", f"-I{library}/include"]
        sources = [*map(str, library.glob("*.c")), "-xc", "-"]
        command = ["gcc", *flags, "-o", built, *sources, "-lcrypt", "-lpthread"]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        return ffi.dlopen(built)


def look_up(bench: Bench, user: str, domain: str, password: str, count: int) -> float:
    """Return how long so many sign-ins take, in seconds."""
    lib = _lib()
    lib.vpopmail_set_home(os.fsencode(bench.ours.home), os.fsencode(bench.ours.qmail))
    nanoseconds = lib.look_up_loop(user.encode(), domain.encode(), password.encode(), count)
    return int(nanoseconds) / 1e9
