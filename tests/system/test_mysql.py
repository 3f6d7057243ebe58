"""The MySQL module of a real library, with aliases in the database, on a running MariaDB."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vpopmail_ext as v
from tests.conftest import Home
from tests.system import both, mariadb
from vpopmail_ext import api

pytestmark = pytest.mark.skipif(
    v.info().library != "real"
    or v.info().auth_module != "mysql"
    or not mariadb.PROGRAM
    or os.environ.get("VPOPMAIL_TEST_ROOT") != "root",
    reason="needs a linked real libvpopmail with the MySQL module and valias in tests/container.sh,"
    " as root, and MariaDB (make test-system VPOPMAIL_HOME=…)",
)

SUCCESS, AWAY = "Success", "no authentication database connection"
DOMAIN = "example.com"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.Server]:
    made = mariadb.Server(tmp_path_factory.mktemp("mariadb"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def mail(server: mariadb.Server, home: Home) -> Iterator[Home]:
    """An installation that uses the server, with a domain and alice in it."""
    configure(mariadb.ACCOUNT)
    assert v.vpopmail_add_domain(DOMAIN, str(home.path), home.uid, home.gid)
    assert v.vpopmail_add_user("alice", DOMAIN, "secret-1", "Alice A.")
    yield home
    if not server.running:
        server.start()
    said(v.vpopmail_alias_del_domain, DOMAIN)
    assert said(v.vpopmail_del_domain, DOMAIN) == SUCCESS


def configure(line: str | None) -> None:
    file = Path(v.info().home, "etc/vpopmail.mysql")
    file.unlink(missing_ok=True)
    if line is not None:
        file.write_text(f"{line}\n")


def said(function: Callable[..., object], *arguments: object) -> str:
    """The error text after a call that may fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*arguments)
    return v.vpopmail_error()


def signs_in(password: str, user: str = "alice", domain: str = DOMAIN) -> bool:
    return v.vpopmail_auth_user(user, domain, password)


def test_users_and_passwords(mail: Home) -> None:
    directory = mail.path / "domains" / DOMAIN
    alice = api.user("alice", DOMAIN)
    assert (alice.gecos, alice.directory) == ("Alice A.", str(directory / "alice"))
    assert (directory / "alice/Maildir/cur").is_dir()
    assert not (directory / "vpasswd").exists()
    assert signs_in("secret-1")
    assert signs_in("secret-1", "ALICE", "Example.Com")
    assert not signs_in("secret-2")
    assert not signs_in("secret-1", "bob")
    assert not signs_in("secret-1", domain="other.example")
    assert not signs_in("' OR '1'='1")
    assert not signs_in("secret-1", "alice' OR 'x'='x")
    assert said(v.vpopmail_add_user, "alice", DOMAIN, "x") == "Username exists"
    assert said(v.vpopmail_add_user, "carol", "other.example", "x") == "Domain does not exist"
    assert said(v.vpopmail_passwd, "alice", DOMAIN, "it's; --") == SUCCESS
    assert signs_in("it's; --")
    assert not signs_in("secret-1")
    assert said(v.vpopmail_passwd, "bob", DOMAIN, "x") != SUCCESS
    assert said(v.vpopmail_add_user, "bob", DOMAIN, "secret-3") == SUCCESS
    assert {user.name for user in api.users(DOMAIN)} == {"alice", "bob"}
    assert said(v.vpopmail_del_user, "bob", DOMAIN) == SUCCESS
    assert not signs_in("secret-3", "bob")
    assert not (directory / "bob").exists()
    assert said(v.vpopmail_del_user, "bob", DOMAIN) == "User does not exist"


def test_quotas(mail: Home) -> None:
    sizes = mail.path / "domains" / DOMAIN / "alice/Maildir/maildirsize"
    assert said(v.vpopmail_set_user_quota, "alice", DOMAIN, "5M,100C") == SUCCESS
    assert str(api.user("alice", DOMAIN).quota) == "5242880S,100C"
    assert sizes.read_text().startswith("5242880S,100C\n")
    assert said(v.vpopmail_set_user_quota, "alice", DOMAIN, "NOQUOTA") == SUCCESS
    assert not sizes.exists()
    assert said(v.vpopmail_set_user_quota, "bob", DOMAIN, "5M") == "User does not exist"


def test_aliases_are_in_the_database(mail: Home) -> None:
    assert v.vpopmail_alias_get_all(DOMAIN) == {}
    for name, line in (("info", "&alice@example.com"), ("info", "&b@c.de"), ("Sales", "|/bin/a")):
        assert said(v.vpopmail_alias_add, name, DOMAIN, line) == SUCCESS
    assert v.vpopmail_alias_get("info", DOMAIN) == ["&alice@example.com", "&b@c.de"]
    listed = v.vpopmail_alias_get_all(DOMAIN)
    assert {name.lower(): sorted(lines) for name, lines in listed.items()} == {
        "info": ["&alice@example.com", "&b@c.de"],
        "sales": ["|/bin/a"],
    }
    assert list((mail.path / "domains" / DOMAIN).glob(".qmail-[!d]*")) == []
    assert said(v.vpopmail_alias_del, "info", DOMAIN) == SUCCESS
    assert v.vpopmail_alias_get("info", DOMAIN) == []
    assert said(v.vpopmail_alias_del_domain, DOMAIN) == SUCCESS
    assert v.vpopmail_alias_get_all(DOMAIN) == {}


def test_alias_domains(mail: Home) -> None:
    assert mail.path.is_dir()
    assert said(v.vpopmail_add_alias_domain, DOMAIN, "alias.example") == SUCCESS
    assert signs_in("secret-1", domain="alias.example")
    assert said(v.vpopmail_del_domain, "alias.example") == SUCCESS
    assert not signs_in("secret-1", domain="alias.example")


def test_a_server_that_stops_and_starts(server: mariadb.Server, mail: Home) -> None:
    owner = str(mail.path), mail.uid, mail.gid
    assert signs_in("secret-1")
    server.stop()
    for _ in range(2):
        assert said(v.vpopmail_add_user, "bob", DOMAIN, "secret-3") == AWAY
        assert said(v.vpopmail_passwd, "alice", DOMAIN, "secret-2") == AWAY
        assert said(v.vpopmail_del_user, "alice", DOMAIN) == AWAY
        assert said(v.vpopmail_add_domain, "new.example", *owner) == AWAY
        assert said(v.vpopmail_alias_add, "info", DOMAIN, "&a@b.c") == AWAY
        assert not signs_in("secret-1")
    server.start()
    assert said(v.vpopmail_add_user, "bob", DOMAIN, "secret-3") == SUCCESS
    assert signs_in("secret-1")
    server.stop()
    server.start()
    # Nobody has called meanwhile: the connection is an old one.
    assert signs_in("secret-3", "bob")


def test_threads(mail: Home) -> None:
    wrong: list[str] = []

    def work(number: int) -> None:
        for each in range(5):
            user, password = f"user-{number}-{each}", f"password-{number}-{each}"
            text = said(v.vpopmail_add_user, user, DOMAIN, password)
            if text != SUCCESS or not signs_in(password, user) or signs_in("other", user):
                wrong.append(f"{user}: {text}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list(api.users(DOMAIN))) == 21
    assert mail.path.is_dir()


def test_a_fork_has_a_connection_of_its_own(mail: Home) -> None:
    assert mail.path.is_dir()
    assert signs_in("secret-1")
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            good = all(signs_in("secret-1") and not signs_in("x") for _ in range(20))
            good = good and said(v.vpopmail_add_user, f"c{number}-x", DOMAIN, "pw-1") == SUCCESS
            os._exit(0 if good else 1)
        children.append(child)
    assert all(signs_in("secret-1") and not signs_in("x") for _ in range(20))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert signs_in("secret-1")
    assert {user.name for user in api.users(DOMAIN)} == {"alice", "c0-x", "c1-x", "c2-x"}


BROKEN = """\
import warnings
import vpopmail_ext as v
warnings.simplefilter("ignore")
said = []
for _ in range(2):
    said.append(v.vpopmail_add_domain("new.example", "/home/vpopmail", 89, 89))
    said.append(v.vpopmail_auth_user("alice", "example.com", "secret-1"))
    said.append(v.vpopmail_add_user("bob", "example.com", "secret-1"))
    assert v.vpopmail_error() not in ("Success", "Illegal username"), v.vpopmail_error()
    said.append(v.vpopmail_passwd("alice", "example.com", "secret-2"))
    said.append(v.vpopmail_set_user_quota("alice", "example.com", "5M"))
    said.append(v.vpopmail_del_user("alice", "example.com"))
    said.append(v.vpopmail_alias_add("info", "example.com", "&a@b.c"))
    said.append(v.vpopmail_del_domain("example.com"))
    assert v.vpopmail_alias_get_all("example.com") == {}, "aliases"
assert not any(said), said
print("goes on", end="")
"""


@pytest.mark.parametrize(
    "line",
    [
        *["rubbish", "", "127.0.0.1|x|y", "|||||", "|" * 400, "x" * 5000, None],
        *["127.0.0.1|3307|vpopmail|wrong|vpopmail", "127.0.0.1|3307|vpopmail|secret|none"],
        *["127.0.0.1|1|vpopmail|secret|vpopmail", "no.such.host|3307|vpopmail|secret|vpopmail"],
    ],
    ids=lambda line: repr(line)[:20],
)
def test_a_broken_configuration_is_an_error_and_not_the_end(mail: Home, line: str | None) -> None:
    configure(line)
    done = subprocess.run(
        [sys.executable, "-c", BROKEN],
        env={**os.environ, "PYTHONPATH": str(both.TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    configure(mariadb.ACCOUNT)
    assert (done.returncode, done.stdout) == (0, "goes on")
    assert mail.path.is_dir()
    assert signs_in("secret-1")
