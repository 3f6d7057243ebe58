"""The bundled library's work in C loops, without Python."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Any

import cffi

from bench.common import TOP, Bench

SOURCE = """
#include <stdlib.h>
#include <time.h>
#include "include/vpopmail.h"
#include "crypt_batch.h"

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

long long look_up_loop(const char *user, const char *domain, const char *password, int count) {
    long long start = now();
    for (int i = 0; i < count; i++)
        vpopmail_authenticate(user, domain, password, 0);
    return now() - start;
}

long long lanes_loop(int simd, const char *const *passwords, const char *const *settings,
                     size_t count) {
    struct crypt_job *of = calloc(count, sizeof *of), **jobs = calloc(count, sizeof *jobs);
    char *hashes = calloc(count, CRYPT_OUTPUT_SIZE);
    for (size_t i = 0; i < count; i++) {
        of[i] = (struct crypt_job){passwords[i], settings[i], hashes + i * CRYPT_OUTPUT_SIZE};
        jobs[i] = &of[i];
    }
    long long start = now();
    int error = crypt_batch_by((enum simd)simd, jobs, count);
    long long took = now() - start;
    free(hashes);
    free(jobs);
    free(of);
    return error ? -1 : took;
}
"""
ffi: Any = cffi.FFI()
ffi.cdef(
    "int vpopmail_set_home(const char *, const char *);"
    "int crypt_simd(void);"
    "long long look_up_loop(const char *, const char *, const char *, int);"
    "long long lanes_loop(int, const char *const *, const char *const *, size_t);"
)
SIMDS = ("off", "avx2", "avx512")


@cache
def _lib() -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        built, library = f"{scratch}/library.so", TOP / "csrc/libvpopmail"
        # Not -I for the library: its limits.h is not the system's <limits.h>.
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-iquote", str(library)]
        sources = [*map(str, library.glob("*.c")), f"-I{library}/include", "-xc", "-"]
        command = ["gcc", *flags, "-o", built, *sources, "-lcrypt", "-lpthread"]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        return ffi.dlopen(built)


def look_up(bench: Bench, user: str, domain: str, password: str, count: int) -> float:
    """Return how long so many sign-ins take, in seconds."""
    lib = _lib()
    lib.vpopmail_set_home(os.fsencode(bench.ours.home), os.fsencode(bench.ours.qmail))
    nanoseconds = lib.look_up_loop(user.encode(), domain.encode(), password.encode(), count)
    return int(nanoseconds) / 1e9


def simds() -> list[str]:
    """Return the kernels that this processor has, the fastest last."""
    return list(SIMDS[1 : int(_lib().crypt_simd()) + 1])


def lanes(simd: str, pairs: Sequence[tuple[str, str]]) -> float:
    """Return how long a kernel takes for passwords and settings on one core, in seconds."""
    held = [
        [ffi.new("char[]", text.encode()) for text in texts] for texts in zip(*pairs, strict=True)
    ]
    passwords, settings = (ffi.new("char *[]", texts) for texts in held)
    nanoseconds = int(_lib().lanes_loop(SIMDS.index(simd), passwords, settings, len(pairs)))
    assert nanoseconds > 0
    return nanoseconds / 1e9
