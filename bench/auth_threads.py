"""Two Python threads that call vpopmail_auth_user, beside one."""

from collections.abc import Callable, Iterator
from threading import Thread

from bench.common import Bench, Row, main, medians, seconds, valued
from bench.crypt import bare_crypt, hash_of
from vpopmail_ext import vpopmail_auth_user

DOMAIN, USER, PASSWORD, SALT = "bench-auth.invalid", "sha-512", "a-password", "$6$abcdefgh$"
CALLS, ROUNDS = 150, 15


def calls() -> None:
    for _ in range(CALLS):
        assert vpopmail_auth_user(USER, DOMAIN, PASSWORD)


def bare_calls() -> None:
    bare_crypt(PASSWORD, SALT, CALLS)


def in_threads(count: int, calls: Callable[[], None]) -> None:
    threads = [Thread(target=calls) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {USER: hash_of(PASSWORD, SALT)}):
        took = medians(
            {
                f"{count} {name}": lambda count=count, work=work: seconds(  # type: ignore[misc]
                    lambda: in_threads(count, work)
                )
                for name, work in (("ours", calls), ("bare", bare_calls))
                for count in (1, 2)
            },
            ROUNDS,
        )
    faster = {name: 2 * took[f"1 {name}"] / took[f"2 {name}"] for name in ("ours", "bare")}
    row = valued("auth_user, SHA-512, two threads to one", "x", faster["ours"], at_least=1.9)
    yield row.above(faster["bare"], "bare crypt_r in two threads to one")


if __name__ == "__main__":
    main(rows)
