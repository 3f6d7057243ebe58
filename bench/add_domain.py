"""A domain added beside 10, 1,000 and 10,000."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.common import Bench, Installation, Row, compared, main, medians, seconds, write_through
from tests import cdb

DOMAIN = "bench-new.invalid"
ROUNDS = 15
FIRST = 50  # domains that stand in rcpthosts; the others in morercpthosts


def files(side: Installation, count: int) -> dict[Path, bytes]:
    """Return the files of an installation that has so many domains."""
    names = [f"bench-d{number:05}.invalid" for number in range(count)]
    domains = side.home / "domains"
    assign = "".join(
        f"+{name}-:{name}:{side.uid}:{side.gid}:{domains}/{name}:-::\n" for name in names
    )
    place = "0" if count >= 100 else ""
    made = {
        side.qmail / "users/assign": f"{assign}.\n",
        side.qmail / "control/rcpthosts": "".join(f"{name}\n" for name in names[:FIRST]),
        side.qmail / "control/morercpthosts": "".join(f"{name}\n" for name in names[FIRST:]),
        side.qmail / "control/virtualdomains": "".join(f"{name}:{name}\n" for name in names),
        side.home / "domains/.dir-control": (
            f"{count}\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n{place}\n"
        ),
    }
    texts = {path: text.encode() for path, text in made.items() if text}
    texts[side.qmail / "users/cdb"] = cdb.of("assign", f"{assign}.\n".encode())
    if count > FIRST:
        more = side.qmail / "control/morercpthosts"
        texts[more.with_name("morercpthosts.cdb")] = cdb.of("morercpthosts", texts[more])
    return texts


@contextlib.contextmanager
def filled(side: Installation, count: int) -> Iterator[dict[Path, bytes]]:
    """Give an installation so many domains; what it had before comes back afterwards."""
    made = files(side, count)
    before = {path: path.read_bytes() if path.exists() else None for path in made}
    assign = before[side.qmail / "users/assign"] or b""
    if b"+" in assign.replace(b"+bench-", b""):
        raise SystemExit(f"bench: {side.home} has domains; this needs an installation without any")
    for path, data in made.items():
        path.write_bytes(data)
    try:
        yield made
    finally:
        for path, text in before.items():
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_bytes(text)


def ours(bench: Bench) -> float:
    took = seconds(lambda: bench.ours.add_domain(DOMAIN))
    bench.ours.del_domain(DOMAIN)
    return took


def reference(bench: Bench) -> float:
    assert bench.reference
    took = bench.reference.seconds("add_domain", DOMAIN)
    bench.reference.del_domain(DOMAIN)
    return took


def rows(bench: Bench) -> Iterator[Row]:
    for count in (10, 1_000, 10_000):
        with contextlib.ExitStack() as stack:
            made, *_ = [stack.enter_context(filled(side, count)) for side in bench.sides]
            changed = [len(data) for path, data in made.items() if path.name != "rcpthosts"]

            def limit(changed: list[int] = changed) -> float:
                return seconds(lambda: write_through(bench.ours.home, changed))

            took = medians(
                {
                    "ours": lambda: ours(bench),
                    "reference": (lambda: reference(bench)) if bench.reference else None,
                    "limit": limit,
                },
                ROUNDS,
            )
        yield compared(f"add_domain, {count:,} domains", "ms", took, scale=1e3, at_most=0.3).above(
            took["limit"] * 1e3, "assign, the control files and their cdbs written and synced"
        )


if __name__ == "__main__":
    main(rows)
