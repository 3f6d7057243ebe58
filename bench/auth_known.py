"""Authentication with the right password, by kind of hash, beside a bare crypt_r."""

from collections.abc import Callable, Iterator

from bench.common import Bench, Row, compared, main, medians, seconds, valued
from bench.crypt import bare_crypt, hash_of
from vpopmail_ext import vpopmail_auth_user

DOMAIN = "bench-auth.invalid"
PASSWORD = "a-password"
# kind, its salt, calls in a round, the most of the original's time
KINDS = (
    ("DES", "ab", 20_000, 0.35),
    ("MD5", "$1$abcdefgh$", 4_000, 0.9),
    ("SHA-512", "$6$abcdefgh$", 500, 1.0),
)


def calls(user: str, count: int) -> Callable[[], float]:
    def loop() -> None:
        for _ in range(count):
            assert vpopmail_auth_user(user, DOMAIN, PASSWORD)

    return lambda: seconds(loop) / count


def kind_rows(bench: Bench, kind: str, salt: str, count: int, at_most: float) -> Iterator[Row]:
    user = kind.lower()
    sides = medians(
        {
            "ours": calls(user, count),
            "crypt": lambda: bare_crypt(PASSWORD, salt, count) / count,
            "reference": bench.against("auth_user", count, 1, user, DOMAIN, PASSWORD, per=count),
        }
    )
    yield compared(f"auth_user, {kind} hash", "µs", sides, scale=1e6, at_most=at_most)
    above = (sides["ours"] - sides["crypt"]) * 1e6
    yield valued(f"… {kind}, above a bare crypt_r", "µs", above, at_most=2.5)


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN, {kind.lower(): hash_of(PASSWORD, salt) for kind, salt, *_ in KINDS}):
        for kind in KINDS:
            yield from kind_rows(bench, *kind)


if __name__ == "__main__":
    main(rows)
