"""A user added, changed and deleted among 50,000, and how that grows from 5,000 on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import vpopmail_ext as v
from bench.common import Bench, Row, compared, main, medians, seconds, valued, write_through
from bench.crypt import bare_crypt

LARGE, SMALL = "bench-large.invalid", "bench-small.invalid"
FEW, MANY = 5_000, 50_000
USER, PASSWORD, QUOTA = "user01-new", "a-password", "5242880S"
ROUNDS = 5
# In this order: each round adds a user and deletes it.
WORKS: dict[str, tuple[Callable[[str], bool], tuple[str, ...], float]] = {
    "add_user": (lambda domain: v.vpopmail_add_user(USER, domain, PASSWORD), (PASSWORD,), 60),
    "passwd": (lambda domain: v.vpopmail_passwd(USER, domain, PASSWORD), (PASSWORD,), 30),
    "set_user_quota": (lambda domain: v.vpopmail_set_user_quota(USER, domain, QUOTA), (QUOTA,), 30),
    "del_user": (lambda domain: v.vpopmail_del_user(USER, domain), (), 30),
}
HASHING = ("add_user", "passwd")


def ours(work: str, domain: str) -> Callable[[], float]:
    def call() -> None:
        if not WORKS[work][0](domain):
            raise SystemExit(f"bench: {work}: {v.vpopmail_error()}")

    return lambda: seconds(call)


def rows(bench: Bench) -> Iterator[Row]:
    directory = bench.ours.home / "domains" / LARGE

    def written() -> None:
        write_through(
            directory, [(directory / name).stat().st_size for name in ("vpasswd", "vpasswd.cdb")]
        )

    with bench.domain(LARGE, users=MANY), bench.ours.domain(SMALL, {}, FEW):
        sides: dict[str, Callable[[], float] | None] = {}
        for work, (_, arguments, _) in WORKS.items():
            sides[f"{work} ours"] = ours(work, LARGE)
            sides[f"{work} few"] = ours(work, SMALL)
            sides[f"{work} reference"] = bench.against(work, USER, LARGE, *arguments)
        sides["crypt"] = lambda: bare_crypt(PASSWORD, "$6$abcdefgh$", 5) / 5
        sides["written"] = lambda: seconds(written)
        took = medians(sides, ROUNDS)
    for work, (_, _, times) in WORKS.items():
        mine = took[f"{work} ours"]
        both = {"ours": mine}
        if f"{work} reference" in took:
            both["reference"] = took[f"{work} reference"]
        limit = took["written"] + (took["crypt"] if work in HASHING else 0)
        what = "vpasswd and its cdb written and synced"
        yield compared(f"{work}, 50,000 users", "ms", both, scale=1e3, at_most=1 / times).above(
            limit * 1e3, f"{what}, and one crypt_r" if work in HASHING else what
        )
        grown = mine / took[f"{work} few"]
        yield valued(f"{work}, 50,000 users to 5,000", "x", grown, at_most=12)


if __name__ == "__main__":
    main(rows)
