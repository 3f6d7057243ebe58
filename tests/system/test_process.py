"""While a real library is called, the rest of the process sees nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conformance import tree
from tests.system import both

pytestmark = both.on_real_cdb

CALLS = int(os.environ.get("VPOPMAIL_TEST_CALLS", "10000"))

# Every function but the three that run programs, which have pipes; most calls fail, as told.
SCRIPT = """\
import logging, os, sys, threading, warnings  # what the library prints is imported for at first
import vpopmail_ext as v

warnings.simplefilter("ignore")
domain, other = "one.example", "two.example"
kinds = [
    lambda n: v.vpopmail_add_user(f"u{n % 40}", domain, "pw-12345"),
    lambda n: v.vpopmail_passwd(f"u{n % 40}", domain, "pw-67890"),
    lambda n: v.vpopmail_auth_user(f"u{n % 40}", domain, "wrong"),
    lambda n: v.vpopmail_auth_user("nobody", domain, "pw-12345"),
    lambda n: v.vpopmail_auth_user("nobody", "no.example", "pw-12345"),
    lambda n: v.vpopmail_set_user_quota(f"u{n % 40}", domain, "5M"),
    lambda n: v.vpopmail_del_user(f"nobody{n}", domain),
    lambda n: v.vpopmail_del_user(f"nobody{n}", "no.example"),
    lambda n: v.vpopmail_alias_add(f"a{n % 9}", domain, "&a@b.example"),
    lambda n: v.vpopmail_alias_get(f"a{n % 9}", domain) != [],
    lambda n: v.vpopmail_alias_get_all(domain) != {},
    lambda n: v.vpopmail_alias_del("none", domain),
    lambda n: v.vpopmail_add_domain("bad_name.com", "/home/vpopmail", 89, 89),
    lambda n: v.vpopmail_add_domain(domain, "/home/vpopmail", 89, 89),
    lambda n: v.vpopmail_del_domain("no.example"),
    lambda n: v.vpopmail_add_alias_domain("no.example", "alias.example"),
]
rare = [
    lambda: v.vpopmail_add_domain(other, "/home/vpopmail", 89, 89),
    lambda: v.vpopmail_add_alias_domain(other, "alias.example"),
    lambda: v.vpopmail_del_domain("alias.example"),
    lambda: v.vpopmail_del_user("u0", domain),
    lambda: v.vpopmail_alias_del_domain(domain),
    lambda: v.vpopmail_del_domain(other),
]
assert v.vpopmail_add_domain(domain, "/home/vpopmail", 89, 89)
status = os.open("/proc/self/status", os.O_RDONLY)

def umask():
    text = os.pread(status, 4096, 0)
    return text[text.index(b"Umask"):].split()[1]

def look():
    return os.getcwd(), umask(), tuple(sorted(os.listdir("/proc/self/fd")))

before, looks, changes, done = look(), 0, [], False

def poll():
    global looks
    while not done:
        now = look()
        looks += 1
        if now != before:
            changes.append(now)

thread = threading.Thread(target=poll)
thread.start()
results = set()
for n in range(int(sys.argv[1])):
    if n % 200 == 199:
        results.add(("rare", n // 200 % len(rare), bool(rare[n // 200 % len(rare)]())))
    else:
        results.add(("kind", n % len(kinds), bool(kinds[n % len(kinds)](n))))
done = True
thread.join()
good = sum(1 for _, _, result in results if result)
print(looks > 1000, len(changes), good >= 10, len(results) - good >= 10, end="")
"""


def test_nothing_is_seen_of_the_calls() -> None:
    for directory in (f"{tree.HOME}/domains", f"{tree.QMAIL}/users", f"{tree.QMAIL}/control"):
        subprocess.run(f"mkdir -p {directory} && rm -rf {directory}/*", shell=True, check=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(CALLS)],
        cwd="/usr",
        env={**os.environ, "PYTHONPATH": str(both.TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.stdout == "True 0 True True"
