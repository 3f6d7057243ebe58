"""Passwords and settings for crypt(3), one by one with crypt_r and many at once with the kernels.

``python -m tests.crypt_pairs COUNT [SEED]`` compares so many random pairs on every kernel.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cffi

from linking.extension import sanitizers

SOURCE = Path(__file__).parents[1] / "csrc/libvpopmail"
SOURCES = ("buf.c", "crypt_batch.c", "crypt_kernel.c", "crypt_queue.c")
Pair = tuple[bytes, bytes]
"""A password and a setting."""

ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
OUTPUT = 384
DATA = 32768
"""The size of struct crypt_data."""
SIMDS = ("off", "avx2", "avx512")

ffi: Any = cffi.FFI()
ffi.cdef("""
struct crypt_job { const char *password, *setting; char *hash; };
char *crypt_r(const char *password, const char *setting, char *data);
int crypt_simd(void);
int crypt_batch_by(int simd, struct crypt_job *const *jobs, size_t count);
const char *crypt_joined(const char *password, const char *setting, char *data);
""")


@cache
def lib() -> Any:
    """Return the functions; they are compiled for the first call."""
    with tempfile.TemporaryDirectory() as scratch:
        built = f"{scratch}/crypt.so"
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-fPIC", "-shared", "-o", built]
        sources = [str(SOURCE / name) for name in SOURCES]
        subprocess.run(
            ["gcc", *flags, *sanitizers(os.environ), *sources, "-lcrypt", "-lpthread"],
            check=True,
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
        )
        return ffi.dlopen(built)


def simds() -> list[int]:
    """Return those that the processor has, as enum simd has them."""
    return list(range(lib().crypt_simd() + 1))


def one(pair: Pair) -> bytes:
    """Return what crypt_r gives."""
    data = ffi.new("char[]", DATA)
    hashed: bytes = ffi.string(lib().crypt_r(*pair, data))
    return hashed


def batch(pairs: Sequence[Pair], simd: int) -> list[bytes]:
    """Return what crypt_batch gives."""
    held = [
        (ffi.new("char[]", p), ffi.new("char[]", s), ffi.new("char[]", OUTPUT)) for p, s in pairs
    ]
    jobs = [ffi.new("struct crypt_job *", job) for job in held]
    assert lib().crypt_batch_by(simd, ffi.new("struct crypt_job *[]", jobs), len(jobs)) == 0
    return [ffi.string(hashed) for *_, hashed in held]


def differences(pairs: Sequence[Pair]) -> list[tuple[str, Pair, bytes, bytes]]:
    """Return where a kernel's answer is not crypt_r's: kernel, pair, the answer, crypt_r's."""
    wanted = [one(pair) for pair in pairs]
    answers = {SIMDS[simd]: batch(pairs, simd) for simd in simds()}
    # The kernels of one lane are the same wherever there are any.
    answers["alone"] = [batch([pair], simds()[-1])[0] for pair in pairs]
    return [
        (kernel, pair, got, want)
        for kernel in answers
        for pair, got, want in zip(pairs, answers[kernel], wanted, strict=True)
        if got != want
    ]


def random_password(source: random.Random) -> bytes:
    most = source.choice((*[12] * 8, *[24] * 4, *[70] * 2, 150, 530))
    return bytes(source.choices(range(1, 256), k=source.randint(0, most)))


def random_setting(source: random.Random) -> bytes:
    """Return one that is right, nine times in ten; with few rounds, where they can be chosen."""
    method = source.choice((b"$6$", b"$6$", b"$5$", b"$1$"))
    rounds = b"rounds=%d$" % source.randint(1000, 1090) if method != b"$1$" else b""
    salt = bytes(source.choices(ALPHABET, k=source.randint(0, 18)))
    made = method + rounds + salt + source.choice((b"", b"$", b"$" + salt, b"$$x"))
    if source.random() < 0.1:
        at = source.randrange(len(made))
        made = made[:at] + bytes([source.randint(1, 255)]) + made[at + 1 :]
        if b"rounds=" in made and made.split(b"rounds=")[1][4:5].isdigit():
            made = made.replace(b"rounds=", b"")  # a digit more: too long a wait
    return made


def random_pairs(source: random.Random, count: int) -> list[Pair]:
    return [(random_password(source), random_setting(source)) for _ in range(count)]


def main(count: int, seed: int) -> int:
    source = random.Random(seed)
    done = 0
    while done < count:
        pairs = random_pairs(source, min(source.randint(1, 64), count - done))
        found = differences(pairs)
        if found:
            print(f"seed {seed}, after {done} pairs: {found[0]}")
            return 1
        done += len(pairs)
    kernels = [*(SIMDS[simd] for simd in simds()), "alone"]
    print(f"seed {seed}: {done} pairs, the same on {', '.join(kernels)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
