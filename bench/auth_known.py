"""Authentication with the right password, by kind of hash, beside a bare crypt_r."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.common import (
    Bench,
    Row,
    compared,
    main,
    median_difference,
    medians,
    seconds,
    valued,
)
from bench.crypt import bare_crypt, hash_of
from vpopmail_ext import vpopmail_auth_user

DOMAIN = "bench-auth.invalid"
PASSWORD = "a-password"
ROUNDS, PAIRS = 15, 201


class Kind(NamedTuple):
    name: str
    salt: str
    calls: int  # in a round
    few: int  # calls in a pair
    at_most: float  # of the original's time


KINDS = (
    Kind("DES", "ab", 2000, 200, 0.35),
    Kind("MD5", "$1$abcdefgh$", 300, 10, 0.9),
    Kind("SHA-512", "$6$abcdefgh$", 50, 2, 1.0),
)


def ours(user: str, calls: int) -> Callable[[], float]:
    def loop() -> None:
        for _ in range(calls):
            assert vpopmail_auth_user(user, DOMAIN, PASSWORD)

    return lambda: seconds(loop) / calls


def bare(kind: Kind, calls: int) -> Callable[[], float]:
    return lambda: bare_crypt(PASSWORD, kind.salt, calls) / calls


def kind_rows(bench: Bench, kind: Kind) -> Iterator[Row]:
    user, calls = kind.name.lower(), kind.calls
    sides = medians(
        {
            "ours": ours(user, calls),
            "reference": bench.against("auth_user", calls, 1, user, DOMAIN, PASSWORD, per=calls),
        },
        ROUNDS,
    )
    work = f"auth_user, {kind.name} hash"
    yield compared(work, "µs", sides, scale=1e6, at_most=kind.at_most)
    above = median_difference(ours(user, kind.few), bare(kind, kind.few), PAIRS)
    yield valued(f"{work}, above a bare crypt_r", "µs", above * 1e6, at_most=2.5)


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {kind.name.lower(): hash_of(PASSWORD, kind.salt) for kind in KINDS}):
        for kind in KINDS:
            yield from kind_rows(bench, kind)


if __name__ == "__main__":
    main(rows)
