"""50,000 users added in one go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from bench.common import TOP, Bench, Row, main, medians, valued
from bench.crypt import bare_crypt

DOMAIN = "bench-many.invalid"
ALL, FEWER, ROUNDS = 50_000, 10_000, 5
PROGRAM = r"""
import json, os, re, sys, time
import vpopmail_ext
from vpopmail_ext import api
home, qmail, domain, count = sys.argv[1:]
vpopmail_ext.configure(home, qmail)
# What others have written is not to be waited for.
os.sync()
started = time.perf_counter()
added = api.add_users(domain, ((f"user{n:06}", f"a-password-{n}") for n in range(int(count))))
took = time.perf_counter() - started
assert added == int(count)
peak = re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1]
json.dump([took, int(peak) * 1024 / 1e6], sys.stdout)
"""


class Runs:
    """Runs of it, each in a new process and a new domain."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.megabytes: list[float] = []

    def seconds(self, count: int, simd: str | None = None) -> float:
        """Return how long one run took; `simd`: what VPOPMAIL_EXT_SIMD is to be."""
        ours = self.bench.ours
        ours.add_domain(DOMAIN)
        where = [os.fspath(ours.home), os.fspath(ours.qmail), DOMAIN, str(count)]
        environment = {**os.environ, **({"VPOPMAIL_EXT_SIMD": simd} if simd else {})}
        try:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, *where],
                cwd=TOP,
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
            )
        finally:
            ours.del_domain(DOMAIN)
        took, megabytes = json.loads(done.stdout)
        self.megabytes.append(megabytes)
        return float(took)


def rows(bench: Bench) -> Iterator[Row]:
    runs, cores = Runs(bench), len(os.sched_getaffinity(0))
    sides = medians(
        {
            "all": lambda: runs.seconds(ALL),
            "crypt": lambda: bare_crypt("a-password", "$6$abcdefgh$", 100) / 100,
        },
        ROUNDS,
    )
    hashing = ALL * sides["crypt"] / cores
    yield valued("add_users, 50,000 users", "s", sides["all"], at_most=1.15 * hashing + 2).above(
        hashing, "50,000 crypt_r on all cores"
    )
    yield valued("add_users, 50,000 users, memory", "MB", median(runs.megabytes), at_most=200)
    sides = medians(
        {
            "lanes": lambda: runs.seconds(FEWER),
            "without": lambda: runs.seconds(FEWER, "off"),
        },
        ROUNDS,
    )
    faster = sides["without"] / sides["lanes"]
    yield valued("add_users, 10,000 users, lanes to crypt_r", "x", faster, at_least=3)


if __name__ == "__main__":
    main(rows)
