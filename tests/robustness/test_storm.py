"""Sign-ins that are hashed side by side, and equal_time: what is hashed, and the answers.

Programs of their own, so that the module is loaded for one core, and crypt_r is counted, which
has to be called for every hash with VPOPMAIL_EXT_SIMD=off alone; hashed.c counts all others, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from linking.extension import sanitizers
from tests.conformance import hashes
from tests.robustness.test_cache import add_domain, put

DOMAIN = "ex.com"
COUNTER = Path(__file__).with_name("count_crypt.c")
HEAD = """
import ctypes, os, random, sys, threading
cores = os.sched_getaffinity(0)
if sys.argv[3] == "one core":
    os.sched_setaffinity(0, {min(cores)})
import vpopmail_ext as v
from vpopmail_ext import api
v.configure(sys.argv[1], sys.argv[2])
counter = ctypes.CDLL(None)
counter.crypt_last.restype = ctypes.c_char_p
DOMAIN = "ex.com"
USERS = ["sha512", "rounds", "sha256", "md5", "des", "scheme"]

def hashes(work):
    counter.crypt_calls()
    assert not work()
    return counter.crypt_calls()

def sign_in(source):
    user, right = source.choice(USERS), source.random() < 0.5
    password = user if right else f"guess {source.random()}"
    assert v.vpopmail_auth_user(user, DOMAIN, password) is right, (user, right)

def storm(count, calls, work=sign_in):
    failures = []
    def run(number):
        try:
            source = random.Random(number)
            for _ in range(calls):
                work(source)
        except BaseException as failure:
            failures.append(failure)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads, failures

def end(threads, failures):
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
"""
SETTINGS = {
    "sha512": "$6$saltsalt$",
    "rounds": "$6$rounds=1500$salt$",
    "sha256": "$5$salt$",
    "md5": "$1$salt$",
    "des": "ab",
}


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("counter") / "counter.so"
    command = ["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", str(built), str(COUNTER)]
    command += ["-Wl,--no-as-needed", "-lcrypt", "-ldl"]  # the module's own is not in sight
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run(command, check=True, env=environment)
    return built


Run = Callable[..., None]


@pytest.fixture
def users(home: Any) -> None:
    """Make a domain with a user for each kind of hash, whose password is the name."""
    if v.info().library == "real":
        pytest.skip("a linked real library hashes by itself")
    directory = add_domain(home, DOMAIN, "secret")

    def crypt(user: str, setting: str) -> str:
        return hashes.crypt(user.encode(), setting.encode()).decode()

    stored = {user: crypt(user, setting) for user, setting in SETTINGS.items()}
    stored |= {"scheme": "{CRYPT}" + crypt("scheme", "$6$other$"), "locked": "!", "empty": ""}
    lines = [
        f"{user}:{hashed}:1:0:{user}:{directory}/{user}:NOQUOTA\n"
        for user, hashed in sorted(stored.items())
    ]
    put(directory, "".join(lines).encode())


@pytest.fixture
def run(home: Any, users: None, counter: Path) -> Run:
    """Return what runs code after HEAD in a process of its own, which has to end well."""

    def run(code: str, cores: str = "all cores", simd: str = "") -> None:
        # A sanitizer's library has to be the first, and finds ours before libcrypt then.
        first, _, rest = os.environ.get("LD_PRELOAD", "").partition(":")
        preload = f"{first}:{counter}:{rest}".strip(":")
        where = [os.fspath(home.path), os.fspath(home.qmail), cores]
        ran = subprocess.run(
            [sys.executable, "-c", HEAD + code, *where],
            env={**os.environ, "LD_PRELOAD": preload, "VPOPMAIL_EXT_SIMD": simd},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout

    return run


# --- equal_time ----------------------------------------------------------------------------------

NOBODIES = """
NOBODIES = [("nobody", DOMAIN), ("nobody", "nowhere.com"), ("", DOMAIN), ("", ""),
            ("a" * 300, DOMAIN), ("locked", DOMAIN), ("empty", DOMAIN)]
def sign_in(*names, **options):
    return v.vpopmail_auth_user(*names, "guess", **options)
"""


def test_a_user_who_is_not_there_is_hashed_for(run: Run) -> None:
    run(
        NOBODIES
        + """
for names in NOBODIES:
    tries = (names[0] == "locked") + 1  # crypt_r is asked what a hash is
    assert hashes(lambda: sign_in(*names)) == tries - 1, names
    assert hashes(lambda: sign_in(*names, equal_time=True)) == tries, names
    assert counter.crypt_last() == b"$6$........$"
    assert hashes(lambda: api.authenticate(*names, "guess", equal_time=True)) == tries, names
assert hashes(lambda: api.sign_in(f"nobody@{DOMAIN}", "guess", equal_time=True)) == 1
""",
        simd="off",
    )


def test_a_wrong_password_is_hashed_for_once(run: Run) -> None:
    run(
        NOBODIES
        + """
for user in USERS:
    for equal_time in False, True:
        assert hashes(lambda: sign_in(user, DOMAIN, equal_time=equal_time)) == 1, user
        right = lambda: not v.vpopmail_auth_user(user, DOMAIN, user, equal_time=equal_time)
        assert hashes(right) == 1, user
""",
        simd="off",
    )


@pytest.mark.parametrize("simd", ["", "off"])
def test_many_of_whom_some_are_not_there(run: Run, simd: str) -> None:
    run(
        NOBODIES
        + """
credentials = [(*names, "guess") for names in NOBODIES * 3]
credentials += [(user, DOMAIN, password) for user in USERS for password in (user, "guess")]
credentials.append(("sha512", DOMAIN, "p" * 600))
expected = [user == password for user, _, password in credentials]
def many(**options):
    answers = list(v.auth_many(credentials, threads=1, **options))
    assert answers == expected, answers
at_once, slower = hashes(many), hashes(lambda: many(equal_time=True))
if v.info().simd == "off":
    # The last is hashed for twice, since crypt_r refuses it.
    assert at_once == 3 + 2 * len(USERS) + 1, at_once
    assert slower == 3 + len(credentials) + 1, slower
else:
    assert slower <= at_once + 3 * len(NOBODIES) + 1
""",
        simd=simd,
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("hashed") / "hashed"
    library = Path(os.environ["VPOPMAIL_HOME"])
    flags = ["-std=c11", "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-Werror"]
    flags += [f"-I{library}/include", *sanitizers(os.environ), "-o", str(built)]
    linked = [str(library / "lib/libvpopmail.a"), "-lcrypt", "-lpthread"]
    linked += ["-Wl,--wrap=crypt_r", "-Wl,--wrap=crypt_batch"]
    subprocess.run(
        ["gcc", *flags, str(Path(__file__).with_name("hashed.c")), *linked],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
    )
    return built


@pytest.mark.parametrize("simd", ["", "avx2", "off"])
def test_as_many_are_hashed_for_in_lanes(home: Any, users: None, program: Path, simd: str) -> None:
    """Those who are not there too, however many at once."""
    nobodies = [("nobody", DOMAIN), ("nobody", "nowhere.com"), ("", DOMAIN), ("", "")]
    nobodies += [("a" * 300, DOMAIN), ("empty", DOMAIN)]
    names = [*SETTINGS, "scheme"]
    wrong = [(*each, "guess") for each in nobodies * 3] + [
        (name, DOMAIN, "guess") for name in names
    ]
    right = [(name, DOMAIN, name) for name in names]

    def hashed(how: str, equal_time: bool, tried: list[tuple[str, str, str]]) -> list[list[int]]:
        where = [os.fspath(home.path), os.fspath(home.qmail), how, str(int(equal_time))]
        ran = subprocess.run(
            [program, *where, *(text for each in tried for text in each)],
            env={**os.environ, "VPOPMAIL_EXT_SIMD": simd},
            capture_output=True,
            text=True,
            check=True,
        )
        return [list(map(int, line.split())) for line in ran.stdout.splitlines()]

    of_nobodies = len(nobodies) * 3
    assert hashed("each", False, wrong) == [[0, 0]] * of_nobodies + [[1, 0]] * len(names)
    assert hashed("each", True, wrong) == [[1, 0]] * len(wrong)
    assert hashed("each", True, right) == [[1, 1]] * len(names)
    everybody = wrong + right
    assert hashed("many", False, everybody) == [[len(everybody) - of_nobodies, len(names)]]
    assert hashed("many", True, everybody) == [[len(everybody), len(names)]]


# --- storms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("simd", ["", "avx2", "off"])
def test_a_storm_is_hashed_in_lanes(run: Run, simd: str) -> None:
    """On one core, so that calls wait; then crypt_r, which is for SHA-256 alone, is called less."""
    run(
        """
USERS = ["sha256"]
counter.crypt_calls()
end(*storm(24, 12))
calls = counter.crypt_calls()
assert (calls < 24 * 12) == (v.info().simd != "off"), calls
""",
        "one core",
        simd,
    )


def test_a_storm_beside_many_and_changes(run: Run) -> None:
    run(
        """
v.vpopmail_add_user("changing", DOMAIN, "password-0")
waiting = storm(16, 20)
credentials = [(user, DOMAIN, user if n % 3 else "guess") for n, user in enumerate(USERS * 20)]
for number in range(3):
    assert v.vpopmail_passwd("changing", DOMAIN, f"password-{number + 1}")
    assert v.vpopmail_auth_user("changing", DOMAIN, f"password-{number + 1}")
    assert not v.vpopmail_auth_user("changing", DOMAIN, f"password-{number}")
    answers = list(v.auth_many(credentials))
    assert answers == [n % 3 != 0 for n in range(len(credentials))]
end(*waiting)
"""
    )


def test_forks_in_a_storm(run: Run) -> None:
    run(
        """
waiting = storm(16, 25)
for _ in range(5):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            end(*storm(4, 5))
            many = [("md5", DOMAIN, "md5"), ("md5", DOMAIN, "x")] * 20
            assert list(v.auth_many(many)) == [True, False] * 20
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
end(*waiting)
""",
        "one core",
    )


def test_cancelled_tasks_in_a_storm(run: Run) -> None:
    run(
        """
import asyncio
from vpopmail_ext import aio

async def main():
    def begin(user):
        return asyncio.create_task(aio.authenticate(user, DOMAIN, user))
    for _ in range(5):
        tasks = {user: [begin(user) for _ in range(8)] for user in USERS}
        await asyncio.sleep(0)
        for of_user in tasks.values():
            for task in of_user[::2]:
                task.cancel()
        for user, of_user in tasks.items():
            answers = await asyncio.gather(*of_user, return_exceptions=True)
            assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
            assert [answer.name for answer in answers[1::2]] == [user] * 4

asyncio.run(main())
end(*storm(4, 5))
""",
        "one core",
    )
