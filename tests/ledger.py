"""Threads that make calls of all kinds and keep books of them; what is to be on the disk then.

    python -m tests.ledger HOME QMAIL UID GID BOOKS FIRST DOMAIN…

runs THREADS of them, numbered from FIRST on, until the end of its standard input. Their books are
files in the directory BOOKS: each call is entered before it is made and when it is done, so a
process that takes the place of a killed one knows what was done, and makes the call again that was
interrupted.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import vpopmail_ext as v
from tests import cdb
from tests.conformance import hashes
from tests.linked import FORM, INFO, REAL, error_text
from vpopmail_ext import api
from vpopmail_ext.errors import VpopmailError

THREADS = 4
SHARED = ["one.com", "two.com"]
FIRST_COUNT = 97
"""What the second domain counts before it has users, so that they are hashed soon."""
CONTENDED, BOTH = "contended", "both.com"
"""A user of the second domain and a domain that every thread adds and deletes."""
SUCCESS, EXISTS, MISSING = "Success", "Username exists", "User does not exist"
DOMAIN_EXISTS, NO_DOMAIN = "Domain already exists", "Domain does not exist"
ILLEGAL = "Illegal username"
NO_LINE = "Alias does not exist or has no such line"
TEMPORARY = (".tmp:", ".new:", ".adding:")
"""What names begin with that are there only while a change is made."""
UNSURE = "unsure"
"""What a book says of a call on what is contended that a kill has interrupted."""
ALREADY = {
    "vpopmail_add_user": EXISTS,
    "vpopmail_del_user": MISSING,
    "vpopmail_alias_del": ILLEGAL,
    "remove_alias_line": NO_LINE,
    "add_users": EXISTS,
    "vpopmail_add_domain": DOMAIN_EXISTS,
    "vpopmail_del_domain": NO_DOMAIN,
    "vpopmail_add_alias_domain": DOMAIN_EXISTS,
}
"""What a call tells that has been made before."""


@dataclass(frozen=True)
class Place:
    """An installation and who owns its domains."""

    path: Path
    qmail: Path
    uid: int
    gid: int


@dataclass
class Ledger:
    """What one thread has done, so what it is to find, and what is to be there at the end."""

    users: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Password and quota by domain and name."""
    aliases: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    """The lines that it has added to the alias `all`, which every thread adds to."""
    flags: dict[tuple[str, str], int] = field(default_factory=dict)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    """The address of the last sign-in that was noted."""
    limits: dict[str, int] = field(default_factory=dict)
    """How many accounts a domain of its own may have."""
    domains: set[str] = field(default_factory=set)
    alias_domains: set[str] = field(default_factory=set)
    balance: Counter[str] = field(default_factory=Counter)
    """Of what every thread adds and deletes: how often it was added, less how often deleted."""
    unsure: set[str] = field(default_factory=set)
    """Which of them it was about to add or delete when it was killed."""
    calls: int = 0
    slowest: float = 0
    """Seconds of the call that took the longest; one that a kill has interrupted does not count."""

    def enter(self, function: str, arguments: Sequence[Any]) -> None:
        """Enter a call that has succeeded."""
        match function, arguments:
            case "vpopmail_add_user" | "vpopmail_del_user", [name, domain, *password]:
                if name == CONTENDED:
                    self.balance[CONTENDED] += 1 if password else -1
                elif password:
                    self.users[domain, name] = password[0], "NOQUOTA"
                else:
                    del self.users[domain, name]
                    self.flags.pop((domain, name), None)
                    self.seen.pop((domain, name), None)
            case "add_users", [domain, users]:
                self.users.update(((domain, name), (word, "NOQUOTA")) for name, word in users)
            case "set_flags", [name, domain, flags]:
                self.flags[domain, name] = flags
            case "set_last_auth", [name, domain, address]:
                self.seen[domain, name] = address
            case "set_limits", [domain, accounts]:
                self.limits[domain] = accounts
            case "vpopmail_passwd", [name, domain, password]:
                self.users[domain, name] = password, self.users[domain, name][1]
            case "vpopmail_set_user_quota", [name, domain, quota]:
                self.users[domain, name] = self.users[domain, name][0], quota
            case "vpopmail_alias_add", ["all", _, line]:
                self.lines.append(line)
            case "vpopmail_alias_add", [name, domain, line]:
                self.aliases.setdefault((domain, name), []).append(line)
            case "vpopmail_alias_del", [name, domain]:
                del self.aliases[domain, name]
            case "set_alias", [name, domain, lines]:
                self.aliases[domain, name] = list(lines)
            case "remove_alias_line", [name, domain, line]:
                self.aliases[domain, name].remove(line)
                if not self.aliases[domain, name]:
                    del self.aliases[domain, name]
            case "vpopmail_alias_del_domain", [domain]:
                self.aliases = {key: x for key, x in self.aliases.items() if key[0] != domain}
            case "vpopmail_add_domain" | "vpopmail_del_domain", [name, *home] if name == BOTH:
                self.balance[BOTH] += 1 if home else -1
            case "vpopmail_add_domain", [name, *_]:
                self.domains.add(name)
            case "vpopmail_add_alias_domain", [_, name]:
                self.alias_domains.add(name)
            case "vpopmail_del_domain", [name]:
                self.domains.discard(name)
                self.alias_domains.discard(name)
                self.limits.pop(name, None)
                self.aliases = {key: x for key, x in self.aliases.items() if key[0] != name}
                self.users = {key: user for key, user in self.users.items() if key[0] != name}


class Worker:
    """One thread's calls: on names of its own, which go as its ledger says, and on shared ones."""

    def __init__(self, number: int, home: Place, shared: Sequence[str] = SHARED) -> None:
        self.number = number
        self.home = home
        self.shared = shared
        self.random = random.Random(number)
        self.ledger = Ledger()
        self.book: TextIO | None = None

    def keep_book(self, path: Path) -> None:
        """Go on from a book, and with it."""
        lines = path.read_text().splitlines() if path.exists() else []
        self.book = path.open("a", buffering=1)
        asked = None
        for line in lines:
            function, arguments, _, text, *seconds = entry = json.loads(line)
            self.ledger.calls += bool(text)
            self.ledger.slowest = max(self.ledger.slowest, *seconds, 0)
            if text == SUCCESS:
                self.ledger.enter(function, arguments)
            if text == UNSURE:
                self.ledger.unsure.add(BOTH if BOTH in arguments else CONTENDED)
            asked = None if text else entry
        if asked:
            self.make_again(*asked[:3])
        self.random.seed(f"{self.number} {len(lines)}")

    def write(self, *entry: object) -> None:
        if self.book:
            self.book.write(json.dumps(entry) + "\n")

    def make_again(self, function: str, arguments: list[Any], wanted: str | None) -> None:
        """Make a call once more that a kill has interrupted: it was done, or is done now."""
        if wanted is None:
            self.ledger.unsure.add(BOTH if BOTH in arguments else CONTENDED)
            text = UNSURE
        elif function == "vpopmail_alias_add":
            name, domain, line = arguments
            there = v.vpopmail_alias_get(name, domain).count(line)
            assert there <= 1
            text = SUCCESS if there else call(getattr(v, function), *arguments)
        else:
            text = call(OF_API.get(function) or getattr(v, function), *arguments)
            if wanted == SUCCESS and text == ALREADY.get(function):
                text = SUCCESS
        assert wanted in (None, text), (function, arguments, text)
        self.write(function, arguments, wanted, text)
        if text == SUCCESS:
            self.ledger.enter(function, arguments)

    def run(self, go_on: Callable[[], bool]) -> Ledger:
        steps = [
            *(self.add_user, self.del_user, self.passwd, self.quota, self.auth, self.auth),
            *(self.alias_add, self.alias_del, self.alias_get, self.add_line),
            *(self.own_domain, self.own_alias_domain, self.fail),
            *(self.contend_user, self.contend_domain),
        ]
        if not REAL:  # of which the ledger knows what PHP's functions tell
            steps += [
                *(self.add_users, self.add_users, self.set_flags, self.set_last_auth),
                *(self.set_alias, self.remove_line, self.rebuild, self.change_own_domain),
            ]
        while go_on():
            self.random.choice(steps)()
        return self.ledger

    def call(self, function: Callable[..., Any], *arguments: object, wanted: str | None) -> str:
        """Make a call that is to tell `wanted`, or whatever, and return what it tells."""
        name = function.__name__
        self.write(name, arguments, wanted, "")
        started = time.monotonic()
        text = call(function, *arguments)
        seconds = round(time.monotonic() - started, 3)
        self.ledger.slowest = max(self.ledger.slowest, seconds)
        self.ledger.calls += 1
        assert wanted in (None, text), (name, arguments, text)
        self.write(name, arguments, wanted, text, seconds)
        if text == SUCCESS:
            self.ledger.enter(name, arguments)
        return text

    def own(self, kind: str) -> tuple[str, str]:
        number = self.random.randrange(6 if len(self.shared) < 6 else 2)
        return self.random.choice(self.shared), f"{kind}{self.number}-{number}"

    def add_user(self) -> None:
        domain, name = self.own("u")
        wanted = EXISTS if (domain, name) in self.ledger.users else SUCCESS
        self.call(v.vpopmail_add_user, name, domain, self.new_password(), wanted=wanted)

    def new_password(self) -> str:
        return f"pw{self.random.random()}"

    def del_user(self) -> None:
        domain, name = self.own("u")
        wanted = SUCCESS if (domain, name) in self.ledger.users else MISSING
        self.call(v.vpopmail_del_user, name, domain, wanted=wanted)

    def passwd(self) -> None:
        domain, name = self.own("u")
        wanted = SUCCESS if (domain, name) in self.ledger.users else ILLEGAL
        self.call(v.vpopmail_passwd, name, domain, self.new_password(), wanted=wanted)

    def quota(self) -> None:
        domain, name = self.own("u")
        quota = f"{self.random.randrange(1, 10**6)}S"
        wanted = SUCCESS if (domain, name) in self.ledger.users else MISSING
        self.call(v.vpopmail_set_user_quota, name, domain, quota, wanted=wanted)

    def add_users(self) -> None:
        """Three in one change; where they are, they go again, or are refused all together."""
        domain = self.random.choice(self.shared[:3])
        users = [(f"many{self.number}-{number}", self.new_password()) for number in range(3)]
        there = [name for name, _ in users if (domain, name) in self.ledger.users]
        if there and self.random.random() < 0.7:
            for name in there:
                self.call(v.vpopmail_del_user, name, domain, wanted=SUCCESS)
        else:
            self.call(api.add_users, domain, users, wanted=EXISTS if there else SUCCESS)

    def set_flags(self) -> None:
        domain, name = self.own("u")
        wanted = SUCCESS if (domain, name) in self.ledger.users else MISSING
        self.call(api.set_flags, name, domain, self.random.choice((0, 2, 8, 0x2000)), wanted=wanted)

    def set_last_auth(self) -> None:
        domain, name = self.own("u")
        wanted = SUCCESS if (domain, name) in self.ledger.users else MISSING
        address = f"192.0.2.{self.random.randrange(256)}"
        self.call(set_last_auth, name, domain, address, wanted=wanted)

    def rebuild(self) -> None:
        self.call(api.rebuild, self.random.choice(self.shared), wanted=SUCCESS)

    def auth(self) -> None:
        domain, name = self.own("u")
        there = self.ledger.users.get((domain, name))
        password = there[0] if there else "password"
        assert v.vpopmail_auth_user(name, domain, password) is bool(there)
        assert v.vpopmail_auth_user(name, domain, f"not {password}") is False

    def alias_add(self) -> None:
        domain, name = self.own("alias")
        line = f"&{self.random.random()}@example.com"
        self.call(v.vpopmail_alias_add, name, domain, line, wanted=SUCCESS)

    def alias_del(self) -> None:
        domain, name = self.own("alias")
        wanted = SUCCESS if (domain, name) in self.ledger.aliases else ILLEGAL
        self.call(v.vpopmail_alias_del, name, domain, wanted=wanted)

    def set_alias(self) -> None:
        domain, name = self.own("alias")
        lines = [f"&{self.random.random()}@example.com" for _ in range(self.random.randrange(1, 4))]
        self.call(api.set_alias, name, domain, lines, wanted=SUCCESS)

    def remove_line(self) -> None:
        domain, name = self.own("alias")
        lines = self.ledger.aliases.get((domain, name), [])
        line = self.random.choice(lines) if lines else "&nobody@example.com"
        wanted = SUCCESS if lines else NO_LINE
        self.call(api.remove_alias_line, name, domain, line, wanted=wanted)

    def alias_get(self) -> None:
        domain, name = self.own("alias")
        assert v.vpopmail_alias_get(name, domain) == self.ledger.aliases.get((domain, name), [])
        mark = f"alias{self.number}-"
        listed = v.vpopmail_alias_get_all(domain)
        assert {name: lines for name, lines in listed.items() if name.startswith(mark)} == {
            name: lines for (of, name), lines in self.ledger.aliases.items() if of == domain
        }

    def add_line(self) -> None:
        line = f"&{self.number}.{len(self.ledger.lines)}@example.com"
        self.call(v.vpopmail_alias_add, "all", self.shared[0], line, wanted=SUCCESS)
        found = v.vpopmail_alias_get("all", self.shared[0])
        assert [each for each in found if each in set(self.ledger.lines)] == self.ledger.lines

    def contend_user(self) -> None:
        user = CONTENDED, self.shared[1]
        if self.random.random() < 0.5:
            told = self.call(v.vpopmail_add_user, *user, "password", wanted=None)
            assert told in (SUCCESS, EXISTS), told
        else:
            told = self.call(v.vpopmail_del_user, *user, wanted=None)
            assert told in (SUCCESS, MISSING), told

    def add_domain(self, name: str, wanted: str | None) -> str:
        home = self.home
        arguments = os.fspath(home.path), home.uid, home.gid
        return self.call(v.vpopmail_add_domain, name, *arguments, wanted=wanted)

    def own_domain(self) -> None:
        name = f"d{self.number}-{self.random.randrange(2)}.com"
        if name in self.ledger.domains:
            self.call(v.vpopmail_del_domain, name, wanted=SUCCESS)
        else:
            self.add_domain(name, SUCCESS)
            user = "postmaster", name, "password"
            self.call(v.vpopmail_add_user, *user, wanted=SUCCESS)
            assert v.vpopmail_auth_user(*user) is True

    def change_own_domain(self) -> None:
        if not self.ledger.domains:
            return
        name = self.random.choice(sorted(self.ledger.domains))
        self.call(set_limits, name, self.random.randrange(1000), wanted=SUCCESS)
        if self.random.random() < 0.5:
            for alias in ("info", "sales"):
                # Each line is another one: what is there once has not been added before.
                line = f"&{self.random.random()}@example.com"
                self.call(v.vpopmail_alias_add, alias, name, line, wanted=SUCCESS)
        else:
            self.call(v.vpopmail_alias_del_domain, name, wanted=SUCCESS)

    def own_alias_domain(self) -> None:
        name = f"a{self.number}.net"
        if name in self.ledger.alias_domains:
            self.call(v.vpopmail_del_domain, name, wanted=SUCCESS)
        else:
            self.call(v.vpopmail_add_alias_domain, self.shared[0], name, wanted=SUCCESS)

    def contend_domain(self) -> None:
        if self.random.random() < 0.5:
            told = self.add_domain(BOTH, None)
            assert told in (SUCCESS, DOMAIN_EXISTS), told
            # While another thread may be about to delete it with whatever is in it.
            call(v.vpopmail_add_user, CONTENDED, BOTH, "password")
        else:
            told = self.call(v.vpopmail_del_domain, BOTH, wanted=None)
            assert told in (SUCCESS, NO_DOMAIN), told

    def fail(self) -> None:
        function, name, value, wanted = self.random.choice(FAILURES)
        told = call(function, name, self.shared[0], value)
        assert told == wanted, (function.__name__, name, told)


POLICY = (v.vpopmail_add_user, "ann", "", "password requires more characters ")
FAILURES: list[tuple[Callable[..., bool], str, str, str]] = [
    *([POLICY] if INFO.password_policy else []),
    (v.vpopmail_add_user, "a/b", "pw", ILLEGAL),
    (v.vpopmail_passwd, "ann", "p" * 129, error_text("password too long (max=128)")),
    (v.vpopmail_set_user_quota, "ann", "9" * 21, error_text("quota too long (max=20)")),
    (v.vpopmail_alias_add, "all", "l" * 160, error_text("alias line too long (max=160)")),
]


def set_last_auth(name: str, domain: str, address: str) -> None:
    api.set_last_auth(api.user(name, domain), address)


def set_limits(domain: str, accounts: int) -> None:
    api.set_limits(domain, api.Limits(maxpopaccounts=accounts))


OF_API: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(api.add_users, api.rebuild, api.remove_alias_line, api.set_alias, api.set_flags),
        *(set_last_auth, set_limits),
    )
}


def call(function: Callable[..., Any], *arguments: object) -> str:
    """Make a call where warnings are errors, and return what vpopmail_error tells then."""
    try:
        if function.__name__ in OF_API:
            function(*arguments)
            return SUCCESS
    except VpopmailError as error:
        return error.text
    try:
        assert function(*arguments) is True
        text = SUCCESS
    except v.VpopmailWarning as warning:
        text = str(warning).removeprefix("vpopmail error: ")
    assert v.vpopmail_error() == text
    return text


def until(end: float) -> Callable[[], bool]:
    """Return what tells whether there is time left."""
    return lambda: time.monotonic() < end


def run_threads(
    numbers: range,
    home: Place,
    go_on: Callable[[], bool],
    shared: Sequence[str] = SHARED,
    books: Path | None = None,
) -> list[Ledger]:
    """Run so many threads; with books, from those that there are on."""
    workers = [Worker(number, home, shared) for number in numbers]
    for worker in workers if books else ():
        worker.keep_book(books / str(worker.number))
    with ThreadPoolExecutor(len(numbers)) as pool:
        running = [pool.submit(worker.run, go_on) for worker in workers]
    for worker in workers:
        if worker.book:
            worker.book.close()
    return [each.result() for each in running]


def run_process(numbers: range, home: Place, seconds: float) -> list[Ledger]:
    warnings.simplefilter("error")
    v.configure(home.path, home.qmail)
    return run_threads(numbers, home, until(time.monotonic() + seconds))


def prepare(home: Place, shared: Sequence[str] = SHARED) -> None:
    """Make the domains that all threads use."""
    for name in shared:
        add_domain(home, name)
    text = "0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n\n"
    control = home.path / "domains" / shared[1] / ".dir-control"
    control.write_text(f"{FIRST_COUNT}\n{text}")
    os.chown(control, home.uid, home.gid)


def add_domain(home: Place, name: str) -> None:
    assert v.vpopmail_add_domain(name, os.fspath(home.path), home.uid, home.gid)


# --- what is to be there at the end --------------------------------------------------------------


def check(home: Place, ledgers: list[Ledger], shared: Sequence[str] = SHARED) -> None:
    """Check that the files tell what all ledgers tell together."""
    balance: Counter[str] = Counter()
    for ledger in ledgers:
        balance.update(ledger.balance)
    unsure: set[str] = set().union(*(ledger.unsure for ledger in ledgers))
    domains = home.path / "domains"
    if BOTH in unsure:
        balance[BOTH] = (domains / BOTH).exists()
    if CONTENDED in unsure:
        balance[CONTENDED] = v.vpopmail_auth_user(CONTENDED, shared[1], "password")
    assert balance[CONTENDED] in (0, 1)
    assert balance[BOTH] in (0, 1)
    assert all(ledger.slowest < 15 for ledger in ledgers)
    real = {*shared}.union(*(ledger.domains for ledger in ledgers))
    if balance[BOTH]:
        real.add(BOTH)
    check_domains(home, real, real.union(*(ledger.alias_domains for ledger in ledgers)))
    users = {key: user for ledger in ledgers for key, user in ledger.users.items()}
    if balance[CONTENDED]:
        users[shared[1], CONTENDED] = "password", "NOQUOTA"
    for domain in real:
        of = {name: user for (at, name), user in users.items() if at == domain}
        before = FIRST_COUNT if domain == shared[1] else 0
        if of or before or domain in shared:
            check_users(domains / domain, of, before)
            check_marks(domains / domain, ledgers)
    lines = [line for ledger in ledgers for line in ledger.lines]
    for domain in real:
        check_aliases(domain, ledgers, lines if domain == shared[0] else [])
    tops = home.path / "domains", home.qmail / "users", home.qmail / "control"
    there = [path for top in tops for path in top.rglob("*")]
    assert [path for path in there if path.name.startswith(TEMPORARY)] == []


def check_domains(home: Place, real: set[str], names: set[str]) -> None:
    assign = (home.qmail / "users/assign").read_bytes()
    lines = assign.decode().split("\n")
    assert lines[-2:] == [".", ""]
    assert sorted(line.split(":")[0] for line in lines[:-2]) == sorted(f"+{n}-" for n in names)
    assert (home.qmail / "users/cdb").read_bytes() == cdb.of("assign", assign)
    hosts = (home.qmail / "control/rcpthosts").read_text().splitlines()
    more = home.qmail / "control/morercpthosts"
    hosts += more.read_text().splitlines() if more.exists() else []
    virtualdomains = (home.qmail / "control/virtualdomains").read_text().splitlines()
    assert sorted(hosts) == sorted(names)
    assert sorted(virtualdomains) == sorted(f"{name}:{name}" for name in names)
    domains = home.path / "domains"
    found = {path.parent for path in domains.rglob(".qmail-default")}
    assert {path.name for path in found} == real
    assert (domains / ".dir-control").read_text().split("\n")[0] == str(len(real))


def check_users(directory: Path, users: dict[str, tuple[str, str]], before: int) -> None:
    """Check a domain that has these users and had counted so many before there were any."""
    vpasswd = directory / "vpasswd"
    text = vpasswd.read_bytes() if users or vpasswd.exists() else b""
    lines = [line.decode().split(":", 7) for line in text.splitlines()]
    assert [line[0] for line in lines] == sorted(users)
    if vpasswd.exists():
        assert (directory / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", text)
    for name, hashed, _, _, _, place, quota, *clear in lines:
        password, wanted_quota = users[name]
        assert hashes.verify(password.encode(), hashed.encode())
        assert clear == ([password] if FORM.clear_passwords else [])
        assert quota == wanted_quota
        sizes = Path(place, "Maildir/maildirsize")
        assert (sizes.read_text() if sizes.exists() else "NOQUOTA\n").startswith(f"{quota}\n")
    made = {os.fspath(path.parent) for path in directory.rglob("lastauth")}
    assert made == {line[5] for line in lines}
    control = directory / ".dir-control"
    count = control.read_text().split("\n")[0] if control.exists() else "0"
    assert int(count) == before + len(users)


def check_marks(directory: Path, ledgers: list[Ledger]) -> None:
    """Check the flags and last sign-ins of a domain's users, and the domain's limits."""
    domain = directory.name
    vpasswd = directory / "vpasswd"  # which comes with the first user
    text = vpasswd.read_text() if vpasswd.exists() else ""
    lines = [line.split(":") for line in text.splitlines()]
    places = {line[0]: Path(line[5]) for line in lines}
    flags = {key: value for ledger in ledgers for key, value in ledger.flags.items()}
    assert [int(line[3]) for line in lines] == [flags.get((domain, line[0]), 0) for line in lines]
    for ledger in ledgers:
        for (at, name), address in ledger.seen.items():
            if at == domain:
                assert (places[name] / "lastauth").read_text() == address
        if domain in ledger.limits:
            assert api.limits(domain).maxpopaccounts == ledger.limits[domain]


def check_aliases(domain: str, ledgers: list[Ledger], lines: list[str]) -> None:
    """Check a domain's aliases, and the lines of `all` that it has."""
    listed = v.vpopmail_alias_get_all(domain)
    assert sorted(listed.pop("all", [])) == sorted(lines)
    assert listed == {
        name: added
        for ledger in ledgers
        for (at, name), added in ledger.aliases.items()
        if at == domain
    }


def main() -> None:
    home, qmail, uid, gid, books, first, *shared = sys.argv[1:]
    place = Place(Path(home), Path(qmail), int(uid), int(gid))
    warnings.simplefilter("error")
    v.configure(home, qmail)
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    numbers = range(int(first), int(first) + THREADS)
    books_at = Path(books)
    run_threads(numbers, place, lambda: not told.is_set(), shared, books_at)


if __name__ == "__main__":
    main()
