"""Many threads and processes on one installation; forks in the middle; vpopmail's own locks."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import vpopmail_ext as v
from tests import cdb, torture
from tests.conformance import hashes
from tests.conftest import Home

SHARED = ["one.com", "two.com"]
FIRST_COUNT = 97
"""What two.com counts before it has users, so that they are hashed soon."""
BOTH = "both.com"
SUCCESS, EXISTS, MISSING = "Success", "Username exists", "User does not exist"
DOMAIN_EXISTS, NO_DOMAIN = "Domain already exists", "Domain does not exist"


@dataclass
class Ledger:
    """What one thread has done, so what it is to find, and what is to be there at the end."""

    users: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Password and quota by domain and name."""
    aliases: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    """The lines that it has added to the alias `all`, which every thread adds to."""
    domains: set[str] = field(default_factory=set)
    alias_domains: set[str] = field(default_factory=set)
    balance: Counter[str] = field(default_factory=Counter)
    """Of what every thread adds and deletes: how often it was added, less how often deleted."""
    calls: int = 0
    slowest: float = 0


class Worker:
    """One thread's calls: on names of its own, which go as its ledger says, and on shared ones."""

    def __init__(self, number: int, home: Home) -> None:
        self.number = number
        self.home = home
        self.random = random.Random(number)
        self.ledger = Ledger()

    def run(self, seconds: float) -> Ledger:
        steps = [
            *(self.add_user, self.del_user, self.passwd, self.quota, self.auth, self.auth),
            *(self.alias_add, self.alias_del, self.alias_get, self.add_line, self.contend_user),
            *(self.own_domain, self.own_alias_domain, self.contend_domain, self.fail),
        ]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.random.choice(steps)()
        return self.ledger

    def call(self, function: Callable[..., bool], *arguments: object) -> str:
        """Make a call, and return what vpopmail_error tells then."""
        started = time.monotonic()
        text = call(function, *arguments)
        self.ledger.slowest = max(self.ledger.slowest, time.monotonic() - started)
        self.ledger.calls += 1
        return text

    def own(self, kind: str) -> tuple[str, str]:
        return self.random.choice(SHARED), f"{kind}{self.number}-{self.random.randrange(6)}"

    def add_user(self) -> None:
        domain, name = self.own("u")
        password = f"pw{self.random.random()}"
        there = (domain, name) in self.ledger.users
        result = self.call(v.vpopmail_add_user, name, domain, password)
        assert result == (EXISTS if there else SUCCESS)
        if not there:
            self.ledger.users[domain, name] = password, "NOQUOTA"

    def del_user(self) -> None:
        domain, name = self.own("u")
        there = self.ledger.users.pop((domain, name), None)
        assert self.call(v.vpopmail_del_user, name, domain) == (SUCCESS if there else MISSING)

    def passwd(self) -> None:
        domain, name = self.own("u")
        password = f"pw{self.random.random()}"
        there = self.ledger.users.get((domain, name))
        result = self.call(v.vpopmail_passwd, name, domain, password)
        assert result == (SUCCESS if there else "Illegal username")
        if there:
            self.ledger.users[domain, name] = password, there[1]

    def quota(self) -> None:
        domain, name = self.own("u")
        there = self.ledger.users.get((domain, name))
        quota = f"{self.random.randrange(1, 10**6)}S"
        result = self.call(v.vpopmail_set_user_quota, name, domain, quota)
        assert result == (SUCCESS if there else MISSING)
        if there:
            self.ledger.users[domain, name] = there[0], quota

    def auth(self) -> None:
        domain, name = self.own("u")
        there = self.ledger.users.get((domain, name))
        password = there[0] if there else "password"
        assert v.vpopmail_auth_user(name, domain, password) is bool(there)
        assert v.vpopmail_auth_user(name, domain, f"not {password}") is False

    def alias_add(self) -> None:
        domain, name = self.own("alias")
        line = f"&{self.random.random()}@example.com"
        assert self.call(v.vpopmail_alias_add, name, domain, line) == SUCCESS
        self.ledger.aliases.setdefault((domain, name), []).append(line)

    def alias_del(self) -> None:
        domain, name = self.own("alias")
        there = self.ledger.aliases.pop((domain, name), None)
        result = self.call(v.vpopmail_alias_del, name, domain)
        assert result == (SUCCESS if there else "Illegal username")

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
        assert self.call(v.vpopmail_alias_add, "all", SHARED[0], line) == SUCCESS
        self.ledger.lines.append(line)
        found = v.vpopmail_alias_get("all", SHARED[0])
        assert [each for each in found if each in set(self.ledger.lines)] == self.ledger.lines

    def contend_user(self) -> None:
        if self.random.random() < 0.5:
            result = self.call(v.vpopmail_add_user, "contended", SHARED[1], "password")
            assert result in (SUCCESS, EXISTS)
            self.ledger.balance["user"] += result == SUCCESS
        else:
            result = self.call(v.vpopmail_del_user, "contended", SHARED[1])
            assert result in (SUCCESS, MISSING)
            self.ledger.balance["user"] -= result == SUCCESS

    def add_domain(self, name: str) -> str:
        home = self.home
        return self.call(v.vpopmail_add_domain, name, os.fspath(home.path), home.uid, home.gid)

    def own_domain(self) -> None:
        name = f"d{self.number}-{self.random.randrange(2)}.com"
        there = name in self.ledger.domains
        self.ledger.domains ^= {name}
        if there:
            assert self.call(v.vpopmail_del_domain, name) == SUCCESS
        else:
            assert self.add_domain(name) == SUCCESS
            assert self.call(v.vpopmail_add_user, "postmaster", name, "password") == SUCCESS
            assert v.vpopmail_auth_user("postmaster", name, "password") is True

    def own_alias_domain(self) -> None:
        name = f"a{self.number}.net"
        if name in self.ledger.alias_domains:
            assert self.call(v.vpopmail_del_domain, name) == SUCCESS
        else:
            assert self.call(v.vpopmail_add_alias_domain, SHARED[0], name) == SUCCESS
        self.ledger.alias_domains ^= {name}

    def contend_domain(self) -> None:
        if self.random.random() < 0.5:
            result = self.add_domain(BOTH)
            assert result in (SUCCESS, DOMAIN_EXISTS)
            self.ledger.balance["domain"] += result == SUCCESS
        else:
            result = self.call(v.vpopmail_del_domain, BOTH)
            assert result in (SUCCESS, NO_DOMAIN)
            self.ledger.balance["domain"] -= result == SUCCESS

    def fail(self) -> None:
        function, *arguments, text = self.random.choice(FAILURES)
        assert self.call(function, *arguments) == text


FAILURES: list[tuple[Callable[..., bool], str, str, str, str]] = [
    (v.vpopmail_add_user, "ann", SHARED[0], "", "password requires more characters "),
    (v.vpopmail_add_user, "a/b", SHARED[0], "pw", "Illegal username"),
    (v.vpopmail_add_user, "ann", "none.com", "pw", "Domain does not exist"),
    (v.vpopmail_passwd, "ann", SHARED[0], "p" * 129, "password too long (max=128)"),
    (v.vpopmail_set_user_quota, "ann", SHARED[0], "9" * 21, "quota too long (max=20)"),
    (v.vpopmail_alias_add, "all", SHARED[0], "l" * 160, "alias line too long (max=160)"),
]


def call(function: Callable[..., bool], *arguments: object) -> str:
    """Make a call where warnings are errors, and return what vpopmail_error tells then."""
    try:
        assert function(*arguments) is True
        text = SUCCESS
    except v.VpopmailWarning as warning:
        text = str(warning).removeprefix("vpopmail error: ")
    assert v.vpopmail_error() == text
    return text


def run_threads(numbers: range, home: Home, seconds: float) -> list[Ledger]:
    with ThreadPoolExecutor(len(numbers)) as pool:
        running = [pool.submit(Worker(number, home).run, seconds) for number in numbers]
    return [each.result() for each in running]


def run_process(numbers: range, home: Home, seconds: float) -> list[Ledger]:
    warnings.simplefilter("error")
    v.configure(home.path, home.qmail)
    return run_threads(numbers, home, seconds)


@pytest.fixture
def shared(home: Home) -> Home:
    """An installation with the domains that all threads use."""
    for name in SHARED:
        add_domain(home, name)
    text = "0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n\n"
    control = home.path / "domains" / SHARED[1] / ".dir-control"
    control.write_text(f"{FIRST_COUNT}\n{text}")
    os.chown(control, home.uid, home.gid)
    return home


def add_domain(home: Home, name: str) -> None:
    assert v.vpopmail_add_domain(name, os.fspath(home.path), home.uid, home.gid)


# --- what is to be there at the end --------------------------------------------------------------


def check(home: Home, ledgers: list[Ledger]) -> None:
    """Check that the files tell what all ledgers tell together."""
    balance: Counter[str] = Counter()
    for ledger in ledgers:
        balance.update(ledger.balance)
    assert balance["user"] in (0, 1)
    assert balance["domain"] in (0, 1)
    assert all(ledger.slowest < 15 for ledger in ledgers)
    check_domains(home, ledgers, {BOTH} if balance["domain"] else set())
    users = {key: user for ledger in ledgers for key, user in ledger.users.items()}
    if balance["user"]:
        users[SHARED[1], "contended"] = "password", "NOQUOTA"
    for domain in SHARED:
        directory = home.path / "domains" / domain
        check_users(directory, {name: user for (of, name), user in users.items() if of == domain})
        check_aliases(directory, ledgers)
    assert [path for path in home.path.parent.rglob("*tmp*") if path.is_file()] == []


def check_domains(home: Home, ledgers: list[Ledger], contended: set[str]) -> None:
    real = {*SHARED, *contended}.union(*(ledger.domains for ledger in ledgers))
    names = real.union(*(ledger.alias_domains for ledger in ledgers))
    assign = (home.qmail / "users/assign").read_bytes()
    lines = assign.decode().split("\n")
    assert lines[-2:] == [".", ""]
    assert sorted(line.split(":")[0] for line in lines[:-2]) == sorted(f"+{n}-" for n in names)
    assert (home.qmail / "users/cdb").read_bytes() == cdb.of("assign", assign)
    rcpthosts = (home.qmail / "control/rcpthosts").read_text().splitlines()
    virtualdomains = (home.qmail / "control/virtualdomains").read_text().splitlines()
    assert sorted(rcpthosts) == sorted(names)
    assert sorted(virtualdomains) == sorted(f"{name}:{name}" for name in names)
    domains = home.path / "domains"
    assert {path.name for path in domains.iterdir()} - {".dir-control"} == real
    assert (domains / ".dir-control").read_text().split("\n")[0] == str(len(real))


def check_users(directory: Path, users: dict[str, tuple[str, str]]) -> None:
    text = (directory / "vpasswd").read_bytes()
    lines = [line.decode().split(":") for line in text.splitlines()]
    assert [line[0] for line in lines] == sorted(users)
    assert (directory / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", text)
    for name, hashed, *_, place, quota in lines:
        password, wanted_quota = users[name]
        assert hashes.verify(password.encode(), hashed.encode())
        assert quota == wanted_quota
        sizes = Path(place, "Maildir/maildirsize")
        assert (sizes.read_text() if sizes.exists() else "NOQUOTA\n").startswith(f"{quota}\n")
    made = {os.fspath(path.parent) for path in directory.rglob("lastauth")}
    assert made == {line[5] for line in lines}
    before = FIRST_COUNT if directory.name == SHARED[1] else 0
    count = (directory / ".dir-control").read_text().split("\n")[0]
    assert int(count) == before + len(users)


def check_aliases(directory: Path, ledgers: list[Ledger]) -> None:
    listed = v.vpopmail_alias_get_all(directory.name)
    lines = listed.pop("all", [])
    assert listed == {
        name: added
        for ledger in ledgers
        for (domain, name), added in ledger.aliases.items()
        if domain == directory.name
    }
    if directory.name == SHARED[0]:
        assert sorted(lines) == sorted(line for ledger in ledgers for line in ledger.lines)


def descriptors() -> list[str]:
    """Return what this process has open, without what it opens to look.

    The one queue of changes that authentication keeps is left out as well.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    assert found.count("anon_inode:inotify") <= 1
    return sorted(path for path in found if not path.startswith(("/proc/", "anon_inode:inotify")))


# --- the tests -----------------------------------------------------------------------------------


@pytest.mark.torture
def test_eight_threads(shared: Home) -> None:
    before = descriptors(), os.getcwd(), umask()
    seconds = torture.amount(4, 60)
    ledgers = run_threads(range(8), shared, seconds)
    check(shared, ledgers)
    torture.tell(f"{sum(ledger.calls for ledger in ledgers)} changes in {seconds:g} s, none lost")
    assert (descriptors(), os.getcwd(), umask()) == before
    assert all(ledger.calls > 10 for ledger in ledgers)


def umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def test_four_processes_of_two_threads(shared: Home) -> None:
    numbers = [range(at, at + 2) for at in range(0, 8, 2)]
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(run_process, two, shared, 3) for two in numbers]
    check(shared, [ledger for each in running for ledger in each.result()])


@pytest.mark.skipif(
    "VPOPMAIL_TEST_SANITIZED" in os.environ,
    reason="a child may find gcc's AddressSanitizer with its locks held, and waits for ever",
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_in_the_middle(shared: Home, tmp_path: Path) -> None:
    children = []
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(Worker(number, shared).run, 4) for number in range(4)]
        for number in range(8):
            time.sleep(0.2)
            process = os.fork()
            if process == 0:
                in_child(number, tmp_path / f"child{number}")
            children.append(process)
        ledgers = [each.result() for each in running]
    statuses = [os.waitpid(process, 0)[1] for process in children]
    failures = [path.read_text() for path in tmp_path.glob("child*")]
    assert (statuses, failures) == ([0] * 8, [])
    users = {(SHARED[0], f"child{number}"): ("new", "5S") for number in range(8)}
    check(shared, [*ledgers, Ledger(users=users)])


def in_child(number: int, report: Path) -> None:
    """Make calls in a process that was forked from one with threads, and end it."""
    status = 1
    try:
        assert [path for path in descriptors() if path.endswith(".lock")] == []
        started = time.monotonic()
        user = f"child{number}", SHARED[0]
        assert call(v.vpopmail_add_user, *user, "old") == SUCCESS
        assert call(v.vpopmail_passwd, *user, "new") == SUCCESS
        assert call(v.vpopmail_set_user_quota, *user, "5") == SUCCESS
        assert v.vpopmail_auth_user(*user, "new") is True
        assert call(v.vpopmail_add_alias_domain, SHARED[0], f"child{number}.net") == SUCCESS
        assert call(v.vpopmail_del_domain, f"child{number}.net") == SUCCESS
        assert time.monotonic() - started < 15
        # If it kept a lock of its parent's, that one would have to wait now.
        time.sleep(1)
        status = 0
    except BaseException:
        report.write_text(traceback.format_exc())
    finally:
        os._exit(status)


HOLDER = """
import fcntl, os, sys
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.lockf(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold a lock, as vpopmail does, until its stdin is closed."""
    command = [sys.executable, "-c", HOLDER, os.fspath(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def all_wait(calls: list[Future[str]]) -> bool:
    time.sleep(0.4)
    return not any(each.done() for each in calls)


@pytest.fixture
def two_domains(home: Home) -> Home:
    for name in SHARED:
        add_domain(home, name)
        for user in ("ann", "bob", "gone"):
            assert v.vpopmail_add_user(user, name, "password")
    return home


def user_calls(domain: str) -> list[tuple[Callable[..., bool], str, str, str]]:
    return [
        (v.vpopmail_add_user, "new", domain, "password"),
        (v.vpopmail_passwd, "ann", domain, "changed"),
        (v.vpopmail_set_user_quota, "bob", domain, "5M"),
    ]


@pytest.mark.parametrize("end", ["released", "killed"])
def test_a_lock_of_a_domain_s_users(two_domains: Home, pool: ThreadPoolExecutor, end: str) -> None:
    lock = two_domains.path / "domains" / SHARED[0] / ".vpasswd.lock"
    with holding(lock) as holder:
        waiting = [pool.submit(call, *each) for each in user_calls(SHARED[0])]
        waiting.append(pool.submit(call, v.vpopmail_del_user, "gone", SHARED[0]))
        assert all_wait(waiting)
        started = time.monotonic()
        # The other domain's, and what needs no lock.
        for each in user_calls(SHARED[1]):
            assert call(*each) == SUCCESS
        assert call(v.vpopmail_del_user, "gone", SHARED[1]) == SUCCESS
        assert v.vpopmail_auth_user("ann", SHARED[0], "password") is True
        assert call(v.vpopmail_alias_add, "info", SHARED[0], "&a@b.c") == SUCCESS
        assert time.monotonic() - started < 5
        assert not any(each.done() for each in waiting)
        if end == "killed":
            holder.send_signal(signal.SIGKILL)
        else:
            holder.communicate()
        assert [each.result(timeout=5) for each in waiting] == [SUCCESS] * 4
    assert v.vpopmail_auth_user("ann", SHARED[0], "changed") is True


def test_a_user_that_moved_while_its_deletion_waited(
    two_domains: Home, pool: ThreadPoolExecutor
) -> None:
    directory = two_domains.path / "domains" / SHARED[0]
    before, after = directory / "gone", directory / "0/gone"
    with holding(directory / ".vpasswd.lock") as holder:
        waiting = pool.submit(call, v.vpopmail_del_user, "gone", SHARED[0])
        assert all_wait([waiting])
        # As if it had been deleted and added, when the next directory was the one to fill.
        after.parent.mkdir(0o700)
        os.chown(after.parent, two_domains.uid, two_domains.gid)
        before.rename(after)
        text = (directory / "vpasswd").read_bytes()
        text = text.replace(os.fsencode(before), os.fsencode(after))
        (directory / "vpasswd").write_bytes(text)
        (directory / "vpasswd.cdb").write_bytes(cdb.of("vpasswd", text))
        holder.communicate()
        assert waiting.result(timeout=5) == SUCCESS
    assert not after.exists()


@pytest.mark.parametrize("end", ["released", "killed"])
@pytest.mark.parametrize("file", ["users/assign", "control/rcpthosts", "control/virtualdomains"])
def test_a_lock_of_the_domains(
    two_domains: Home, pool: ThreadPoolExecutor, file: str, end: str
) -> None:
    ids = two_domains.uid, two_domains.gid
    with holding(two_domains.qmail / f"{file}.lock") as holder:
        waiting = [
            pool.submit(call, v.vpopmail_add_domain, "new.com", os.fspath(two_domains.path), *ids),
            pool.submit(call, v.vpopmail_add_alias_domain, SHARED[0], "alias.net"),
            pool.submit(call, v.vpopmail_del_domain, SHARED[1]),
        ]
        assert all_wait(waiting)
        for each in user_calls(SHARED[0]):
            assert call(*each) == SUCCESS
        assert not any(each.done() for each in waiting)
        if end == "killed":
            holder.send_signal(signal.SIGKILL)
        else:
            holder.communicate()
        assert [each.result(timeout=5) for each in waiting] == [SUCCESS] * 3
    rcpthosts = (two_domains.qmail / "control/rcpthosts").read_text()
    assert rcpthosts == "alias.net\nnew.com\none.com\n"


def test_others_see_our_locks(two_domains: Home, pool: ThreadPoolExecutor) -> None:
    with holding(two_domains.qmail / "control/virtualdomains.lock") as holder:
        # It has the lock of assign by the time that it waits for this one.
        waiting = pool.submit(call, v.vpopmail_add_alias_domain, SHARED[0], "alias.net")
        assert all_wait([waiting])
        with (two_domains.qmail / "users/assign.lock").open("r+") as lock:
            with pytest.raises(BlockingIOError):
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.communicate()
            assert waiting.result(timeout=5) == SUCCESS
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
