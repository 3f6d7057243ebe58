"""The bundled library and vpopmail's own programs at work on one tree at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import cdb
from tests.conformance import tree
from tests.system import both

pytestmark = both.on_real_cdb

EACH = int(os.environ.get("VPOPMAIL_TEST_EACH", "12"))
"""How many users each process adds."""
DOMAINS = ["one.example", "two.example"]

# Adds users, changes the password and the quota of each second one, deletes each third.
PROGRAMS = """\
set -e
bin=/home/vpopmail/bin
for n in $(seq 0 $(($2 - 1))); do
    case $((n % 2)) in 0) domain=one.example ;; *) domain=two.example ;; esac
    $bin/vadduser p$1-$n@$domain first-pw
    [ $((n % 2)) = 1 ] || $bin/vpasswd p$1-$n@$domain other-pw
    [ $((n % 2)) = 1 ] || $bin/vsetuserquota p$1-$n@$domain 5M
    [ $((n % 3)) != 2 ] || $bin/vdeluser p$1-$n@$domain
    $bin/vuserinfo postmaster@$domain >/dev/null
done
"""
PACKAGE = """\
import sys
import warnings
import vpopmail_ext as v
warnings.simplefilter("error")
who, count = sys.argv[1], int(sys.argv[2])
for n in range(count):
    user, domain = f"b{who}-{n}", ("one.example", "two.example")[n % 2]
    v.vpopmail_add_user(user, domain, "first-pw")
    if n % 2 == 0:
        v.vpopmail_passwd(user, domain, "other-pw")
        v.vpopmail_set_user_quota(user, domain, "5M")
    if n % 3 == 2:
        v.vpopmail_del_user(user, domain)
    assert v.vpopmail_auth_user("postmaster", domain, "postmaster-pw")
"""
DOMAINS_BY_PROGRAM = """\
set -e
for n in $(seq 0 $(($1 - 1))); do /home/vpopmail/bin/vadddomain t$n.example pw-12345; done
"""
DOMAINS_BY_PACKAGE = """\
import sys
import warnings
import vpopmail_ext as v
warnings.simplefilter("error")
for n in range(int(sys.argv[1])):
    v.vpopmail_add_domain(f"b{n}.example", "/home/vpopmail", 89, 89)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a tree with two domains, each with its postmaster."""
    made = tmp_path / "root"
    both.lay_out(made, None)
    for domain in DOMAINS:
        program(made, "vadddomain", domain, "postmaster-pw")
    return made


def program(root: Path, name: str, *arguments: str) -> str:
    """Run one of vpopmail's programs on the tree; return what it prints."""
    command = both.contained(root, [f"{tree.HOME}/bin/{name}", *arguments])
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def package(tmp_path: Path, root: Path, script: str, *arguments: str) -> list[str]:
    """Return the command that runs a script with the bundled library's package on the tree."""
    path = f"PYTHONPATH={tmp_path}/bundled"
    home = [f"VPOPMAIL_HOME={tree.HOME}", f"QMAIL_HOME={tree.QMAIL}"]
    return both.contained(root, ["env", path, *home, sys.executable, "-c", script, *arguments])


def passwords() -> dict[str, str]:
    """Return the password of each user that is to be there at the end, by address."""
    found = {}
    for number in range(3):
        for kind in "pb":
            for n in range(EACH):
                if n % 3 != 2:
                    address = f"{kind}{number}-{n}@{DOMAINS[n % 2]}"
                    found[address] = "first-pw" if n % 2 else "other-pw"
    return found


def test_eight_processes_on_one_tree(tmp_path: Path, root: Path) -> None:
    both.build_bundled(tmp_path)
    commands = [
        *[
            both.contained(root, ["bash", "-c", PROGRAMS, "bash", str(number), str(EACH)])
            for number in range(3)
        ],
        *[package(tmp_path, root, PACKAGE, str(number), str(EACH)) for number in range(3)],
        both.contained(root, ["bash", "-c", DOMAINS_BY_PROGRAM, "bash", str(EACH)]),
        package(tmp_path, root, DOMAINS_BY_PACKAGE, str(EACH)),
    ]
    running = [subprocess.Popen(command, cwd="/") for command in commands]
    assert [process.wait() for process in running] == [0] * 8
    wanted = passwords()
    for domain in DOMAINS:
        names = {address.split("@")[0] for address in wanted if address.endswith(f"@{domain}")}
        directory = root / f"home/vpopmail/domains/{domain}"
        text = (directory / "vpasswd").read_bytes()
        users = [line.split(b":")[0].decode() for line in text.splitlines()]
        assert users == sorted({*names, "postmaster"})
        assert (directory / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", text)
        # The count is not looked at: vpopmail's programs change it without a lock, and lose
        # some of it where they run at the same time, without us, too.
        assert {path.name for path in directory.iterdir() if path.is_dir()} == set(users)
    assign = (root / "var/qmail/users/assign").read_bytes()
    domains = {line.split(b"-:")[0][1:].decode() for line in assign.splitlines()[:-1]}
    assert domains == {
        *DOMAINS,
        *(f"{kind}{n}.example" for kind in "tb" for n in range(EACH)),
    }
    assert (root / "var/qmail/users/cdb").read_bytes() == cdb.of("assign", assign)
    check_passwords(tmp_path, root, wanted)


def check_passwords(tmp_path: Path, root: Path, wanted: dict[str, str]) -> None:
    """Each reads what the other wrote."""
    script = (
        "import sys, vpopmail_ext as v\n"
        "for line in sys.argv[1:]:\n"
        "    user, domain, password = line.split('\\t')\n"
        "    assert v.vpopmail_auth_user(user, domain, password), line\n"
        "    assert not v.vpopmail_auth_user(user, domain, password + 'x'), line\n"
    )
    lines = ["\t".join([*address.split("@"), password]) for address, password in wanted.items()]
    subprocess.run(package(tmp_path, root, script, *lines), check=True, cwd="/")
    real = ["env", f"PYTHONPATH={both.TOP}", sys.executable, "-c", script, *lines]
    subprocess.run(both.contained(root, real), check=True, cwd="/")
    for address in wanted:
        shown = program(root, "vuserinfo", address)
        name, number = address.split("@")[0], int(address.split("@")[0].split("-")[1])
        assert f"name:   {name}\n" in shown
        assert ("quota:  5.00MB" in shown or "5242880S" in shown) == (number % 2 == 0), shown
