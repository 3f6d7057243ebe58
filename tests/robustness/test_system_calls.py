"""How many system calls a sign-in makes once the files are copied, and how many a user who is added
with many; strace counts them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.linked import bundled_alone
from tests.robustness.test_cache import CHECK_SECONDS, add_domain, on_local_disk

CALLS = 300
PROGRAM = """
import os, sys, time
import vpopmail_ext as v

home, qmail, user, password, calls, many = sys.argv[1:]
v.configure(home, qmail)
for _ in range(20):
    v.vpopmail_auth_user(user, "ex.com", password)
credentials = [(user, "ex.com", password)] * int(calls)
if many == "many":
    from vpopmail_ext.many import _Batch, _packed
    batch = _Batch(b"\\0".join(map(_packed, credentials)), len(credentials))

def mark():
    try:
        os.close(-1)
    except OSError:
        pass

started = time.monotonic()
mark()
if many == "many":
    batch.work()
    answers = list(batch.wait())
else:
    answers = [v.vpopmail_auth_user(*each) for each in credentials]
mark()
print(time.monotonic() - started, *set(answers))
"""


ADDING = """
import os, sys, time
import vpopmail_ext as v
from vpopmail_ext import api
from vpopmail_ext.records import NewUser

v.configure(*sys.argv[1:3])
users = [NewUser(f"user{n}", password_hash="!") for n in range(int(sys.argv[3]))]
for mark in range(2):
    try:
        os.close(-1)
    except OSError:
        pass
    if not mark:
        added = api.add_users("ex.com", users)
print(0, added)
"""


def system_calls(
    home: Any, scratch: Path, *arguments: str, program: str = PROGRAM
) -> tuple[Counter[str], float, str]:
    """Return the calls made between the marks, the seconds they took, and the answers."""
    trace = scratch / "trace"
    command = [sys.executable, "-c", program, os.fspath(home.path), os.fspath(home.qmail)]
    done = subprocess.run(
        ["strace", "-f", "-o", trace, *command, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _, between, _ = trace.read_text().split("close(-1)")
    # The first line is the end of the mark.
    names = re.findall(r"^\d+ +(\w+)\(", between, re.M)
    seconds, answers = done.stdout.split(maxsplit=1)
    return Counter(names), float(seconds), answers.strip()


@pytest.fixture
def domain(home: Any) -> None:
    add_domain(home, "ex.com", "secret")
    if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        pytest.skip("sanitizers make calls of their own")
    if (
        not shutil.which("strace")
        or subprocess.run(["strace", "true"], capture_output=True).returncode
    ):
        pytest.skip("strace (Debian package strace) can't be used here")
    if not on_local_disk(home.path):
        pytest.skip("needs a file system of which files are copied")


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_one_sign_in_makes_two(home: Any, domain: None, tmp_path: Path, user: str) -> None:
    made, seconds, answers = system_calls(home, tmp_path, user, "secret", str(CALLS), "one by one")
    assert answers == str(user == "alice")
    assert made.pop("ioctl") == CALLS  # whether inotify's queue is empty
    assert made.pop("geteuid") == CALLS
    assert_few(made, seconds)


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_many_sign_ins_make_two_together(
    home: Any, domain: None, tmp_path: Path, user: str
) -> None:
    made, seconds, answers = system_calls(home, tmp_path, user, "secret", str(CALLS), "many")
    assert answers == str(user == "alice")
    assert made["ioctl"] == made["geteuid"] == 1
    assert_few(made, seconds)


@bundled_alone("they are added one by one")
def test_each_of_many_users_is_little_but_his_directories(
    home: Any, domain: None, tmp_path: Path
) -> None:
    users = 1000
    made, _, answers = system_calls(home, tmp_path, str(users), program=ADDING)
    assert answers == str(users)
    assert made["mkdirat"] // users == 5
    # His own directory and his file of the last sign-in.
    assert made["openat"] // users == 2, made
    # That he is not there yet, twice; and how each of his six was made.
    assert made["newfstatat"] // users <= 8, made
    assert made["faccessat2"] + made["fcntl"] <= users // 10, made


def assert_few(made: Counter[str], seconds: float) -> None:
    """Check that there are none but the looks at two files now and then, and at the memory."""
    looks = 3 * 2 * (seconds / CHECK_SECONDS + 1)
    assert sum(made.values()) <= looks + 8, made
