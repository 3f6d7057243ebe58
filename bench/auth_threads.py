"""Two Python threads that call vpopmail_auth_user, beside one."""

from collections.abc import Iterator
from threading import Thread

from bench.common import Bench, Row, main, medians, seconds, valued
from bench.crypt import hash_of
from vpopmail_ext import vpopmail_auth_user

DOMAIN, USER, PASSWORD = "bench-auth.invalid", "sha-512", "a-password"
CALLS, ROUNDS = 150, 15


def calls() -> None:
    for _ in range(CALLS):
        assert vpopmail_auth_user(USER, DOMAIN, PASSWORD)


def in_threads(count: int) -> None:
    threads = [Thread(target=calls) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {USER: hash_of(PASSWORD, "$6$abcdefgh$")}):
        took = medians(
            {
                "one": lambda: seconds(lambda: in_threads(1)),
                "two": lambda: seconds(lambda: in_threads(2)),
            },
            ROUNDS,
        )
    faster = 2 * took["one"] / took["two"]
    yield valued("auth_user, SHA-512, two threads to one", "x", faster, at_least=1.9)


if __name__ == "__main__":
    main(rows)
