"""How far, with equal_time, an unknown user is from a wrong password of an account of today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from statistics import median

from bench.common import Bench, Row, main, seconds, valued
from bench.crypt import hash_of
from vpopmail_ext import auth_many, vpopmail_auth_user

DOMAIN, USER, GUESS = "bench-equal.invalid", "sha-512", "a-guess"
CALLS, PAIRS = 2, 201
MANY, MANY_PAIRS = 64, 31


def one_by_one(user: str) -> float:
    def calls() -> None:
        for _ in range(CALLS):
            assert not vpopmail_auth_user(user, DOMAIN, GUESS, equal_time=True)

    return seconds(calls)


def together(user: str) -> float:
    credentials = repeat((user, DOMAIN, GUESS), MANY)
    return seconds(lambda: any(auth_many(credentials, threads=1, equal_time=True)))


def apart(took: Callable[[str], float], pairs: int) -> float:
    """Return the difference in hundredths of what a wrong password takes, by the medians of both.

    They take turns at being first.
    """
    unknown: list[float] = []
    wrong: list[float] = []
    for number in range(pairs):
        for user in sorted(("nobody", USER), reverse=number % 2 == 1):
            (unknown if user == "nobody" else wrong).append(took(user))
    return abs(median(unknown) / median(wrong) - 1) * 100


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {USER: hash_of("a-password", "$6$abcdefgh$")}):
        for name, took, pairs in (
            ("auth_user", one_by_one, PAIRS),
            ("auth_many", together, MANY_PAIRS),
        ):
            work = f"{name} with equal_time, unknown user from a wrong password"
            yield valued(work, "%", apart(took, pairs), at_most=1)


if __name__ == "__main__":
    main(rows)
