"""The same random calls on the bundled and on the real library: results and files are the same.

VPOPMAIL_TEST_CALLS is how many calls are made, VPOPMAIL_TEST_SEED the first sequence's seed. What
docs/differences.md lists is left out of the sequences: a user without a name or named like one of
the domain's own files, an alias domain without a name, a name with a slash, a newline in a gecos, a
domain whose line in assign is over 298 bytes, a real domain's name as an alias domain's, an alias
domain without a dot; with vpopmail 5.4 and 5.5, a name, gecos, password or line of vpasswd that is
too long there alone, an empty password, a domain that its program alone takes; with 5.5, vdeldomain
and the quotas that it reads otherwise. The empty morercpthosts that a real library leaves is not
looked at either.

What a release writes in a form of its own (tests/conformance/forms.py) is expected in that form.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext
from tests.conformance import tree
from tests.conformance.forms import FORM_5_5, FORM_5_6, Form, form_of
from tests.conformance.replay import password_of
from tests.conformance.tree import Place, Tree
from tests.system import both

CALLS = int(os.environ.get("VPOPMAIL_TEST_CALLS", "600"))
SEED = int(os.environ.get("VPOPMAIL_TEST_SEED", "1"))
LENGTH = 60
"""Calls of one sequence, which starts from an empty installation."""
INFO = vpopmail_ext.info()
FORM = form_of(INFO.vpopmail_version)

pytestmark = both.on_real_cdb

DOMAINS = [
    *["example.com", "a.example.com", "b.example.com", "zeta.org", "alpha.org", "x.y.zeta.org"],
    *["UPPER.com", "1.2.3.44", ".lead.com", "bad_name.com", "-x.com", "a..b.com", "nodot", ""],
    *["d" * 60 + ".com", "e" * 97, "trail.com-", "sp ace.com"],
]
USERS = [
    *["postmaster", "alice", "bob", "carol", "Dave", "x", "zz", "a.b", "o'neil", "user+tag"],
    *[
        "u" * 32,
        "u" * 64,
        "u" * 65,
        "sp ace",
        "semi;colon",
        "ümlaut",
        "%percent",
        "_under",
        "-dash",
        "9",
    ],
]
PASSWORDS = ["pw-12345", "another one", "p", "", "ünicode", "q" * 128, "q" * 129, "r" * 511]
PASSWORDS += ["co:lon", "e:n:d:"]
GECOS = ["A Person", "", "g" * 48, "g" * 64, "g" * 65, "Ümlaut", "co:lon"]
QUOTAS = [
    *["5M", "NOQUOTA", "1048576S,100C", "10MB", "", "0", "12345678901234567890", "x", "5G", "-1"],
    *["100C", "5120K", "1.5M", "  7M", "1M,2M", "9" * 21, "noquota", "5m,3c"],
]
QUOTAS_5_5 = ["0", "12345678901234567890", "x", "-1", "1.5M", "noquota"]
"""Which 5.5 reads otherwise."""
ALIASES = ["info", "Info", "a.b", "default", "list-owner", "ü", "sales", ""]
ALIASES += ["x" * 32, "x" * 64, "x" * 65]
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


def scan(root: Path) -> Tree:
    """Return what is on disk, a vpasswd.cdb as what is made of vpasswd where it is."""
    found = tree.scan(Place(str(root)))
    if FORM is FORM_5_5:
        found = {path: found[path] for path in found if not path.endswith("_free.lock")}
    made = {path: tree.cdb_of("vpasswd", found[path].data) for path in found if is_store(path)}
    return {
        path: replace(entry, data=b"", source="vpasswd")
        if entry.data == made.get(path.removesuffix(".cdb"))
        else entry
        for path, entry in found.items()
    }


def without_emptied(found: Tree) -> Tree:
    """Leave out a morercpthosts that lost all its lines at once, and its cdb: both stay there."""
    path = f"{tree.QMAIL}/control/morercpthosts"
    emptied = path in found and not found[path].data
    return {key: found[key] for key in found if not emptied or key not in (path, f"{path}.cdb")}


def is_store(path: str) -> bool:
    """Whether a file has a domain's users."""
    return path.endswith("/vpasswd")


def comparable(found: Tree, form: Form) -> Tree:
    """Return a tree with its hashes told by their form."""
    made = {
        path: replace(entry, data=form.hash.sub(b"(hash)", entry.data))
        for path, entry in found.items()
    }
    return {
        path: replace(entry, data=tree.content(path, made), source="")
        for path, entry in made.items()
    }


class Expected:
    """The bundled library's files as the real one's release writes them."""

    def __init__(self) -> None:
        self._found: Tree = {}
        self._written: Tree = {}

    def follow(self, found: Tree, password: bytes) -> Tree:
        """Return what is expected after a call that has made `found` of the bundled's files."""
        changed = {path: entry for path, entry in found.items() if entry != self._found.get(path)}
        written = {**self._written, **FORM.written(changed, self._written, password)}
        self._found, self._written = found, {path: written[path] for path in found}
        return comparable(self._written, FORM_5_6)


def expected_outcome(outcome: list[Any]) -> list[Any]:
    """Return what is to come of a call on the real library where this came of it on the bundled."""
    result, warnings, error, *rest = outcome
    if isinstance(result, list):
        nobody = f"'' {FORM.mail_to_nobody.decode()}"
        result = [line.replace("'' delete", nobody) for line in result]
    return [result, list(map(FORM.text, warnings)), FORM.text(error), *rest]


def is_left_out(name: str, arguments: Sequence[Any]) -> bool:
    """Whether a call is one of those that docs/differences.md lists."""
    if name.startswith("vpopmail_add_alias_domain") and (
        arguments[0] == arguments[1] or not all("." in domain for domain in arguments)
    ):
        return True
    if name in ("vpopmail_add_user", "vpopmail_del_user") and not arguments[0]:
        return True
    if FORM is FORM_5_5 and (
        name == "vpopmail_del_domain_ex"
        or (name == "vpopmail_set_user_quota" and arguments[2] in QUOTAS_5_5)
    ):
        return True
    return FORM is not FORM_5_6 and is_left_out_5_4(name, arguments)


def is_left_out_5_4(name: str, arguments: Sequence[Any]) -> bool:
    """Whether a call is one in which vpopmail 5.4 has other limits, no policy, or row 30."""
    if name == "vpopmail_add_domain_ex":
        return "." not in arguments[0] or ".." in arguments[0]
    if "_domain" in name:
        return False
    password = arguments[2] if name in ("vpopmail_add_user", "vpopmail_passwd") else "-"
    gecos = arguments[3] if name == "vpopmail_add_user" else ""
    return (
        INFO.user_name_max < len(arguments[0]) <= 64
        or INFO.gecos_max < len(gecos) <= 64
        or not password
        or len(password) > 100  # row 37
        or (name == "vpopmail_add_user" and len(arguments[0]) + len(arguments[1]) > 90)
    )


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
    expected, done = Expected(), list[str]()
    try:
        for name, arguments in sequence(seed):
            if is_left_out(name, arguments):
                continue
            outcomes = [worker.call(name, arguments) for worker in workers]
            done.append(f"{name}{tuple(arguments)!r}")
            ours, real = scan(roots[0]), without_emptied(scan(roots[1]))
            files = expected.follow(ours, password_of(name, arguments))
            texts = tree.differences(files, comparable(real, FORM))
            if expected_outcome(outcomes[0]) != outcomes[1]:
                texts.insert(0, f"bundled: {outcomes[0]}\nreal:    {outcomes[1]}")
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
