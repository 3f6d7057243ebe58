"""The MySQL module of a real library, with aliases in the database, on a running MariaDB."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vpopmail_ext as v
from tests.conftest import Home
from tests.system import both, mariadb
from vpopmail_ext import api, cli, doctor, errors
from vpopmail_ext.records import NewUser, Quota

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
    made.log.close()


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


# --- the API and the command line -----------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], line: str, status: int = 0) -> str:
    """What the command line prints."""
    capsys.readouterr()
    assert cli.main(shlex.split(line)) == status
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_the_api(mail: Home) -> None:
    api.add_alias_domain(DOMAIN, "alias.example")
    assert api.domain("alias.example").real_name == DOMAIN
    assert {domain.name for domain in api.domains()} == {DOMAIN, "alias.example"}
    alice = api.user("alice", "alias.example")
    assert api.authenticate("alice", DOMAIN, "secret-1") == alice == next(api.users(DOMAIN))
    assert api.sign_in("alice@alias.example", "secret-1") == alice
    with pytest.raises(errors.UserExists):
        api.add_user("alice", DOMAIN, "secret-2")
    api.set_password("alice", DOMAIN, "secret-2")
    api.set_quota("alice", DOMAIN, "5M")
    api.set_flags("alice", DOMAIN, api.UserFlags.NO_POP)
    changed = api.user("alice", DOMAIN)
    assert (str(changed.quota), changed.flags) == ("5242880S", api.UserFlags.NO_POP)
    assert list(v.auth_many([("alice", DOMAIN, "secret-2"), ("bob", DOMAIN, "x")])) == [True, False]
    limits = replace(api.limits(DOMAIN), maxaliases=7, disable_imap=True)
    api.set_limits(DOMAIN, limits)
    assert api.limits(DOMAIN) == limits
    api.set_last_auth(alice, "192.0.2.7")
    last = api.last_auth(alice)
    assert last is not None
    assert last.address == "192.0.2.7"
    assert api.quota_usage(alice).messages == 0
    with pytest.raises(errors.NotSupported):
        api.rebuild(DOMAIN)
    api.add_alias("info", DOMAIN, "&a@b.c")
    api.set_alias("info", DOMAIN, ["&a@b.c", "&d@e.f"])
    assert set(api.alias("info", DOMAIN).lines) == {"&a@b.c", "&d@e.f"}
    api.remove_alias_line("info", DOMAIN, "&a@b.c")
    assert [(found.name, found.lines) for found in api.aliases(DOMAIN)] == [("info", ("&d@e.f",))]
    api.delete_alias("info", DOMAIN)
    with pytest.raises(errors.NoSuchAlias):
        api.alias("info", DOMAIN)
    api.delete_user("alice", DOMAIN)
    with pytest.raises(errors.NoSuchUser):
        api.user("alice", DOMAIN)
    api.delete_domain("alias.example")
    assert mail.path.is_dir()


def test_many_users_are_added(mail: Home) -> None:
    rows = [
        NewUser("bob", "secret-3", "Bob B.", True, Quota(1000), api.UserFlags.NO_POP),
        NewUser("carol", password_hash=api.user("alice", DOMAIN).password_hash),
    ]
    assert api.add_users(DOMAIN, rows) == 2
    bob = api.authenticate("bob", DOMAIN, "secret-3")
    assert bob is not None
    assert (bob.gecos, bob.quota, bob.flags) == ("Bob B.", Quota(1000), api.UserFlags.NO_POP)
    assert signs_in("secret-1", "carol")
    assert mail.path.is_dir()


def test_none_is_added_where_one_can_t_be(mail: Home) -> None:
    rows = [(f"user{number}", "secret-3") for number in range(5)]
    directory = mail.path / "domains" / DOMAIN
    with pytest.raises(errors.UsersRefused) as caught:
        api.add_users(DOMAIN, [*rows, ("ALICE", "secret-3"), ("x", "secret-3")])
    assert [(user.row, user.error.code) for user in caught.value.refused] == [(6, -2), (7, -1)]

    def interfere(done: int, count: int) -> None:
        if done == 0:
            api.add_user("user3", DOMAIN, "secret-4")

    with pytest.raises(errors.UsersRefused, match="row 4: Username exists: user3"):
        api.add_users(DOMAIN, rows, progress=interfere)
    assert {user.name for user in api.users(DOMAIN)} == {"alice", "user3"}
    assert {path.name for path in directory.iterdir() if path.is_dir()} == {"alice", "user3"}
    assert signs_in("secret-4", "user3")


def test_the_command_line(
    mail: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PW", "secret-5")
    command(capsys, "domain add new.example")
    command(capsys, f"domain alias {DOMAIN} alias.example")
    listed = json.loads(command(capsys, "domain list --json"))
    assert {domain["name"] for domain in listed} == {DOMAIN, "alias.example", "new.example"}
    command(capsys, f"user add bob@{DOMAIN} --gecos 'Bob B.' --password-env PW")
    command(capsys, f"auth bob@{DOMAIN} --password-env PW")
    command(capsys, f"user quota bob@{DOMAIN} 5M")
    command(capsys, f"user flags bob@{DOMAIN} --add NO_POP")
    assert "NO_POP" in command(capsys, f"user show bob@{DOMAIN}")
    assert "bob" in command(capsys, f"user list {DOMAIN}")
    monkeypatch.setenv("PW", "secret-6")
    command(capsys, f"user passwd bob@{DOMAIN} --password-env PW")
    command(capsys, f"alias add info@{DOMAIN} 'bob@{DOMAIN}'")
    assert "info" in command(capsys, f"alias list {DOMAIN}")
    command(capsys, f"alias delete info@{DOMAIN}")
    command(capsys, f"limits set {DOMAIN} maxaliases=7")
    assert "7" in command(capsys, f"limits show {DOMAIN}")
    exported = command(capsys, f"export {DOMAIN}")
    file = tmp_path / "users.csv"
    file.write_text(exported.replace(f"@{DOMAIN}", "@new.example"))
    command(capsys, f"import {file}")
    command(capsys, "auth bob@new.example --password-env PW")
    assert "Username exists" in command(capsys, f"import {file}", 1)
    assert "cdb module" in command(capsys, f"rebuild {DOMAIN}", 8)
    assert json.loads(command(capsys, "info --json"))["auth_module"] == "mysql"
    assert json.loads(command(capsys, "doctor --json"))
    command(capsys, f"user delete bob@{DOMAIN} --yes")
    for name in ("alias.example", "new.example"):
        command(capsys, f"domain delete {name} --yes")
    assert mail.path.is_dir()


def test_the_doctor(server: mariadb.Server, mail: Home) -> None:
    groups: tuple[doctor.Group, ...] = ("users", "passwords", "quota", "authentication")
    assert [finding for finding in doctor.examine(groups) if finding.state == "missing"] == []
    server.stop()
    lacking = [finding for finding in doctor.examine(groups) if finding.state == "missing"]
    assert [finding.group for finding in lacking] == list(groups)
    assert all(f"{mail.path}/etc/vpopmail.mysql" in finding.cure for finding in lacking)


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
