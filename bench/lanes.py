"""SHA-512 passwords in the lanes of a kernel, beside crypt_r in a C loop on one core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median, quantiles
from typing import NamedTuple

from bench.common import TOP, Bench, Row, main, medians, seconds, valued
from bench.crypt import bare_crypt, hash_of
from bench.library import lanes, simds
from vpopmail_ext import auth_many, vpopmail_auth_user

DOMAIN = "bench-lanes.invalid"
THREADS, CALLS, STORMS = 64, 60, 7
MANY, BARE, ROUNDS = 1920, 40, 11
LONE, PAIRS = 4, 101


class Targets(NamedTuple):
    """How many times crypt_r's speed on one core is asked for."""

    core: float
    two_cores: float
    storm: float


TARGETS = {"avx2": Targets(1.8, 3.6, 1.6), "avx512": Targets(4, 8, 3.5)}


def password(number: int) -> str:
    return f"password-{number}"


def setting(number: int) -> str:
    return f"$6$salt{number:04}$"


def bare(calls: int = BARE) -> float:
    """Return the seconds of one crypt_r."""
    return bare_crypt(password(1), setting(1), calls) / calls


def kernel_rows() -> Iterator[Row]:
    pairs = [(password(number), setting(number)) for number in range(THREADS)]
    sides = {simd: lambda simd=simd: lanes(simd, pairs) / len(pairs) for simd in simds()}
    took = medians({"bare": bare, **sides}, ROUNDS)
    for simd in simds():
        yield valued(
            f"SHA-512 in lanes of {simd}, one core, to crypt_r",
            "x",
            took["bare"] / took[simd],
            at_least=TARGETS[simd].core,
        )


def many_row(targets: Targets) -> Row:
    credentials = [
        (f"user-{number % THREADS}", DOMAIN, password(number % THREADS)) for number in range(MANY)
    ]

    def many() -> float:
        return seconds(lambda: all(auth_many(credentials, threads=2))) / MANY

    took = medians({"bare": bare, "many": many}, ROUNDS)
    faster = took["bare"] / took["many"]
    work = "auth_many, SHA-512, two threads, to crypt_r on one core"
    return valued(work, "x", faster, at_least=targets.two_cores)


def storm(bench: Bench, simd: str) -> tuple[float, float]:
    """Return the seconds per call of all together, and the time that one in a hundred exceeds."""
    where = [os.fspath(bench.ours.home), os.fspath(bench.ours.qmail), DOMAIN]
    done = subprocess.run(
        [sys.executable, "-m", "bench.storm", *where, str(THREADS), str(CALLS)],
        cwd=TOP,
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "VPOPMAIL_EXT_SIMD": simd},
    )
    together, each = json.loads(done.stdout)
    return together / len(each), quantiles(each, n=100)[-1]


def storm_rows(bench: Bench, targets: Targets) -> Iterator[Row]:
    cores = len(os.sched_getaffinity(0))
    faster, slowest = [], []
    for _ in range(STORMS):
        alone = bare()
        in_lanes, last = storm(bench, "avx512")
        _, last_without = storm(bench, "off")
        faster.append(alone / in_lanes / cores)
        slowest.append(last / last_without)
    work = f"{THREADS} Python threads calling auth_user, SHA-512"
    yield valued(f"{work}, a core to crypt_r", "x", median(faster), at_least=targets.storm)
    yield valued(f"{work}, slowest 1 % to those without lanes", "x", median(slowest), at_most=1.0)


def lone_row() -> Row:
    user, secret = "user-1", password(1)

    def ours() -> float:
        def calls() -> None:
            for _ in range(LONE):
                assert vpopmail_auth_user(user, DOMAIN, secret)

        return seconds(calls)

    ratio = median(ours() / (bare_crypt(secret, setting(1), LONE)) for _ in range(PAIRS))
    return valued("auth_user, SHA-512, a lone call to crypt_r", "x", ratio, at_most=1.02)


def rows(bench: Bench) -> Iterator[Row]:
    users = {f"user-{n}": hash_of(password(n), setting(n)) for n in range(THREADS)}
    with bench.domain(DOMAIN, users):
        yield lone_row()
        if simds():
            targets = TARGETS[simds()[-1]]
            yield from kernel_rows()
            yield many_row(targets)
            yield from storm_rows(bench, targets)


if __name__ == "__main__":
    main(rows)
