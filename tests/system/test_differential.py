"""The same random calls on the bundled and on the real library: results and files are the same.

VPOPMAIL_TEST_CALLS is how many calls are made, VPOPMAIL_TEST_SEED the first sequence's seed. What
docs/differences.md lists is left out of the sequences: a user without a name or named like one of
the domain's own files, an alias domain without a name, a name with a slash, a newline in a gecos, a
domain whose line in assign is over 298 bytes, a real domain's name as an alias domain's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import hashes, tree
from tests.conformance.tree import Place, Tree
from tests.system import both

CALLS = int(os.environ.get("VPOPMAIL_TEST_CALLS", "600"))
SEED = int(os.environ.get("VPOPMAIL_TEST_SEED", "1"))
LENGTH = 60
"""Calls of one sequence, which starts from an empty installation."""

pytestmark = both.on_real_cdb

DOMAINS = [
    *["example.com", "a.example.com", "b.example.com", "zeta.org", "alpha.org", "x.y.zeta.org"],
    *["UPPER.com", "1.2.3.44", ".lead.com", "bad_name.com", "-x.com", "a..b.com", "nodot", ""],
    *["d" * 60 + ".com", "e" * 97, "trail.com-", "sp ace.com"],
]
USERS = [
    *["postmaster", "alice", "bob", "carol", "Dave", "x", "zz", "a.b", "o'neil", "user+tag"],
    *["u" * 64, "u" * 65, "sp ace", "semi;colon", "ümlaut", "%percent", "_under", "-dash", "9"],
]
PASSWORDS = ["pw-12345", "another one", "p", "", "ünicode", "q" * 128, "q" * 129, "r" * 511]
GECOS = ["A Person", "", "g" * 64, "g" * 65, "Ümlaut", "co:lon"]
QUOTAS = [
    *["5M", "NOQUOTA", "1048576S,100C", "10MB", "", "0", "12345678901234567890", "x", "5G", "-1"],
    *["100C", "5120K", "1.5M", "  7M", "1M,2M", "9" * 21, "noquota", "5m,3c"],
]
ALIASES = ["info", "Info", "a.b", "default", "list-owner", "x" * 64, "x" * 65, "ü", "sales", ""]
LINES = ["&a@example.com", "|/bin/true", "./Maildir/", "two\nlines", "&" + "y" * 158, "z" * 160, ""]


def valid(random: random.Random, values: list[str], count: int) -> str:
    """Choose one of the first `count` values more often than another."""
    return random.choice(values[:count] if random.random() < 0.8 else values)


def sequence(seed: int) -> Iterator[tuple[str, list[Any]]]:
    """Return the calls of one sequence."""
    dice = random.Random(seed)

    def domain() -> str:
        return valid(dice, DOMAINS, 6)

    def user() -> str:
        return valid(dice, USERS, 8)

    def password() -> str:
        return valid(dice, PASSWORDS, 2)

    def add_domain() -> list[Any]:
        own = dice.random() < 0.9
        where = "/home/vpopmail" if own else dice.choice(["/srv/mail", "/no/such", ""])
        return [domain(), where, 89, 89]

    def alias_domain() -> list[Any]:
        return [domain(), domain() or "other.example"]

    makers = {
        "vpopmail_add_domain": (6, add_domain),
        "vpopmail_del_domain": (2, lambda: [domain()]),
        "vpopmail_add_alias_domain": (3, alias_domain),
        "vpopmail_add_domain_ex": (1, lambda: [domain(), "pm-12345"]),
        "vpopmail_del_domain_ex": (1, lambda: [domain()]),
        "vpopmail_add_alias_domain_ex": (1, lambda: [domain(), domain()]),
        "vpopmail_add_user": (
            12,
            lambda: [user(), domain(), password(), valid(dice, GECOS, 2), dice.random() < 0.2],
        ),
        "vpopmail_del_user": (4, lambda: [user(), domain()]),
        "vpopmail_passwd": (5, lambda: [user(), domain(), password()]),
        "vpopmail_set_user_quota": (6, lambda: [user(), domain(), dice.choice(QUOTAS)]),
        "vpopmail_auth_user": (5, lambda: [user(), domain(), password()]),
        "vpopmail_alias_add": (5, lambda: [dice.choice(ALIASES), domain(), dice.choice(LINES)]),
        "vpopmail_alias_del": (2, lambda: [dice.choice(ALIASES), domain()]),
        "vpopmail_alias_del_domain": (1, lambda: [domain()]),
        "vpopmail_alias_get": (3, lambda: [dice.choice(ALIASES), domain()]),
        "vpopmail_alias_get_all": (2, lambda: [domain()]),
    }
    # Some begin where files are made over: at 50 domains, and at 100 domains or users.
    start = seed % 6
    if start == 1:
        yield from (add_domain_named(f"n{number}.example") for number in range(48))
    elif start == 2:
        yield add_domain_named("example.com")
        for number in range(97):
            yield "vpopmail_add_user", [f"user{number}", "example.com", "pw", "", False]
    elif start == 3 and seed % 4 == 1:
        yield from (add_domain_named(f"n{number}.example") for number in range(98))
    names = list(makers)
    weights = [makers[name][0] for name in names]
    for _ in range(LENGTH):
        name = dice.choices(names, weights)[0]
        yield name, makers[name][1]()


def add_domain_named(name: str) -> tuple[str, list[Any]]:
    """Return a call that succeeds."""
    return "vpopmail_add_domain", [name, "/home/vpopmail", 89, 89]


def comparable(found: Tree) -> Tree:
    """Return a tree with its hashes told by their form."""
    return {
        path: replace(entry, data=hashes.FORM.sub(b"(hash)", entry.data))
        for path, entry in found.items()
    }


def is_left_out(name: str, arguments: list[Any]) -> bool:
    """Whether a call is one of those that docs/differences.md lists."""
    if name in ("vpopmail_add_alias_domain", "vpopmail_add_alias_domain_ex"):
        return arguments[0] == arguments[1] or not all(arguments)
    return name in ("vpopmail_add_user", "vpopmail_del_user") and not arguments[0]


def test_random_calls(tmp_path: Path) -> None:
    package = both.build_bundled(tmp_path)
    tools = tmp_path / "tools"
    both.subprocess.run(
        ["./build_libvpopmail.sh", "--prefix", tools, "--qmail", tree.QMAIL],
        cwd=package,
        check=True,
    )
    made, seed = 0, SEED
    while made < CALLS:
        made += compare(tmp_path / str(seed), seed, package, tools / "bin")
        seed += 1
    print(f"{made} calls, seeds {SEED} to {seed - 1}: the same results and files")


def compare(directory: Path, seed: int, package: Path, programs: Path) -> int:
    """Make a sequence's calls on both; return how many they were."""
    roots = [directory / "bundled", directory / "real"]
    for root, bin in zip(roots, (programs, None), strict=True):
        both.lay_out(root, bin)
    workers = [both.Worker(roots[0], package), both.Worker(roots[1], both.TOP)]
    done: list[str] = []
    try:
        for name, arguments in sequence(seed):
            if is_left_out(name, arguments):
                continue
            outcomes = [worker.call(name, arguments) for worker in workers]
            done.append(f"{name}{tuple(arguments)!r}")
            trees = [comparable(tree.scan(Place(str(root)))) for root in roots]
            texts = tree.differences(trees[1], trees[0])
            if outcomes[0] != outcomes[1]:
                texts.append(f"bundled: {outcomes[0]}\nreal:    {outcomes[1]}")
            if texts:
                history = "\n".join(done[-12:])
                pytest.fail(
                    f"seed {seed}, call {len(done)} ({history})\n" + "\n".join(texts[:12]),
                    pytrace=False,
                )
    finally:
        for worker in workers:
            worker.close()
    return len(done)
