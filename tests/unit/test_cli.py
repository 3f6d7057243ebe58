"""The command line: what it prints, its exit codes, where passwords come from."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import pty
import re
import runpy
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import vpopmail_ext
from tests.conftest import Home
from tests.linked import bundled_alone
from vpopmail_ext import api, bulk, chown, cli
from vpopmail_ext.cli import output, passwords, shell
from vpopmail_ext.cli.output import UsageError

TOP = Path(__file__).parents[2]
PASSWORD = "s3cret-PW"

Run = Callable[..., str]


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command and return what it prints; `code` is the exit code that it should have."""
    monkeypatch.setenv("PW", PASSWORD)

    def run(command: str, code: int = 0) -> str:
        assert cli.main(shlex.split(command)) == code
        printed = capsys.readouterr()
        assert PASSWORD not in printed.out + printed.err
        if code == 0:
            assert printed.err == ""
        return printed.out or printed.err

    return run


@pytest.fixture
def mail(home: Home) -> Home:
    """An installation with a domain, its alias, and alice."""
    api.add_domain("example.com")
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", PASSWORD, gecos="Alice A.")
    return home


# --- domains --------------------------------------------------------------------------------------


def test_domains(run: Run, home: Home) -> None:
    assert run("domain list --json") == "[]\n"
    run("domain add example.com")
    run("domain alias example.com example.net")
    owner = f"{home.uid}\t{home.gid}\t{home.path}/domains/example.com"
    listed = f"example.com\t-\t{owner}\nexample.net\texample.com\t{owner}\n"
    assert run("domain list") == listed
    assert [d["real_name"] for d in json.loads(run("domain list --json"))] == ["example.com"] * 2
    run("domain delete --yes example.net")
    run("domain delete --yes example.com")
    assert run("domain list") == ""


def test_json_everywhere(run: Run, home: Home, tmp_path: Path) -> None:
    """What is changed is told as it is then; what is deleted is not."""

    def told(command: str, code: int = 0) -> Any:
        printed = run(f"{command} --json", code)
        return json.loads(printed) if printed else None

    alice = "alice@example.com"
    assert told("domain add example.com")["directory"] == f"{home.path}/domains/example.com"
    assert told("domain alias example.com example.net")["real_name"] == "example.com"
    assert told(f"user add {alice} --gecos 'Alice A.' --password-env PW")["gecos"] == "Alice A."
    assert told(f"user passwd {alice} --password-env PW")["name"] == "alice"
    assert told(f"user quota {alice} 5M")["quota"] == {"size": 5 * 2**20, "messages": None}
    assert told(f"user flags {alice} --add NO_POP") == ["NO_POP"]
    assert told(f"auth {alice} --password-env PW")["flags"] == ["NO_POP"]
    assert told("alias add info@example.com '&a@b.c'")["lines"] == ["&a@b.c"]
    assert told("alias add info@example.com '&d@e.f' --replace")["lines"] == ["&d@e.f"]
    assert told("limits set example.com maxaliases=7")["maxaliases"] == 7
    assert told("alias list example.com")[0]["name"] == "info"
    assert [user["name"] for user in told("user list example.com")] == ["alice"]
    (exported,) = told("export example.com")
    assert api.user("alice", "example.com").password_hash == exported.pop("password_hash")
    assert exported == {
        "address": alice,
        "gecos": "Alice A.",
        "quota": "5242880S",
        "flags": "NO_POP",
        "apop": "no",
    }
    file = csv_file(tmp_path, "address,password", f"bob@example.com,{PASSWORD}")
    assert told(f"import {file}") == {"imported": 1, "refused": []}
    refused = {"line": 2, "reason": "Username exists: bob@example.com"}
    assert told(f"import {file}", 1) == {"imported": 0, "refused": [refused]}
    assert told("rebuild example.com") is None
    assert told("alias delete info@example.com") is None
    assert told("user delete bob@example.com --yes") is None
    assert told("domain delete example.com --yes") is None
    without = {leaf.prog.split()[-1] for leaf in LEAVES if "--json" not in leaf.format_usage()}
    assert without == {"checkpassword", "completion", "man"}


def test_a_domain_elsewhere(run: Run, home: Home, tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    run(f"domain add x.com --dir {tmp_path}/srv --uid {home.uid} --gid {home.gid}")
    assert api.domain("x.com").directory == f"{tmp_path}/srv/domains/x.com"


def test_a_domain_with_its_postmaster(run: Run, home: Home) -> None:
    run("domain add example.com --postmaster --password-env PW")
    user = api.authenticate("postmaster", "example.com", PASSWORD)
    assert user is not None
    assert user.gecos == "Postmaster"


@bundled_alone("the policy is read once in a process")
def test_no_domain_is_left_where_its_postmaster_is_refused(run: Run, home: Home) -> None:
    (home.path / "etc/password_strength.conf").write_text("Length >= 99\n")
    message = run("domain add example.com --postmaster --password-env PW", 5)
    assert message == ("vpopmail-ext: password requires more characters : postmaster@example.com\n")
    assert list(api.domains()) == []


@pytest.mark.parametrize("command", ["domain delete example.com", "user delete alice@example.com"])
def test_questions(run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    assert "To do it without being asked, add --yes" in run(command, 2)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    answers = ["n", "yes"]
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr("builtins.input", answer)
    run(command, 1)
    assert api.user("alice", "example.com")
    run(command)
    assert asked[0].startswith("Delete ")
    run(command, 3)


# --- users ----------------------------------------------------------------------------------------


def test_users(run: Run, mail: Home) -> None:
    run("user add bob@example.com --gecos 'Bob B.' --apop --password-env PW")
    run("user quota bob@example.com 1G,5000C")
    assert run("user list example.net") == (
        "alice@example.com\tAlice A.\tNOQUOTA\t-\nbob@example.com\tBob B.\t1073741824S,5000C\t-\n"
    )
    users = json.loads(run("user list example.com --json"))
    assert [user["name"] for user in users] == ["alice", "bob"]
    assert users[1]["quota"] == {"size": 1073741824, "messages": 5000}
    assert users[1]["apop"] is True
    assert "password_hash" not in users[0]
    run("user delete bob@example.com --yes")
    assert [user.name for user in api.users("example.com")] == ["alice"]


def test_showing_a_user(run: Run, mail: Home) -> None:
    alice = api.user("alice", "example.com")
    lines = dict(line.split("\t") for line in run("user show alice@example.com").splitlines())
    assert lines == {
        "address": "alice@example.com",
        "name": "Alice A.",
        "directory": alice.directory,
        "quota": "NOQUOTA",
        "used": "0 bytes, 0 messages",
        "flags": "-",
        "with the domain's": "-",
        "APOP": "no",
        "last sign-in": "-",
    }
    (Path(alice.directory) / "Maildir/new/1").write_text("hello")
    api.set_quota("alice", "example.com", "100")
    api.set_flags("alice", "example.com", api.UserFlags.NO_POP | 0x80000)
    api.set_last_auth(alice, "192.0.2.7")
    shown = run("user show alice@example.com")
    assert "\nused\t5 bytes, 1 messages, 5 %\n" in shown
    assert "\nflags\tNO_POP,0x80000\n" in shown
    assert re.search(r"\nlast sign-in\t\d{4}-.*\+00:00 from 192\.0\.2\.7\n", shown)
    user = json.loads(run("user show alice@example.com --json"))
    assert user["usage"] == {"size": 5, "messages": 1, "quota": {"size": 100, "messages": None}}
    assert user["flags"] == ["NO_POP", "0x80000"]
    assert user["last_auth"]["address"] == "192.0.2.7"


def test_a_library_without_last_sign_ins(
    run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "last_auth", raising(vpopmail_ext.errors.NotSupported(1, "no", "x")))
    assert "last sign-in\t-\n" in run("user show alice@example.com")


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*arguments: Any, **options: Any) -> Any:
        raise error

    return function


def test_flags(run: Run, mail: Home) -> None:
    assert run("user flags alice@example.com") == "-\n"
    run("user flags alice@example.com --add NO_POP --add NO_IMAP")
    run("user flags alice@example.com --add NO_SMTP --remove NO_POP")
    assert run("user flags alice@example.com") == "NO_IMAP,NO_SMTP\n"
    assert json.loads(run("user flags alice@example.com --json")) == ["NO_IMAP", "NO_SMTP"]
    run("user flags alice@example.com --clear --add V_OVERRIDE")
    assert run("user flags alice@example.com") == "V_OVERRIDE\n"
    run("user flags alice@example.com --clear")
    assert run("user flags alice@example.com") == "-\n"


@bundled_alone("etc/defaultdomain is read once in a process")
def test_the_default_domain(run: Run, mail: Home) -> None:
    assert run("user flags alice", 2) == ("vpopmail-ext: alice is no address: write user@domain\n")
    (mail.path / "etc/defaultdomain").write_text("example.com\n")
    assert run("user flags alice") == "-\n"


# --- passwords ------------------------------------------------------------------------------------


def test_passwords(run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"an0ther-PW\r\nrest")
    fd = os.open(tmp_path / "password", os.O_RDONLY)
    run(f"user passwd alice@example.com --password-fd {fd}")
    assert os.read(fd, 9) == b"rest"
    monkeypatch.setenv("OTHER", "an0ther-PW")
    run("auth alice@example.com --password-env OTHER")
    assert json.loads(run("auth alice@example.com --password-env OTHER --json"))["name"] == "alice"
    message = "vpopmail-ext: alice@example.com: no such user or another password\n"
    assert message.partition(": ")[2] == run("auth alice@example.com --password-env PW", 1)
    assert run("auth alice@example.com --password-env PW --json", 1) == "null\n"
    asked = []
    monkeypatch.setattr(api, "authenticate", lambda *_, equal_time: asked.append(equal_time))
    for options in "", " --equal-time":
        run(f"auth alice@example.com --password-env PW{options}", 1)
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--password-env NOT_THERE", "the environment has no NOT_THERE"),
        ("--password-fd 999", "descriptor 999 can't be read: Bad file descriptor"),
        ("", "there is no terminal to ask for the password"),
    ],
)
def test_passwords_that_can_t_be_had(
    run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch, options: str, text: str
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    assert text in run(f"user passwd alice@example.com {options}", 2)


def test_a_password_without_end(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 5000)
    options = SimpleNamespace(password_fd=os.open(tmp_path / "long", os.O_RDONLY))
    with pytest.raises(UsageError, match="too long for a password"):
        passwords.read(options, new=True)  # type: ignore[arg-type]


def test_asking_for_a_password(run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str] = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", lambda question: answers.pop(0))
    answers += ["one-PW1", "two-PW2"]
    assert "the two passwords are not the same" in run("user passwd alice@example.com", 2)
    answers += ["one-PW1", "one-PW1"]
    run("user passwd alice@example.com")
    answers += ["one-PW1"]
    run("auth alice@example.com")
    assert answers == []


# --- aliases --------------------------------------------------------------------------------------


def test_aliases(run: Run, mail: Home) -> None:
    run("alias add info@example.com '&alice@example.com' '|program'")
    run("alias add info@example.net '&bob@example.org'")
    (mail.path / "domains/example.com/.qmail-empty").write_text("")
    assert run("alias list example.com") == (
        "empty@example.com\t-\ninfo@example.com\t&alice@example.com\ninfo@example.com\t|program\n"
        "info@example.com\t&bob@example.org\n"
    )
    listed = json.loads(run("alias list example.com --json"))
    assert listed[1]["lines"] == ["&alice@example.com", "|program", "&bob@example.org"]
    run("alias delete info@example.com '|program' '&bob@example.org'")
    assert api.alias("info", "example.com").lines == ("&alice@example.com",)
    run("alias add --replace info@example.com '&one@example.org'")
    assert api.alias("info", "example.com").lines == ("&one@example.org",)
    run("alias delete info@example.com")
    run("alias delete info@example.com", 3)


# --- limits ---------------------------------------------------------------------------------------


def test_limits(run: Run, mail: Home) -> None:
    shown = run("limits show example.com")
    assert "maxpopaccounts\t-\n" in shown
    assert "disable_imap\tno\n" in shown
    run(
        "limits set example.com maxpopaccounts=50 default_quota=100M default_maxmsgcount=7 "
        "disable_imap=yes perm_alias=create,delete perm_quota=modify"
    )
    run("limits set example.com default_maxmsgcount=any perm_quota=none disable_pop=no")
    assert api.limits("example.com") == api.Limits(
        maxpopaccounts=50,
        default_quota=104857600,
        disable_imap=True,
        perm_alias=api.Denied.CREATE | api.Denied.DELETE,
    )
    shown = json.loads(run("limits show example.net --json"))
    assert shown["perm_alias"] == ["CREATE", "DELETE"]
    assert shown["maxpopaccounts"] == 50


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("maxpopaccounts", "is not NAME=VALUE"),
        ("nonsense=5", "the names are maxpopaccounts"),
        ("maxpopaccounts=many", "maxpopaccounts can't be 'many'"),
        ("default_quota=many", "default_quota can't be 'many'"),
        ("disable_pop=perhaps", "disable_pop can't be 'perhaps'"),
        ("perm_alias=eat", "perm_alias can't be 'eat'"),
    ],
)
def test_limits_that_can_t_be_set(run: Run, mail: Home, change: str, text: str) -> None:
    assert text in run(f"limits set example.com {change}", 2)


# --- the rest -------------------------------------------------------------------------------------


def test_rebuild(run: Run, mail: Home) -> None:
    (mail.path / "domains/example.com/vpasswd.cdb").unlink()
    run("rebuild example.com")
    assert (mail.path / "domains/example.com/vpasswd.cdb").exists()


def test_info(run: Run, home: Home) -> None:
    site = vpopmail_ext.info()
    assert run("info") == "".join(f"{name} => {value}\n" for name, value in site.rows())
    assert json.loads(run("info --json"))["home"] == str(home.path)


def test_doctor(run: Run, mail: Home) -> None:
    lines = [line.split("\t") for line in run("doctor users quota").splitlines()]
    assert ["users", "1 of 1 domains", "ok", "nothing is missing", "-"] in lines
    (mail.path / "domains/example.com").rename(mail.path / "gone")
    found = json.loads(run("doctor users --domain example.com --json", 1))
    (missing,) = (finding for finding in found if finding["state"] == "missing")
    assert missing["subject"] == str(mail.path / "domains/example.com")
    assert missing["cure"]
    assert "'nonsense' is none of domains, users" in run("doctor nonsense", 2)
    run("doctor users --domain nope.com", 3)


def test_chown(
    run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = chown.Ids(89, 89), chown.Ids(8089, 8090)
    seen: list[Any] = []

    def done(uid: int, gid: int, *, dry_run: bool) -> chown.Report:
        seen.append((uid, gid, dry_run))
        return chown.Report(old, new, 3, 70, "" if dry_run else "/backup")

    monkeypatch.setattr("vpopmail_ext.cli.administration.chown", done)
    assert cli.main(["chown", "--uid", "8089", "--gid", "8090", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "3 lines of assign and 70 files would be given to 8089:8090\nfrom 89:89\n"
    )
    assert cli.main(["chown", "--uid", "8089", "--gid", "8090"]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("were given to 8089:8090\nfrom 89:89\nbefore: /backup\n")
    assert "/etc/passwd" in printed.err
    assert cli.main(["chown", "--uid", "8089", "--gid", "8090", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new"] == {"uid": 8089, "gid": 8090}
    assert (told["domains"], told["files"], told["dry_run"]) == (3, 70, True)
    assert seen == [(8089, 8090, True), (8089, 8090, False), (8089, 8090, True)]
    monkeypatch.setattr("vpopmail_ext.cli.administration.chown", raising(chown.Refused("why")))
    assert run("chown --uid 1 --gid 1", 6) == "vpopmail-ext: why\n"


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("user list nope.com", 3),
        ("user show bob@example.com", 3),
        ("alias delete nix@example.com", 3),
        ("domain add example.com", 4),
        ("user add alice@example.com --password-env PW", 4),
        ("domain add no_domain", 5),
        ("user quota alice@example.com lots", 5),
        ("domain add x.com --dir /nowhere", 7),
        ("--home relative info", 5),
    ],
)
def test_exit_codes(run: Run, mail: Home, command: str, code: int) -> None:
    assert run(command, code).startswith("vpopmail-ext: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (vpopmail_ext.errors.NotPermitted(-22, "Not permitted"), 6),
        (vpopmail_ext.errors.NotSupported(1, "Not supported"), 8),
        (vpopmail_ext.errors.error_of(-18, "Crypt failed"), 7),
        (vpopmail_ext.errors.error_of(-99, "Unknown error"), 7),
        (OSError(5, "Input/output error"), 7),
    ],
)
def test_exit_codes_of_errors(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    monkeypatch.setattr(api, "rebuild", raising(error))
    assert run("rebuild example.com", code) == f"vpopmail-ext: {error}\n"


def test_what_the_library_says_comes_to_standard_error(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("vpopmail_ext")
    before = list(log.handlers)
    monkeypatch.setattr(api, "rebuild", lambda domain: log.warning("half\x1b done: %s", domain))
    assert cli.main(["rebuild", "x.com"]) == 0
    assert capsys.readouterr().err == "vpopmail-ext: half\\x1b done: x.com\n"
    assert log.handlers == before


def test_an_interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "rebuild", raising(KeyboardInterrupt()))
    run("rebuild example.com", 130)


@bundled_alone("the directories are compiled in")
def test_another_installation(run: Run, mail: Home, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(f"--home {mail.path} --qmail {tmp_path}/empty domain list") == ""


@pytest.mark.parametrize("command", ["", "domain", "user add", "--nonsense", "completion fish"])
def test_wrong_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(shlex.split(command))
    assert caught.value.code == 2
    assert "usage: vpopmail-ext" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"vpopmail-ext {vpopmail_ext.__version__}\n"


# --- as a program ---------------------------------------------------------------------------------


def environment(home: Home) -> dict[str, str]:
    return os.environ | {
        "VPOPMAIL_HOME": str(home.path),
        "QMAIL_HOME": str(home.qmail),
        "PYTHONPATH": str(TOP),
        "COLUMNS": "100",
        "TERM": "xterm",
    }


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["vpopmail-ext", "info"])
    monkeypatch.delitem(sys.modules, "vpopmail_ext.__main__", raising=False)
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("vpopmail_ext", run_name="__main__")
    assert caught.value.code == 0
    assert "vpopmail support => enabled\n" in capsys.readouterr().out
    runpy.run_module("vpopmail_ext.__main__")  # imported, it does nothing


def test_nobody_reads_on(mail: Home) -> None:
    lines = "".join(f"user{n:05}:x:1:0:{'g' * 60}:/d:NOQUOTA\n" for n in range(5000))
    (mail.path / "domains/example.com/vpasswd").write_text(lines)
    command = f"{shlex.quote(sys.executable)} -m vpopmail_ext user list example.com"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"],
        env=environment(mail),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("\n141\n")
    assert done.stderr == ""


def test_nobody_reads_at_all(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(api, "rebuild", raising(BrokenPipeError()))
    with (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code = cli.main(["rebuild", "x.com"])
        stdout.write("what was left")
    assert code == 141
    assert (tmp_path / "out").read_text() == ""


def on_a_terminal(home: Home, *arguments: str) -> str:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vpopmail_ext", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.STDOUT,
        env=environment(home),
    )
    os.close(slave)
    data = b""
    reader = threading.Thread(target=process.wait)
    reader.start()
    try:
        while more := os.read(master, 4096):
            data += more
    except OSError:  # the other side is closed
        pass
    reader.join()
    os.close(master)
    assert process.returncode == 0
    return data.decode().replace("\r\n", "\n")


def test_tables_on_a_terminal(mail: Home) -> None:
    api.set_flags("alice", "example.com", api.UserFlags.NO_POP)
    with (mail.path / "domains/example.com/vpasswd").open("ab") as file:
        file.write(b"odd:x:1:0:[red]\x1b[31m\xff:/d:NOQUOTA\n")
    out = on_a_terminal(mail, "user", "list", "example.com")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert re.search(r"address +name +quota +flags", plain)
    assert re.search(r"alice@example\.com +Alice A\. +NOQUOTA +NO_POP", plain)
    assert r"[red]\x1b[31m\xff" in plain
    assert "\x1b[31m" not in out
    assert "─" in plain
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(mail, "limits", "show", "example.com"))
    assert re.search(r"maxpopaccounts +-", shown)


def test_without_rich_a_terminal_gets_columns(
    run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "vpopmail_ext.cli.terminal", None)
    assert run("user list example.com") == "alice@example.com\tAlice A.\tNOQUOTA\t-\n"


def test_a_table_is_drawn(run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "alice@example.com" in run("user list example.com")
    assert "maxpopaccounts" in run("limits show example.com")


# --- help, completion, manual ---------------------------------------------------------------------


LEAVES = list(shell.leaves(cli.parser()))


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.prog)
def test_each_command_has_an_example_that_it_takes(leaf: argparse.ArgumentParser) -> None:
    title, _, example = (leaf.epilog or "").partition("\n")
    assert title == "example:"
    words = shlex.split(
        re.sub(r"[<>|] .*|\$\(|\)", "", example.replace('"$(', "").replace(')"', ""))
    )
    arguments = words[words.index("vpopmail-ext") + 1 :]
    assert cli.parser().parse_args(arguments).run
    assert leaf.prog.split()[1] in arguments


def test_completion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    script = f"""
        source {tmp_path}/completion
        complete_line() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            $(complete -p vpopmail-ext | sed 's/.*-F \\([^ ]*\\).*/\\1/') vpopmail-ext "${{!#}}"
            echo "${{COMPREPLY[@]}}"
        }}
        complete_line vpopmail-ext do
        complete_line vpopmail-ext domain a
        complete_line vpopmail-ext user flags --a
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["domain doctor", "add alias", "--add"]
    for name in ("zsh", "tcsh"):
        assert cli.main(["completion", name]) == 0
        assert "vpopmail-ext" in capsys.readouterr().out


def test_completion_without_shtab(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "pip install 'vpopmail_ext[cli]'" in run("completion bash", 2)


def test_the_manual_page_is_up_to_date(run: Run) -> None:
    assert (TOP / "docs/vpopmail-ext.8").read_text() == run("man")


def test_the_manual_page_names_every_command_and_option() -> None:
    text = (TOP / "docs/vpopmail-ext.8").read_text().replace("\\-", "-")
    for leaf in LEAVES:
        assert f"\n.SS {leaf.prog.removeprefix('vpopmail-ext ')}\n" in text
        for action in leaf._actions:
            for option in action.option_strings:
                assert f"\\fB{option}\\fR" in text


def test_roff_takes_no_text_for_a_request() -> None:
    assert shell._roff(".qmail\n\\a-'b' …") == "\\&.qmail\n\\ea\\-\\(aqb\\(aq \\[u2026]"


def test_values_are_cleaned() -> None:
    assert output.clean("a\x1b[2J\udcff\x85é") == r"a\x1b[2J\xff\x85é"


# --- import and export ----------------------------------------------------------------------------


def csv_file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "users.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_an_import_of_two_domains(run: Run, mail: Home, tmp_path: Path) -> None:
    api.add_domain("example.org")
    file = csv_file(
        tmp_path,
        "gecos,address,password,quota,flags,apop",
        f'"Bob, the B.",bob@Example.com,{PASSWORD},1M,"NO_POP,NO_IMAP",yes',
        f",carol@example.org,{PASSWORD},,,no",
        f",dave@example.com,{PASSWORD},NOQUOTA,,",
    )
    assert run(f"import {file} --threads 1") == ""
    bob = api.user("bob", "example.com")
    assert (bob.gecos, str(bob.quota), bob.apop) == ("Bob, the B.", "1048576S", True)
    assert bob.flags == api.UserFlags.NO_POP | api.UserFlags.NO_IMAP
    assert api.authenticate("carol", "example.org", PASSWORD) == api.user("carol", "example.org")
    assert [user.name for user in api.users("example.com")] == ["alice", "bob", "dave"]


def test_what_is_exported_can_be_imported(
    run: Run, mail: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.add_domain("example.org")
    api.set_flags("alice", "example.com", api.UserFlags.NO_POP | api.UserFlags.NO_SMTP)
    printed = run("export example.com")
    assert printed.splitlines()[0] == "address,password_hash,gecos,quota,flags,apop"
    assert '"NO_POP,NO_SMTP"' in printed
    monkeypatch.setattr(sys, "stdin", io.StringIO(printed.replace("@example.com", "@example.org")))
    run("import -")
    user = api.authenticate("alice", "example.org", PASSWORD)
    assert user is not None
    assert (user.gecos, user.flags) == ("Alice A.", api.user("alice", "example.com").flags)


def test_lines_that_are_refused(run: Run, mail: Home, tmp_path: Path) -> None:
    file = csv_file(
        tmp_path,
        "address,password,quota,flags,apop",
        f"bob@example.com,{PASSWORD},,,",
        f"x@example.com,{PASSWORD},,,",
        f"carol@nope.com,{PASSWORD},,,",
        f"carol@example.com,{PASSWORD},much,,",
        f"carol@example.com,{PASSWORD},,NO_FUN,",
        f"carol@example.com,{PASSWORD},,,maybe",
        f"carol@example.com,{PASSWORD}",
        f"carol,{PASSWORD},,,",
        "carol@example.com,,,,",
        f"alice@example.com,{PASSWORD},,,",
    )
    told = run(f"import {file}", 1).splitlines()
    assert [line.split(":")[0] for line in told[:-1]] == [f"line {n}" for n in range(3, 12)]
    for text, line in zip(
        (
            "Illegal username: x@example.com",
            "Domain does not exist",
            "has no quota: write bytes as 100M",
            "has an unknown flag; there are NO_PASSWD_CHNG, NO_POP",
            "apop is yes or no",
            "has more or fewer values than the first line has columns",
            "has no address: write user@domain",
            "give a password or a password_hash",
            "Username exists: alice@example.com",
        ),
        told,
        strict=False,
    ):
        assert text in line
    assert told[-1] == "nothing was imported: lines refused: 9"
    assert [user.name for user in api.users("example.com")] == ["alice"]


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("address,colour\n", "has another name in column 2; it names some of address, password"),
        (f"{PASSWORD},alice@example.com\n", "has another name in column 1;"),
        (f"address,{PASSWORD}\n", "has another name in column 2;"),
        ("password\n", "has no column address"),
        ("", "has no column address"),
        ('address,password\n"a', "no comma-separated values"),
    ],
)
def test_a_file_that_is_none(run: Run, mail: Home, tmp_path: Path, text: str, about: str) -> None:
    (tmp_path / "users.csv").write_text(text)
    assert about in run(f"import {tmp_path}/users.csv", 2)
    assert "No such file" in run(f"import {tmp_path}/nothing", 7)


@pytest.mark.parametrize("column", ["address", "quota", "flags", "apop", "password_hash", "gecos"])
@pytest.mark.parametrize(
    "password", [PASSWORD, f"left@{PASSWORD}", f"{PASSWORD}@right", f"x{PASSWORD}!\N{BELL}"]
)
@pytest.mark.parametrize("default", ["", "example.com"])
def test_a_password_in_another_column_is_not_shown(
    run: Run, mail: Home, tmp_path: Path, column: str, password: str, default: str
) -> None:
    """`run` looks for the password in all that is told."""
    if default:
        (mail.path / "etc/defaultdomain").write_text(f"{default}\n")
    row = dict.fromkeys(("address", "password", "quota", "flags", "apop", "gecos"), "")
    row |= {"address": "bob@example.com", column: f"{password}:"}
    if column == "password_hash":
        del row["password"]
    else:
        row["password"] = "short"
    file = csv_file(tmp_path, ",".join(row), ",".join(row.values()))
    for options in ("", " --json"):
        assert "line" in run(f"import {file}{options}", 1)
    assert [user.name for user in api.users("example.com")] == ["alice"]


def test_an_import_that_fails_in_its_second_domain(
    run: Run, mail: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.add_domain("example.org")
    commit = bulk.Addition.commit

    def fail(addition: bulk.Addition) -> None:
        if addition.domain == "example.org":
            raise OSError("the disk is full")
        commit(addition)

    monkeypatch.setattr(bulk.Addition, "commit", fail)
    rows = [f"bob@example.{top},{PASSWORD}" for top in ("com", "org")]
    assert "the disk is full" in run(f"import {csv_file(tmp_path, 'address,password', *rows)}", 7)
    assert [user.name for user in api.users("example.com")] == ["alice"]
    assert list(api.users("example.org")) == []


def test_an_import_that_can_t_be_taken_back(
    run: Run, mail: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other users are deleted nevertheless; those that stay are named."""
    api.add_domain("example.org")
    commit, delete = bulk.Addition.commit, api.delete_user

    def full(addition: bulk.Addition) -> None:
        if addition.domain == "example.org":
            raise OSError("the disk is full")
        commit(addition)

    def failing(name: str, domain: str) -> None:
        if name == "bob":
            raise OSError("it still is")
        delete(name, domain)
        if name == "carol":
            delete(name, domain)  # another had done so already

    monkeypatch.setattr(bulk.Addition, "commit", full)
    monkeypatch.setattr(api, "delete_user", failing)
    rows = [f"{name}@example.com,{PASSWORD}" for name in ("bob", "carol", "dave")]
    file = csv_file(tmp_path, "address,password", *rows, f"bob@example.org,{PASSWORD}")
    stays = "bob@example.com was added and stays: it still is"
    assert run(f"import {file}", 7) == f"{stays}\nvpopmail-ext: the disk is full\n"
    assert [user.name for user in api.users("example.com")] == ["alice", "bob"]


KILLED = """
import os, signal, sys
from vpopmail_ext import bulk, cli

commit, left = bulk.Addition.commit, [int(sys.argv[1])]

def killed(addition):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    commit(addition)

bulk.Addition.commit = killed
cli.main(["import", sys.argv[2]])
"""


@bundled_alone("users are added one after the other")
@pytest.mark.parametrize("domains", [0, 1])
def test_a_killed_import(run: Run, mail: Home, tmp_path: Path, domains: int) -> None:
    """Of each domain all users are there or none; lines of the former are refused the next time."""
    api.add_domain("example.org")
    api.add_user("jo", "example.org", PASSWORD)  # from which on there is a count
    api.delete_user("jo", "example.org")
    before = {path for path in mail.path.rglob("*") if not path.name.endswith(".lock")}
    rows = [f"{name}@example.{top},{PASSWORD}" for top in ("com", "org") for name in ("bob", "jo")]
    file = csv_file(tmp_path, "address,password", *rows)
    environment = os.environ | {"VPOPMAIL_HOME": str(mail.path), "QMAIL_HOME": str(mail.qmail)}
    command = [sys.executable, "-c", KILLED, str(domains), str(file)]
    done = subprocess.run(command, env=environment, cwd=TOP, check=False)
    assert done.returncode == -signal.SIGKILL
    there = ["bob", "jo"] * domains
    assert [user.name for user in api.users("example.com")] == ["alice", *there]
    assert list(api.users("example.org")) == []
    for name in there:
        assert api.authenticate(name, "example.com", PASSWORD)
    told = run(f"import {file}", domains)
    assert told.count("Username exists") == len(there)
    if there:
        csv_file(tmp_path, "address,password", *rows[2:])
        run(f"import {file}")
    for top in ("com", "org"):
        for name in ("bob", "jo"):
            assert api.authenticate(name, f"example.{top}", PASSWORD)
            api.delete_user(name, f"example.{top}")
    # Of what was made and did not become users, nothing is left.
    assert {path for path in mail.path.rglob("*") if not path.name.endswith(".lock")} == before


def test_a_bar_on_a_terminal(
    mail: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"bob@example.com,{PASSWORD}", f"carol@example.com,{PASSWORD}"]
    file = csv_file(tmp_path, "address,password", *rows)
    assert "100%" in on_a_terminal(mail, "import", str(file))
    for name in ("bob", "carol"):
        api.delete_user(name, "example.com")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["import", str(file)]) == 0
    assert "100%" in capsys.readouterr().err
