"""What a process lacks for which functions, and what the README calls insecure."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import vpopmail_ext
from tests.conftest import Home, open_to_all, own_programs
from tests.linked import bundled_alone
from vpopmail_ext import api, calls, doctor, errors, processes

OTHER = 4711


@pytest.fixture
def mail(home: Home) -> Iterator[Home]:
    """An installation with two domains and the programs."""
    for name in ("example.com", "example.org"):
        api.add_domain(name)
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", "s3cret-PW")
    with own_programs(home.path) as programs:
        for tool in doctor.TOOLS:
            (programs / tool).write_text("#!/bin/sh\n")
            (programs / tool).chmod(0o755)
        yield home


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Paths that the process, which is another user's, may not use."""
    paths: set[str] = set()
    before = os.access

    def access(path: Any, mode: int, **options: Any) -> bool:
        return str(path) not in paths and before(path, mode, **options)

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    return paths


def lacking(*groups: doctor.Group, domains: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what is missing: subject and detail."""
    found = doctor.examine(groups or doctor.GROUPS, domains)
    for finding in found:
        assert finding.state == "ok" or finding.cure
    return {finding.subject: finding.detail for finding in found if finding.state == "missing"}


def warned(found: list[doctor.Finding]) -> dict[str, str]:
    return {finding.subject: finding.cure for finding in found if finding.state == "warning"}


def test_nothing_is_missing_for_the_owner_of_all(
    mail: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = doctor.examine()
    assert [finding for finding in found if finding.state == "missing"] == []
    assert next(f.group for f in found if f.group in doctor.GROUPS) == "domains"
    assert {finding.group for finding in found} >= {"process", *doctor.GROUPS}
    (users,) = (finding for finding in found if finding.group == "users")
    assert (users.subject, users.state) == ("2 of 2 domains", "ok")


def test_the_process(mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def process(uid: int, gid: int) -> doctor.Finding:
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setattr(os, "getegid", lambda: gid)
        return doctor.examine([])[0]

    site = vpopmail_ext.info()
    assert process(0, 0).detail == "root"
    other = process(OTHER, site.gid)
    assert other.state == "warning"
    assert other.cure == f"sudo -u '#{site.uid}' -g '#{site.gid}' COMMAND"
    monkeypatch.setattr(doctor, "_ids", lambda path: None)
    monkeypatch.setattr(doctor, "info", lambda: replace(site, uid=OTHER, gid=OTHER))
    assert process(OTHER, OTHER).detail == "vpopmail's own"


def test_ids_of_a_library_and_of_its_domains(mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # As with an original that is compiled for others.
    monkeypatch.setattr(doctor, "_ids", lambda path: (OTHER, OTHER))
    assert "vpopmail's ids" in warned(doctor.examine([]))
    monkeypatch.undo()
    shutil.rmtree(mail.path / "domains")
    assert "vpopmail's ids" not in warned(doctor.examine([]))


def test_rights_for_domains(mail: Home, denied: set[str]) -> None:
    assert lacking("domains") == {}
    denied |= {
        str(mail.qmail / "users"),
        str(mail.qmail / "users/assign"),
        str(mail.qmail / "users/assign.lock"),
        str(mail.qmail / "control"),
        str(mail.qmail / "control/rcpthosts"),
        str(mail.qmail / "control/virtualdomains.lock"),
        str(mail.path / "domains"),
    }
    assert lacking("domains") == {
        str(mail.qmail / "users"): "may not be written to",
        str(mail.qmail / "users/assign"): "may not be read",
        str(mail.qmail / "users/assign.lock"): "may not be read and written",
        str(mail.qmail / "control"): "may not be written to",
        str(mail.qmail / "control/rcpthosts"): "may not be read",
        str(mail.qmail / "control/virtualdomains.lock"): "may not be read and written",
        str(mail.path / "domains"): "may not be written to",
    }


def test_directories_that_are_not_there(home: Home) -> None:
    (home.qmail / "control").rmdir()
    (home.path / "domains").rmdir()
    (home.path / "domains").write_text("")
    missing = lacking("domains")
    assert missing[str(home.qmail / "control")] == "No such file or directory"
    assert missing[str(home.path / "domains")] == "is no directory"


@pytest.mark.parametrize("group", ["users", "passwords", "quota"])
def test_rights_for_users(mail: Home, denied: set[str], group: doctor.Group) -> None:
    assert lacking(group) == {}
    directory = mail.path / "domains/example.com"
    denied |= {str(directory), str(directory / "vpasswd.cdb"), str(directory / ".vpasswd.lock")}
    assert lacking(group) == {
        str(directory): "may not be written to",
        str(directory / "vpasswd.cdb"): "may not be read",
        str(directory / ".vpasswd.lock"): "may not be read and written",
    }
    assert lacking(group, domains=("example.org",)) == {}
    assert len(lacking(group, domains=("example.net",))) == 3
    found = [finding.subject for finding in doctor.examine([group])]
    assert "1 of 2 domains" in found


def test_a_file_that_another_made(mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root's lock of a call that was killed before it gave it to the domain's owner."""
    lock = mail.path / "domains/example.com/.vpasswd.lock"
    lock.chmod(0o600)
    before = os.lstat
    owner = {"uid": OTHER, "gid": OTHER}

    def lstat(path: Any, **options: Any) -> os.stat_result:
        fields = list(before(path, **options))
        if str(path) == str(lock):
            fields[4:6] = owner["uid"], owner["gid"]
        return os.stat_result(fields)

    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    cure = f"chown -h {mail.uid}:{mail.gid} {lock}"
    for group in ("users", "passwords", "quota"):
        found = doctor.examine([group])
        assert warned(found)[str(lock)] == cure
        assert [f.state for f in found if f.subject == "1 of 2 domains"] == ["ok"]
    owner["gid"] = mail.gid
    assert str(lock) in warned(doctor.examine(["users"]))
    lock.chmod(0o660)
    assert str(lock) not in warned(doctor.examine(["users"]))
    owner["gid"] = OTHER
    assert str(lock) in warned(doctor.examine(["users"]))
    owner["uid"] = mail.uid
    assert str(lock) not in warned(doctor.examine(["users"]))
    # The owner may not open it himself.
    monkeypatch.setattr(os, "geteuid", lambda: mail.uid)
    monkeypatch.setattr(os, "access", lambda path, mode, **options: str(path) != str(lock))
    (missing,) = (f for f in doctor.examine(["users"]) if f.state == "missing")
    assert (missing.subject, missing.cure) == (str(lock), cure)


def test_rights_for_authentication(mail: Home, denied: set[str]) -> None:
    assert lacking("authentication") == dict.fromkeys(
        ("example.com", "example.org"), f"only root and uid {mail.uid} find users"
    )


def test_users_in_a_database(mail: Home, denied: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    site = replace(vpopmail_ext.info(), auth_module="mysql")
    monkeypatch.setattr(doctor, "info", lambda: site)
    assert lacking("authentication", "passwords", "users", "quota") == {}
    directory = str(mail.path / "domains/example.com")
    denied |= {directory, f"{directory}/vpasswd.cdb"}
    assert lacking("authentication", "passwords") == {}
    assert lacking("users") == lacking("quota") == {directory: "may not be written to"}

    def refused(*arguments: object) -> bytes:
        raise errors.NoConnection(-23, "no authentication database connection")

    monkeypatch.setattr(calls, "fetch", refused)
    found = next(f for f in doctor.examine(["authentication"]) if f.state == "missing")
    assert found.subject == "the mysql database"
    assert found.detail == "no authentication database connection"
    assert f"{mail.path}/etc/vpopmail.mysql" in found.cure


@bundled_alone("it is taken for an empty one")
def test_an_assign_that_can_t_be_read(mail: Home) -> None:
    (mail.qmail / "users/assign").unlink()
    (mail.qmail / "users/assign").mkdir()
    assert lacking("users") == {"the domains": "can't read users/assign file"}


def test_programs(mail: Home, denied: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {tool: str(mail.path / "bin" / tool) for tool in doctor.TOOLS}
    assert lacking("_ex") == dict.fromkeys(
        tools.values(), "is not setuid root, and we are not root"
    )
    denied.add(tools["vadddomain"])
    os.unlink(tools["vdeldomain"])
    assert lacking("_ex") == {
        tools["vadddomain"]: "may not be run",
        tools["vdeldomain"]: "No such file or directory",
        tools["vaddaliasdomain"]: "is not setuid root, and we are not root",
    }
    # Those of the package serve root, who needs no setuid.
    ours = replace(vpopmail_ext.info(), vdeldomain=tools["vaddaliasdomain"])
    monkeypatch.setattr(doctor, "info", lambda: ours)
    assert tools["vdeldomain"] in lacking("_ex")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert lacking("_ex") == {tools["vadddomain"]: "may not be run"}


# --- the right to signal qmail-send ---------------------------------------------------------------


@pytest.fixture
def qmail_send(mail: Home) -> Iterator[Callable[[], int]]:
    """Start a process that runs QMAIL/bin/qmail-send."""
    started: list[subprocess.Popen[bytes]] = []
    with own_programs(mail.qmail) as programs:
        program = programs / "qmail-send"
        shutil.copy(shutil.which("sleep") or "", program)

        def start() -> int:
            started.append(subprocess.Popen([program, "1000"]))
            while not processes.running(str(program)):
                time.sleep(0.01)
            return started[-1].pid

        yield start
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.wait()


def test_signalling_qmail_send(
    mail: Home, qmail_send: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = str(mail.qmail / "bin/qmail-send")

    def found() -> dict[str, str]:
        return {finding.subject: finding.detail for finding in doctor.examine(["domains"])}

    assert found()[program].startswith("is not running")
    pid = qmail_send()
    assert found()[program] == "may be signalled"

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert lacking("domains")[f"process {pid}"].endswith(
        "it reads new domains at its next start only"
    )


def test_processes_of_a_program(
    mail: Home, qmail_send: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = mail.qmail / "bin/qmail-send"
    pid = qmail_send()
    assert processes.running(str(program)) == [pid]
    assert processes.running("/nowhere/qmail-send") == []
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_all", lambda: iter([2**30]))  # it ended meanwhile
        assert processes.running(str(program)) == []
    program.unlink()
    program.write_text("")
    assert processes.running(str(program)) == [pid]  # replaced while it runs

    def hidden(path: str) -> str:
        raise PermissionError

    monkeypatch.setattr(os, "readlink", hidden)
    assert processes.running(str(program)) == [pid]  # by its name, where it is another user's
    assert processes.owners(["qmail-send"]) == {"qmail-send": {os.geteuid()}}
    monkeypatch.setattr(processes, "_all", lambda: iter([2**30]))
    assert processes.running(str(program)) == []
    assert processes.owners(["qmail-send"]) == {}
    monkeypatch.setattr(processes, "_name", lambda pid: "qmail-send")
    assert processes.owners(["qmail-send"]) == {}


# --- what is insecure -----------------------------------------------------------------------------


def entry(name: str, uid: int, shell: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", "/", shell))


def test_programs_that_are_open_to_all(mail: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [entry(f"user{n}", 1000 + n, "/bin/bash") for n in range(7)]
    system = [entry("root", 0, "/bin/sh"), entry("ftp", 1200, "/usr/sbin/nologin")]
    monkeypatch.setattr(pwd, "getpwall", lambda: system + people)
    before = os.stat

    def opened(path: Any, **options: Any) -> os.stat_result:
        """As if all directories were open, and root's."""
        status = list(before(path, **options))
        status[0] |= 0o001
        status[4] = 0
        return os.stat_result(status)

    monkeypatch.setattr(os, "stat", opened)
    assert warned(doctor.examine([])).keys().isdisjoint({"7 users with a shell"})
    tool = mail.path / "bin/vadddomain"
    tool.chmod(0o4755)
    cure = f"chmod 700 {mail.path}/bin"
    found = doctor.examine([])
    assert warned(found)[str(tool)] == cure
    assert warned(found)["7 users with a shell"] == cure
    (shells,) = (f.detail for f in found if f.subject.endswith("with a shell"))
    assert shells.endswith("user0, user1, user2, user3, user4, …")
    monkeypatch.setattr(pwd, "getpwall", lambda: people[:1])
    assert "1 users with a shell" in warned(doctor.examine([]))
    monkeypatch.setattr(pwd, "getpwall", lambda: system)
    assert set(warned(doctor.examine([]))) & {"0 users with a shell"} == set()


def test_a_web_server_as_root(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "owners", lambda names: {"nginx": {0, 33}, "httpd": {0}})
    found = warned(doctor.examine([]))
    assert "httpd" in found
    assert "nginx" not in found


# --- what the API makes of it ---------------------------------------------------------------------


def test_a_failure_for_want_of_rights_is_told_as_such(mail: Home, denied: set[str]) -> None:
    directory = str(mail.path / "domains/example.com")
    (mail.path / "domains/example.com/vpasswd").unlink()
    (mail.path / "domains/example.com/vpasswd").mkdir()
    with pytest.raises(errors.StorageFailed):
        api.set_flags("alice", "example.com", 0)
    denied.add(directory)
    with pytest.raises(errors.NotPermitted) as caught:
        api.set_flags("alice", "example.com", 0)
    assert caught.value.name == "VA_COULD_NOT_UPDATE_FILE"
    assert str(caught.value) == (
        f"Could not update file: alice@example.com: {directory} may not be written to; "
        f"sudo -u '#{mail.uid}' -g '#{mail.gid}' COMMAND"
    )
    with pytest.raises(errors.NotPermitted):
        api.aliases("example.com")
    with pytest.raises(errors.NotPermitted):
        api.delete_alias("info", "example.com")


def test_domains_for_want_of_rights(mail: Home, denied: set[str]) -> None:
    (mail.qmail / "users/assign.lock").unlink()
    (mail.qmail / "users/assign.lock").mkdir()
    with pytest.raises(errors.StorageFailed):
        api.add_domain("new.com")
    denied.add(str(mail.qmail / "users/assign.lock"))
    with pytest.raises(errors.NotPermitted, match="may not be read and written"):
        api.add_domain("new.com")


def as_nobody(mail: Home, script: str) -> str:
    """Run a script as another user and return what it prints."""
    if os.geteuid() != 0 or mail.uid == 0:
        pytest.skip("needs root and another user")
    open_to_all(mail.path)
    setup = (
        "import os, vpopmail_ext\nfrom vpopmail_ext import api, doctor, errors\n"
        f"vpopmail_ext.configure(home={str(mail.path)!r}, qmail={str(mail.qmail)!r})\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", setup + script], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_what_another_user_lacks(mail: Home) -> None:
    out = as_nobody(
        mail,
        "for f in doctor.examine(doctor.GROUPS, ['example.com']):\n"
        "    if f.state == 'missing': print(f.group, f.subject, f.detail, sep='|')\n",
    )
    found = [line.split("|") for line in out.splitlines()]
    assert {group for group, _, _ in found} == set(doctor.GROUPS)
    assert ["domains", str(mail.qmail / "users"), "may not be written to"] in found
    assert ["users", str(mail.path / "domains/example.com"), "Permission denied"] in found


def test_what_the_api_tells_another_user(mail: Home) -> None:
    out = as_nobody(
        mail,
        """
calls = {
    "add_domain": lambda: api.add_domain("new.com"),
    "delete_domain": lambda: api.delete_domain("example.com"),
    "users": lambda: api.users("example.com"),
    "user": lambda: api.user("alice", "example.com"),
    "add_user": lambda: api.add_user("bob", "example.com", "s3cret-PW"),
    "delete_user": lambda: api.delete_user("alice", "example.com"),
    "set_password": lambda: api.set_password("alice", "example.com", "s3cret-PW"),
    "set_quota": lambda: api.set_quota("alice", "example.com", None),
    "set_flags": lambda: api.set_flags("alice", "example.com", 0),
    "limits": lambda: api.limits("example.com"),
    "set_limits": lambda: api.set_limits("example.com", api.Limits()),
    "aliases": lambda: api.aliases("example.com"),
    "alias": lambda: api.alias("info", "example.com"),
    "add_alias": lambda: api.add_alias("info", "example.com", "a"),
    "set_alias": lambda: api.set_alias("info", "example.com", ["a"]),
    "remove_alias_line": lambda: api.remove_alias_line("info", "example.com", "a"),
    "delete_alias": lambda: api.delete_alias("info", "example.com"),
    "rebuild": lambda: api.rebuild("example.com"),
}
for name, call in calls.items():
    try:
        call()
    except errors.NotPermitted:
        continue
    except errors.VpopmailError as error:
        print(name, repr(error))
    else:
        print(name, "succeeded")
""",
    )
    assert out == ""
