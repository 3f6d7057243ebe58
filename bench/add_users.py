"""50,000 users added in one go.

Its target is not another library's time, since vpopmail adds users one by one, but what it can't do
without: 50,000 hashes on all cores. Such a run is long, so its median is of three. What the lanes
do shows with fewer users, of which there are nine runs with and without them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from bench.common import TOP, Bench, Row, main, medians, valued
from bench.crypt import bare_crypt

ALL, FEWER, RUNS, FEWER_RUNS = 50_000, 5_000, 3, 9
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
    """Runs of it, each in a new process and a new domain.

    The domains are left until the bench ends: ext4 looks at every inode that was freed in the last
    minutes before it makes a directory, which would be all there is to see.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.megabytes: list[float] = []
        self.domains = 0

    def seconds(self, count: int, simd: str | None = None) -> float:
        """Return how long one run took; `simd`: what VPOPMAIL_EXT_SIMD is to be."""
        ours = self.bench.ours
        self.domains += 1
        domain = f"bench-many-{self.domains}.invalid"
        ours.add_domain(domain)
        where = [os.fspath(ours.home), os.fspath(ours.qmail), domain, str(count)]
        environment = {**os.environ, **({"VPOPMAIL_EXT_SIMD": simd} if simd else {})}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *where],
            cwd=TOP,
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        took, megabytes = json.loads(done.stdout)
        self.megabytes.append(megabytes)
        return float(took)


def rows(bench: Bench) -> Iterator[Row]:
    runs, cores = Runs(bench), len(os.sched_getaffinity(0))
    sides = medians(
        {
            "lanes": lambda: runs.seconds(FEWER),
            "without": lambda: runs.seconds(FEWER, "off"),
        },
        FEWER_RUNS,
    )
    faster = sides["without"] / sides["lanes"]
    yield valued(f"add_users, {FEWER:,} users, to VPOPMAIL_EXT_SIMD=off", "x", faster, at_least=3)
    sides = medians(
        {
            "all": lambda: runs.seconds(ALL),
            "crypt": lambda: bare_crypt("a-password", "$6$abcdefgh$", 100) / 100,
        },
        RUNS,
    )
    hashing = ALL * sides["crypt"] / cores
    yield valued("add_users, 50,000 users", "s", sides["all"], at_most=1.15 * hashing + 2).above(
        hashing, "50,000 crypt_r on all cores"
    )
    yield valued("add_users, 50,000 users, memory", "MB", max(runs.megabytes), at_most=200)


if __name__ == "__main__":
    main(rows)
