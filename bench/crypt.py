"""A bare crypt_r in a C loop: what no authentication can be below."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from typing import Any

import cffi

SOURCE = """
#include <crypt.h>
#include <string.h>
#include <time.h>

static struct crypt_data data;

const char *hash_of(const char *password, const char *setting) {
    return crypt_r(password, setting, &data);
}

long long crypt_loop(const char *password, const char *setting, int count) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < count; i++)
        crypt_r(password, setting, &data);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec;
}
"""
ffi: Any = cffi.FFI()
ffi.cdef(
    "const char *hash_of(const char *, const char *);"
    "long long crypt_loop(const char *, const char *, int);"
)


@cache
def _lib() -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        built = f"{scratch}/crypt.so"
        command = ["gcc", "-O2", "-fPIC", "-shared", "-xc", "-", "-o", built, "-lcrypt"]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        return ffi.dlopen(built)


def hash_of(password: str, setting: str) -> str:
    """Return crypt(3)'s hash."""
    text: bytes = ffi.string(_lib().hash_of(password.encode(), setting.encode()))
    return text.decode()


def bare_crypt(password: str, setting: str, count: int) -> float:
    """Return how long so many crypt_r() take, in seconds."""
    return int(_lib().crypt_loop(password.encode(), setting.encode(), count)) / 1e9
