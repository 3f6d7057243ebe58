"""Many Python threads that call vpopmail_auth_user at once: a program that lanes.py runs.

``python -m bench.storm HOME QMAIL DOMAIN THREADS CALLS`` prints as JSON the seconds that all took
together and those of each call. User N's password is ``password-N``.
"""

from __future__ import annotations

import json
import sys
from threading import Barrier, Thread
from time import perf_counter

import vpopmail_ext
from vpopmail_ext import vpopmail_auth_user


def storm(domain: str, threads: int, calls: int) -> tuple[float, list[float]]:
    """Return the seconds that all took together, and those of each call."""
    took: list[float] = []
    ready = Barrier(threads + 1)

    def work(number: int) -> None:
        mine: list[float] = []
        vpopmail_auth_user("nobody", domain, "")
        ready.wait()
        for _ in range(calls):
            started = perf_counter()
            assert vpopmail_auth_user(f"user-{number}", domain, f"password-{number}")
            mine.append(perf_counter() - started)
        took.extend(mine)

    workers = [Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    started = perf_counter()
    for worker in workers:
        worker.join()
    return perf_counter() - started, took


if __name__ == "__main__":
    vpopmail_ext.configure(sys.argv[1], sys.argv[2])
    json.dump(storm(sys.argv[3], int(sys.argv[4]), int(sys.argv[5])), sys.stdout)
