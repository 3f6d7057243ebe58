"""Sign-ins over IMAP and POP3 at Dovecot, which asks ``vpopmail-ext checkpassword``."""

from __future__ import annotations

import getpass
import grp
import imaplib
import os
import poplib
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Home, open_to_all
from vpopmail_ext import api

TOP = Path(__file__).parents[2]
DOCUMENT = TOP / "docs/commands/checkpassword.md"
PASSWORD = "s3cret PW'\"\\"
MESSAGE = b"Subject: hello\r\n\r\nWorld\r\n"

pytestmark = pytest.mark.skipif(
    not shutil.which("dovecot"), reason="dovecot is not installed: run make test-integration"
)


class Ids(NamedTuple):
    """Who is what: users by name, the owner of the mail by its ids."""

    uid: int
    gid: int
    internal: str
    login: str
    auth: str


class Server(NamedTuple):
    """A running Dovecot."""

    imap: int
    pop3: int
    who: Ids
    config: Path
    log: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def checkpassword(home: Home, directory: Path) -> Path:
    """Make the program that Dovecot runs, which empties the environment before."""
    program = directory / "checkpassword"
    command = shlex.join([sys.executable, "-m", "vpopmail_ext", "checkpassword", "--dovecot"])
    program.write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH={TOP} VPOPMAIL_HOME={home.path} QMAIL_HOME={home.qmail}\n"
        f'exec {command} "$@"\n'
    )
    program.chmod(0o755)
    return program


def ids(home: Home, program: Path) -> Ids:
    """As root Dovecot gives each part a user of its own; else all of it is our own user's."""
    own = getpass.getuser()
    if os.geteuid() != 0:
        return Ids(home.uid, home.gid, own, own, own)
    known = {entry.pw_name for entry in pwd.getpwall()}
    (internal,) = {"vpopmail", "dovecot"} & known or {"daemon"}
    # vpopmail's own user, where Python is installed for others than root too.
    done = subprocess.run([program], user=89, group=89, stdin=subprocess.DEVNULL, check=False)
    runs = "vpopmail" in known and done.returncode == 2  # misused, but run
    return Ids(89, 89, internal, "nobody", "vpopmail" if runs else "root")


def group_of(user: str) -> str:
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def configuration(directory: Path, ports: tuple[int, int], who: Ids, program: Path) -> str:
    """Return the configuration that the document tells, in a directory and on ports of its own."""
    (told,) = re.findall(r"^```dovecot\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    for there, here in (
        ("first_valid_uid = 89", f"first_valid_uid = {who.uid}"),
        ("user = vpopmail", f"user = {who.auth}"),
        ("/usr/local/bin/vpopmail-ext checkpassword --dovecot", str(program)),
    ):
        assert there in told
        told = told.replace(there, here)
    return f"""
{told}
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {who.internal}
default_internal_group = {group_of(who.internal)}
default_login_user = {who.login}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports[0]}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {ports[1]}
  }}
}}
# No waiting after a wrong password.
auth_failure_delay = 0
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


@pytest.fixture
def dovecot(home: Home, tmp_path: Path) -> Iterator[Server]:
    """Start Dovecot over an installation with alice, whose mail is the owner's of the domain."""
    open_to_all(tmp_path)
    directory = tmp_path / "dovecot"
    directory.mkdir(mode=0o755)
    program = checkpassword(home, directory)
    who = ids(home, program)
    os.chown(home.path / "domains", who.uid, who.gid)
    api.add_domain("example.com", uid=who.uid, gid=who.gid)
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", PASSWORD)
    new = Path(api.user("alice", "example.com").directory) / "Maildir/new/1.example"
    new.write_bytes(MESSAGE.replace(b"\r", b""))
    os.chown(new, who.uid, who.gid)
    ports = free_port(), free_port()
    config = directory / "dovecot.conf"
    config.write_text(configuration(directory, ports, who, program))
    process = subprocess.Popen(["dovecot", "-F", "-c", config])
    server = Server(*ports, who, config, directory / "log")
    try:
        wait_for(process, server)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def wait_for(process: subprocess.Popen[bytes], server: Server) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.pop3)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, server.log.read_text()
            time.sleep(0.02)
    raise AssertionError(server.log.read_text())


def fetch_by_imap(server: Server, name: str, password: str) -> bytes:
    with imaplib.IMAP4("127.0.0.1", server.imap) as imap:
        imap.login(name, password)
        assert imap.select("INBOX") == ("OK", [b"1"])
        ((_, message), _) = imap.fetch("1", "(BODY[])")[1]
        return bytes(message)


def fetch_by_pop3(server: Server, name: str, password: str) -> bytes:
    pop3 = poplib.POP3("127.0.0.1", server.pop3)
    try:
        pop3.user(name)
        pop3.pass_(password)
        return b"".join(line + b"\r\n" for line in pop3.retr(1)[1])
    finally:
        pop3.quit()


def test_sign_ins(dovecot: Server) -> None:
    alice = api.user("alice", "example.com")
    for name in ("alice@example.com", "Alice@Example.NET"):
        assert fetch_by_imap(dovecot, name, PASSWORD) == MESSAGE
        assert fetch_by_pop3(dovecot, name, PASSWORD) == MESSAGE
    last = api.last_auth(alice)
    assert last is not None
    assert last.address == "127.0.0.1"

    for name, password in (
        ("alice@example.com", "guess"),
        ("alice@example.com", ""),
        ("nobody@example.com", PASSWORD),
        ("alice@nowhere.com", PASSWORD),
    ):
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            fetch_by_imap(dovecot, name, password)
    with pytest.raises(poplib.error_proto, match="Authentication failed"):
        fetch_by_pop3(dovecot, "alice@example.com", "guess")

    api.set_flags("alice", "example.com", api.UserFlags.NO_POP)
    with pytest.raises(poplib.error_proto, match="Authentication failed"):
        fetch_by_pop3(dovecot, "alice@example.com", PASSWORD)
    assert fetch_by_imap(dovecot, "alice@example.com", PASSWORD) == MESSAGE
    assert PASSWORD not in dovecot.log.read_text()


def test_what_cannot_be_looked_up_is_no_wrong_password(dovecot: Server) -> None:
    cdb = Path(api.domain("example.com").directory) / "vpasswd.cdb"
    cdb.write_bytes(b"\xff" * 3000)
    with pytest.raises(imaplib.IMAP4.error, match="Temporary authentication failure"):
        fetch_by_imap(dovecot, "alice@example.com", PASSWORD)


def test_look_ups_without_a_password(dovecot: Server) -> None:
    def look_up(name: str) -> subprocess.CompletedProcess[str]:
        command = ["doveadm", "-c", dovecot.config, "user", name]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    found = dict(line.split("\t") for line in look_up("Alice@example.net").stdout.splitlines()[1:])
    assert found["uid"] == str(dovecot.who.uid)
    assert found["gid"] == str(dovecot.who.gid)
    assert found["home"] == api.user("alice", "example.com").directory
    assert look_up("nobody@example.com").returncode == 67  # no such user
