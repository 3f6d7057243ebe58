"""Two Python threads that call vpopmail_auth_user, beside one."""

from collections.abc import Callable, Iterator
from statistics import median
from threading import Thread

from bench.common import Bench, Row, main, seconds, valued
from bench.crypt import bare_crypt, hash_of
from vpopmail_ext import vpopmail_auth_user

DOMAIN, USER, PASSWORD, SALT = "bench-auth.invalid", "sha-512", "a-password", "$6$abcdefgh$"
CALLS, ROUNDS = 150, 31


def calls() -> None:
    for _ in range(CALLS):
        assert vpopmail_auth_user(USER, DOMAIN, PASSWORD)


def bare_calls() -> None:
    for _ in range(CALLS):
        bare_crypt(PASSWORD, SALT, 1)


def in_threads(count: int, calls: Callable[[], None]) -> None:
    threads = [Thread(target=calls) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def faster(work: Callable[[], None]) -> float:
    """Return how many times as much two threads do; what slows both down does not show in it."""
    return median(
        2 * seconds(lambda: in_threads(1, work)) / seconds(lambda: in_threads(2, work))
        for _ in range(ROUNDS)
    )


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {USER: hash_of(PASSWORD, SALT)}):
        row = valued("auth_user, SHA-512, two threads to one", "x", faster(calls), at_least=1.9)
        yield row.above(faster(bare_calls), "bare crypt_r in two threads to one")


if __name__ == "__main__":
    main(rows)
