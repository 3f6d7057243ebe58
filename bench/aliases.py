"""All aliases of a domain that has 20,000."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bench.common import Bench, Row, compared, main, medians, seconds
from vpopmail_ext import vpopmail_alias_get_all

DOMAIN = "bench-alias.invalid"
ALIASES, ROUNDS = 20_000, 5


def fill(directory: Path, uid: int, gid: int) -> None:
    for number in range(ALIASES):
        path = directory / f".qmail-alias{number:05}"
        path.write_text(f"&someone{number}@example.com\n")
        path.chmod(0o600)
        os.chown(path, uid, gid)


def read_all(directory: Path) -> None:
    """Open and read every file."""
    at = os.open(directory, os.O_RDONLY)
    for entry in os.scandir(at):
        if entry.name.startswith(".qmail-alias"):
            fd = os.open(entry.name, os.O_RDONLY, dir_fd=at)
            os.read(fd, 4096)
            os.close(fd)
    os.close(at)


def rows(bench: Bench) -> Iterator[Row]:
    def ours() -> None:
        assert len(vpopmail_alias_get_all(DOMAIN)) == ALIASES

    with bench.domain(DOMAIN, users=1):
        for side in bench.sides:
            fill(side.home / "domains" / DOMAIN, side.uid, side.gid)
        took = medians(
            {
                "ours": lambda: seconds(ours),
                "reference": bench.against("alias_get_all", DOMAIN, ALIASES),
                "limit": lambda: seconds(lambda: read_all(bench.ours.home / "domains" / DOMAIN)),
            },
            ROUNDS,
        )
    yield compared("alias_get_all, 20,000 aliases", "ms", took, scale=1e3, at_most=0.5).above(
        took["limit"] * 1e3, "20,000 files opened and read, from Python"
    )


if __name__ == "__main__":
    main(rows)
