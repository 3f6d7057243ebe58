"""DJB's checkpassword interface, as a program and by its parts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home, open_to_all
from tests.linked import bundled_alone
from vpopmail_ext import api, checkpassword, cli

TOP = Path(__file__).parents[2]
PASSWORD = "s3cret-PW"
ADDRESS = "alice@example.com"


@pytest.fixture(autouse=True)
def mail(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An installation with alice, and a server's environment without anything of its own."""
    api.add_domain("example.com")
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", PASSWORD)
    for name in ("TCPREMOTEIP", "TCPLOCALPORT", "SERVICE", "AUTHORIZED", "EXTRA"):
        monkeypatch.delenv(name, raising=False)
    return home


# --- as a program ---------------------------------------------------------------------------------


def program(
    home: Home, given: bytes, *options: str, shown: str = "USER HOME SHELL", **environment: str
) -> tuple[int, list[str]]:
    """Run it as qmail-popup does; return the exit code and what the program sees."""
    show = (
        f'pwd; for name in {shown}; do printf "%s=%s\\n" "$name" "${{!name}}"; done; id -u; id -g'
    )
    command = [sys.executable, "-m", "vpopmail_ext", "checkpassword", *options]
    reading, writing = os.pipe()
    os.write(writing, given)
    os.close(writing)
    done = subprocess.run(
        ["bash", "-c", f'"$@" 3<&{reading}', "-", *command, "bash", "-c", show],
        pass_fds=[reading],
        env=os.environ
        | {"VPOPMAIL_HOME": str(home.path), "QMAIL_HOME": str(home.qmail), "PYTHONPATH": str(TOP)}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(reading)
    assert PASSWORD not in done.stderr
    return done.returncode, done.stdout.splitlines()


def test_the_right_password(mail: Home) -> None:
    if os.environ.get("VPOPMAIL_TEST_ROOT") == "userns":
        pytest.skip("root of a user namespace may not give up its groups")
    directory = str(mail.path / "domains/example.com/alice")
    open_to_all(mail.path)
    code, seen = program(mail, b"Alice@Example.NET\0" + PASSWORD.encode() + b"\0Y123\0")
    assert code == 0
    assert seen == [
        directory,
        f"USER={ADDRESS}",
        f"HOME={directory}",
        "SHELL=/bin/false",
        str(mail.uid),
        str(mail.gid),
    ]


def test_another_password(mail: Home) -> None:
    assert program(mail, b"alice@example.com\0guess\0Y123\0") == (1, [])


def test_for_dovecot(mail: Home) -> None:
    shown = "USER HOME userdb_uid userdb_gid EXTRA AUTHORIZED"
    given = f"{ADDRESS}\0{PASSWORD}\0\0".encode()
    code, seen = program(mail, given, "--dovecot", shown=shown)
    assert code == 0
    assert seen[1:] == [
        f"USER={ADDRESS}",
        f"HOME={mail.path}/domains/example.com/alice",
        f"userdb_uid={mail.uid}",
        f"userdb_gid={mail.gid}",
        "EXTRA=userdb_uid userdb_gid",
        "AUTHORIZED=",
        str(os.geteuid()),
        str(os.getegid()),
    ]
    code, seen = program(mail, b"alice@example.com\0\0\0", "--dovecot", shown=shown, AUTHORIZED="1")
    assert code == 0
    assert "AUTHORIZED=2" in seen
    # What only Dovecot may ask without a password.
    assert program(mail, b"alice@example.com\0\0\0", AUTHORIZED="1") == (1, [])
    assert program(mail, b"bob@example.com\0\0\0", "--dovecot", AUTHORIZED="1") == (3, [])


# --- by its parts ---------------------------------------------------------------------------------


class Run(Exception):
    """The program would have been run."""


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int | dict[str, str]]]:
    """Check a name and password; return the exit code, or the environment of the program."""

    def execute(file: str, arguments: list[str], environment: dict[str, str]) -> None:
        assert (file, arguments) == ("prog", ["prog", "argument"])
        raise Run(environment)

    monkeypatch.setattr(os, "execvpe", execute)
    monkeypatch.setattr(checkpassword, "_become", lambda uid, gid: None)
    here = os.getcwd()

    def check(
        name: str = ADDRESS,
        password: str = PASSWORD,
        *options: str,
        given: bytes | None = None,
        **environment: str,
    ) -> int | dict[str, str]:
        reading, writing = os.pipe()
        os.write(writing, f"{name}\0{password}\0\0".encode() if given is None else given)
        os.close(writing)
        with monkeypatch.context() as patch:
            patch.setattr(checkpassword, "DESCRIPTOR", reading)
            for key, value in environment.items():
                patch.setenv(key, value)
            try:
                return cli.main(["checkpassword", *options, "prog", "argument"])
            except Run as run:
                seen: dict[str, str] = run.args[0]
                return seen

    yield check
    os.chdir(here)


Check = Callable[..., Any]


@pytest.mark.parametrize(
    "name",
    [
        "alice@example.com",
        "alice%example.com",
        "ALICE@example.net",
        pytest.param("alice", marks=bundled_alone("etc/defaultdomain is read once")),
    ],
)
def test_names(mail: Home, check: Check, name: str) -> None:
    (mail.path / "etc/defaultdomain").write_text("example.com\n")
    assert check(name)["USER"] == ADDRESS
    assert os.getcwd() == api.user("alice", "example.com").directory


@pytest.mark.parametrize("options", [[], ["--equal-time"]])
def test_equal_time(check: Check, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    asked: list[Any] = []

    def sign_in(*_: Any, equal_time: bool) -> None:
        asked.append(equal_time)

    monkeypatch.setattr(api, "sign_in", sign_in)
    assert check(ADDRESS, "guess", *options) == 1
    assert asked == [bool(options)]


def test_a_name_without_a_domain_and_no_default(check: Check) -> None:
    assert check("alice") == checkpassword.REFUSED


@pytest.mark.parametrize(
    "given", [b"", b"alice", b"alice\0pw", b"alice@example.com\0" + b"x" * 500 + b"\0\0"]
)
def test_misuse(check: Check, given: bytes) -> None:
    assert check(given=given) == checkpassword.MISUSED


def test_misuse_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpassword, "DESCRIPTOR", 999)
    assert cli.main(["checkpassword", "prog"]) == checkpassword.MISUSED


def test_misuse_without_a_program(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a\0b\0\0")
    os.close(writing)
    monkeypatch.setattr(checkpassword, "DESCRIPTOR", reading)
    assert cli.main(["checkpassword"]) == checkpassword.MISUSED


@pytest.mark.parametrize(
    ("flag", "environment", "refused"),
    [
        ("NO_POP", {"TCPLOCALPORT": "110"}, True),
        ("NO_POP", {"SERVICE": "pop3"}, True),
        ("NO_POP", {"TCPLOCALPORT": "143"}, False),
        ("NO_IMAP", {"SERVICE": "imap", "TCPREMOTEIP": "192.0.2.7"}, True),
        ("NO_IMAP", {"SERVICE": "imap", "TCPREMOTEIP": "127.0.0.1"}, False),
        ("NO_WEBMAIL", {"SERVICE": "imap", "TCPREMOTEIP": "::1"}, True),
        ("NO_WEBMAIL", {"SERVICE": "imap", "TCPREMOTEIP": "192.0.2.7"}, False),
        ("NO_SMTP", {"TCPLOCALPORT": "587"}, True),
        ("NO_SMTP", {}, False),
    ],
)
def test_flags(check: Check, flag: str, environment: dict[str, str], refused: bool) -> None:
    api.set_flags("alice", "example.com", api.UserFlags[flag])
    assert (check(**environment) == checkpassword.REFUSED) is refused


def test_the_sign_in_is_noted(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    alice = api.user("alice", "example.com")
    check(password="guess", TCPREMOTEIP="192.0.2.7")
    assert api.last_auth(alice) is None
    check(TCPREMOTEIP="192.0.2.7")
    last = api.last_auth(alice)
    assert last is not None
    assert last.address == "192.0.2.7"
    file = Path(alice.directory) / "lastauth"
    file.unlink()
    file.mkdir()
    assert check(TCPREMOTEIP="192.0.2.7")["USER"] == ADDRESS
    assert "checkpassword: the sign-in was not noted: " in capsys.readouterr().err


def test_a_temporary_problem(mail: Home, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    (mail.path / "domains/example.com/vpasswd.cdb").write_bytes(b"\xff" * 3000)
    assert check() == checkpassword.TEMPORARY
    assert "checkpassword: Could not update file: alice@example.com" in capsys.readouterr().err


def test_a_user_without_a_directory(mail: Home, check: Check) -> None:
    (mail.path / "domains/example.com/alice").rename(mail.path / "gone")
    assert check() == checkpassword.TEMPORARY


def test_look_ups_of_dovecot(check: Check) -> None:
    assert check(ADDRESS, "", "--dovecot", AUTHORIZED="1")["AUTHORIZED"] == "2"
    assert check("alice@nope.com", "", "--dovecot", AUTHORIZED="1") == checkpassword.NO_USER
    assert check(ADDRESS, "", "--dovecot") == checkpassword.REFUSED
    assert "AUTHORIZED" not in check(ADDRESS, PASSWORD, "--dovecot")


def test_becoming_the_domain_s_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(os, "setgroups", lambda groups: calls.append(groups))
    monkeypatch.setattr(os, "setgid", calls.append)
    monkeypatch.setattr(os, "setuid", calls.append)
    monkeypatch.setattr(os, "geteuid", lambda: 89)
    checkpassword._become(1, 2)
    assert calls == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    checkpassword._become(1, 2)
    assert calls == [[], 2, 1]
