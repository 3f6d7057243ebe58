"""Authentication of a user that is not there: the look-up alone."""

from collections.abc import Iterator

from bench.common import Bench, Row, compared, main, medians, seconds
from vpopmail_ext import vpopmail_auth_user

DOMAIN = "bench-auth.invalid"
CALLS, ROUNDS = 20_000, 15


def calls() -> None:
    for _ in range(CALLS):
        vpopmail_auth_user("nobody", DOMAIN, "a-password")


def rows(bench: Bench) -> Iterator[Row]:
    with bench.domain(DOMAIN):
        sides = medians(
            {
                "ours": lambda: seconds(calls) / CALLS,
                "reference": bench.against(
                    "auth_user", CALLS, 0, "nobody", DOMAIN, "a-password", per=CALLS
                ),
            },
            ROUNDS,
        )
    yield compared("auth_user, unknown user", "µs", sides, scale=1e6, at_most=0.4)


if __name__ == "__main__":
    main(rows)
