"""auth_many(): the answers of vpopmail_auth_user, in order, lazily, by several threads."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice, repeat
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import cdb
from tests.conformance.hashes import crypt
from vpopmail_ext import many

DOMAIN = "ex.com"
THREADS = 2
RIGHT = ("alice", DOMAIN, "secret")
WRONG = ("alice", DOMAIN, "guess")
UNKNOWN = ("nobody", DOMAIN, "secret")


@pytest.fixture(autouse=True)
def domain(home: Any) -> None:
    """A domain with passwords that are quick and slow to check, and of odd spellings."""
    assert v.vpopmail_add_domain(DOMAIN, os.fspath(home.path), home.uid, home.gid)
    directory = Path(home.path, "domains", DOMAIN)
    passwords = {
        "alice": (b"secret", b"ab"),
        "slow": (b"secret", b"$6$abcdefgh$"),
        "12": (b"34.5", b"ab"),
        "empty": (b"", b"ab"),
        "caf\xe9": ("naïve".encode(), b"$1$abcdefgh$"),
        "\udcff": (b"\xfe", b"$1$abcdefgh$"),
    }
    lines = [
        name.encode("utf-8", "surrogateescape")
        + b":"
        + crypt(password, salt)
        + b":1:0::/x:NOQUOTA\n"
        for name, (password, salt) in passwords.items()
    ]
    text = b"".join(sorted(lines))
    for name, data in (("vpasswd", text), ("vpasswd.cdb", cdb.of("vpasswd", text))):
        (directory / name).write_bytes(data)
        os.chown(directory / name, home.uid, home.gid)


class Source:
    """Credentials that are counted as they are read."""

    def __init__(self, credentials: Any = None) -> None:
        self.credentials = iter(repeat(UNKNOWN) if credentials is None else credentials)
        self.read = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        credential = next(self.credentials)
        self.read += 1
        return credential


def workers() -> int:
    return sum(1 for thread in threading.enumerate() if "_work" in thread.name)


def wait_for_no_workers() -> None:
    end = time.monotonic() + 10
    while workers():
        assert time.monotonic() < end
        time.sleep(0.001)


# --- answers -------------------------------------------------------------------------------------


def test_the_answers_are_those_of_vpopmail_auth_user() -> None:
    credentials: list[Any] = [
        RIGHT,
        WRONG,
        UNKNOWN,
        ("ALICE", "Ex.Com", "secret"),
        ("alice", "none.com", "secret"),
        ("slow", DOMAIN, "secret"),
        ("slow", DOMAIN, "guess"),
        (12, DOMAIN, 34.5),
        (b"alice", b"ex.com", b"secret"),
        ("empty", DOMAIN, None),
        ("empty", DOMAIN, False),
        ("empty", DOMAIN, ""),
        (None, DOMAIN, "secret"),
        ("", "", ""),
        (True, True, True),
        ("caf\xe9", DOMAIN, "na\xefve"),
        ("\udcff", DOMAIN, "\udcfe"),
        (b"\xff", DOMAIN, b"\xfe"),
        ["alice", DOMAIN, "secret"],
        ("a" * 300, DOMAIN, "p" * 600),
    ]
    expected = [v.vpopmail_auth_user(*each) for each in credentials]
    assert sum(expected) >= 9
    for threads in (None, 1, 2, 5):
        answers = list(v.auth_many(credentials * 7, threads=threads))
        assert answers == expected * 7
        assert {type(answer) for answer in answers} == {bool}


def test_order_over_many_batches() -> None:
    def is_right(number: int) -> bool:
        return number % 7 in (1, 3) or number % 1000 == 0

    def credentials() -> Iterator[Any]:
        for number in range(20_000):
            yield RIGHT if is_right(number) else UNKNOWN

    answers = list(v.auth_many(credentials(), threads=3))
    assert answers == [is_right(number) for number in range(20_000)]


def test_none() -> None:
    before = workers()
    assert list(v.auth_many([])) == []
    assert workers() == before


def test_a_change_meanwhile(home: Any) -> None:
    """An answer is by what is stored when it is made."""
    answers = v.auth_many(repeat(("slow", DOMAIN, "secret")), threads=2)
    assert next(answers) is True
    assert v.vpopmail_passwd("slow", DOMAIN, "changed")
    # Another thread may have made some of the next ones before the change.
    assert any(not any(islice(answers, 10)) for _ in range(1000))


def test_the_kept_error_stays() -> None:
    with pytest.warns(v.VpopmailWarning):
        assert not v.vpopmail_del_user("nobody", DOMAIN)
    assert list(v.auth_many([RIGHT])) == [True]
    assert v.vpopmail_error() == "User does not exist"


def test_several_at_once() -> None:
    def run(number: int) -> list[bool]:
        return list(v.auth_many([RIGHT, WRONG] * 500, threads=number % 3 + 1))

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(run, range(6)))
    assert results == [[True, False] * 500] * 6
    one, two = v.auth_many(repeat(RIGHT)), v.auth_many(repeat(WRONG))
    assert [next(each) for _ in range(50) for each in (one, two)] == [True, False] * 50


# --- how far it reads ----------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_asked_for() -> None:
    source = Source()
    answers = v.auth_many(source)
    assert source.read == 0
    assert next(answers) is False
    assert source.read <= 8 * 2 * len(os.sched_getaffinity(0))


def test_it_reads_no_further_than_it_says() -> None:
    source = Source()
    ahead = 0
    answers = v.auth_many(source, threads=THREADS)
    bundled = v.info().library == "bundled"
    for given, _ in enumerate(islice(answers, 300_000 if bundled else 3000), 1):
        ahead = max(ahead, source.read - given)
    # Batches grow as their time allows; a real library's look-ups take too long for large ones.
    assert 512 * bundled <= ahead <= 4096 * 2 * THREADS


def test_slow_credentials_are_answered_soon() -> None:
    """What can be answered is, before the next but one is waited for."""

    def slowly() -> Iterator[Any]:
        for number in range(6):
            time.sleep(0.03)
            yield RIGHT if number % 2 else WRONG

    source = Source(slowly())
    ahead = []
    for given, answer in enumerate(v.auth_many(source, threads=4), 1):
        assert answer is (given % 2 == 0)
        ahead.append(source.read - given)
    assert max(ahead) <= 2


def test_slow_hashes_come_in_small_batches() -> None:
    source = Source(repeat(("slow", DOMAIN, "secret")))
    answers = v.auth_many(source, threads=THREADS)
    for given in range(1, 400):
        assert next(answers)
        assert source.read - given <= 128 * 2 * THREADS


def test_batches_become_smaller_too() -> None:
    source = many._Source(iter([]))
    source.size = 32
    batch = many._Batch(b"", 32)
    for seconds, size in ((0.02, 16), (0.01, 16), (0.02, 8), (0.02, 8)):
        batch.seconds = seconds
        source.learn(batch)
        assert source.size == size
    batch.seconds = 0.001
    source.learn(batch)  # it was no full batch of this size
    assert source.size == 8


def test_memory_is_bounded() -> None:
    answers = v.auth_many(islice(repeat(UNKNOWN), 200_000), threads=THREADS)
    tracemalloc.start()
    try:
        assert sum(answers) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000


def test_long_texts_make_small_batches() -> None:
    source = Source((f"user{number}", DOMAIN, "p" * 100_000) for number in count())
    answers = v.auth_many(source, threads=THREADS)
    for given in range(1, 500):
        assert next(answers) is False
        assert source.read - given <= 3 * 2 * THREADS


# --- failures ------------------------------------------------------------------------------------


def broken(good: int) -> Iterator[Any]:
    yield from repeat(RIGHT, good)
    raise LookupError("no more of them")


@pytest.mark.parametrize("good", [0, 1, 2, 1000])
def test_what_the_source_raises_comes_in_its_place(good: int) -> None:
    answers = v.auth_many(broken(good), threads=THREADS)
    assert list(islice(answers, good)) == [True] * good
    with pytest.raises(LookupError, match="no more of them"):
        next(answers)
    assert list(answers) == []
    wait_for_no_workers()


@pytest.mark.parametrize(
    ("credential", "kind", "text"),
    [
        (("a\0b", DOMAIN, "pw"), ValueError, "user must not contain a NUL byte"),
        (("ab", "ex\0com", "pw"), ValueError, "domain must not contain a NUL byte"),
        ((b"ab", DOMAIN, b"p\0"), ValueError, "password must not contain a NUL byte"),
        (("a\0b", DOMAIN), ValueError, "not enough values to unpack"),
        (("a", "b", "c", "d"), ValueError, "too many values to unpack"),
        (("ab", DOMAIN, ["pw"]), TypeError, "password must be str, bytes, int, float, bool or N"),
        (("\ud800", DOMAIN, "pw"), ValueError, "user must not contain a surrogate that stands"),
        (5, TypeError, "int"),
    ],
)
def test_a_value_that_cant_be_used_comes_in_its_place(
    credential: Any, kind: type[Exception], text: str
) -> None:
    if isinstance(credential, tuple) and len(credential) == 3:
        with pytest.raises(kind, match=re.escape(text)):
            v.vpopmail_auth_user(*credential)
    answers = v.auth_many([RIGHT, WRONG, credential, RIGHT], threads=THREADS)
    assert [next(answers), next(answers)] == [True, False]
    with pytest.raises(kind, match=re.escape(text)):
        next(answers)
    assert list(answers) == []


def test_the_interrupted_reader_gets_its_interrupt_at_once() -> None:
    def interrupted() -> Iterator[Any]:
        yield RIGHT
        raise KeyboardInterrupt

    answers = v.auth_many(interrupted(), threads=THREADS)
    with pytest.raises(KeyboardInterrupt):
        list(answers)
    wait_for_no_workers()


def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def vpx_auth_many(self, *arguments: object) -> int:
            return -24

    monkeypatch.setattr(many, "lib", Library())
    with pytest.raises(MemoryError):
        list(v.auth_many([RIGHT]))


def test_threads_must_be_some() -> None:
    for threads in (0, -1):
        with pytest.raises(ValueError, match="threads must be 1 or more"):
            v.auth_many([RIGHT], threads=threads)


# --- the end of it -------------------------------------------------------------------------------


def test_closing_ends_the_threads() -> None:
    source = Source(repeat(("slow", DOMAIN, "secret")))
    answers = v.auth_many(source, threads=3)
    for _ in range(20):
        assert next(answers)
    assert 1 <= workers() <= 3  # a new one while the first has no answers yet
    assert isinstance(answers, Iterator)
    answers.close()  # type: ignore[attr-defined]
    wait_for_no_workers()
    read = source.read
    assert list(answers) == []
    assert source.read == read


def test_letting_go_ends_the_threads() -> None:
    answers = v.auth_many(repeat(RIGHT), threads=3)
    assert next(answers)
    del answers
    gc.collect()
    wait_for_no_workers()


def test_the_end_ends_the_threads() -> None:
    assert all(v.auth_many(repeat(RIGHT, 100), threads=3))
    wait_for_no_workers()


def test_a_program_ends_with_an_open_iterator(home: Any) -> None:
    code = f"""
import itertools, vpopmail_ext as v
v.configure({os.fspath(home.path)!r}, {os.fspath(home.qmail)!r})
answers = v.auth_many(itertools.repeat(("slow", "ex.com", "secret")), threads=4)
assert next(answers)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=20, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_needs_its_own() -> None:
    answers = v.auth_many(repeat(RIGHT), threads=3)
    for _ in range(50):
        assert next(answers)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if list(v.auth_many([RIGHT, WRONG], threads=2)) == [True, False]:
                status = 2
                try:
                    for _ in range(100_000):
                        next(answers)
                except RuntimeError as error:
                    status = 0 if "call auth_many() in the child" in str(error) else 3
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert all(islice(answers, 100))


def test_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = v.auth_many(repeat(RIGHT), threads=2)
    assert next(answers)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match=r"forked after the iterator was made.*in the child"):
        all(islice(answers, 100_000))
