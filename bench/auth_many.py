"""auth_many(): SHA-512 on two cores, the cost above a look-up, and the memory for ten million."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat

from bench.common import (
    TOP,
    Bench,
    Row,
    compared,
    main,
    median_difference,
    medians,
    seconds,
    valued,
)
from bench.crypt import hash_of
from bench.library import look_up
from vpopmail_ext import auth_many

DOMAIN, USER, PASSWORD = "bench-auth.invalid", "sha-512", "a-password"
CALLS, ROUNDS = 300, 15
LOOKUPS, PAIRS = 100_000, 11
TEN_MILLION = 10_000_000
MEMORY = r"""
import re, sys
from itertools import repeat
import vpopmail_ext
vpopmail_ext.configure(sys.argv[1], sys.argv[2])
answers = vpopmail_ext.auth_many(repeat(("nobody", sys.argv[3], "a-password"), int(sys.argv[4])))
assert sum(1 for _ in answers) == int(sys.argv[4])
print(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
"""


def known() -> float:
    """Return answers in a second."""
    credentials = repeat((USER, DOMAIN, PASSWORD), CALLS)
    took = seconds(lambda: all(auth_many(credentials, threads=2)))
    return CALLS / took


def unknown() -> float:
    credentials = repeat(("nobody", DOMAIN, PASSWORD), LOOKUPS)
    return seconds(lambda: any(auth_many(credentials, threads=2))) / LOOKUPS


def megabytes(bench: Bench) -> float:
    """Return the most that a process had in memory while it asked ten million times."""
    where = [os.fspath(bench.ours.home), os.fspath(bench.ours.qmail), DOMAIN, str(TEN_MILLION)]
    command = [sys.executable, "-c", MEMORY, *where]
    done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, check=True)
    return int(done.stdout) * 1024 / 1e6


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {USER: hash_of(PASSWORD, "$6$abcdefgh$")}):
        reference = bench.against("auth_user", CALLS, 1, USER, DOMAIN, PASSWORD)
        sides = medians(
            {"ours": known, "reference": reference and (lambda: CALLS / reference())}, ROUNDS
        )
        work = "auth_many, SHA-512, two threads"
        yield compared(work, "calls/s", sides, at_least=1.95)
        above = median_difference(
            unknown, lambda: look_up(bench, "nobody", DOMAIN, PASSWORD, LOOKUPS) / LOOKUPS, PAIRS
        )
        work = "auth_many, unknown user, above the look-up in a C loop"
        yield valued(work, "µs", above * 1e6, at_most=1.0)
        yield valued("auth_many, 10 million credentials", "MB", megabytes(bench), at_most=50)


if __name__ == "__main__":
    main(rows)
