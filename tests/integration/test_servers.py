"""The configurations that docs/migrating.md tells: the panel as vpopmail, behind real servers."""

from __future__ import annotations

import configparser
import http.client
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home, open_to_all
from vpopmail_ext import api

TOP = Path(__file__).parents[2]
PANEL = TOP / "examples/panel"
SITE = next(Path(path) for path in sys.path if path.endswith("site-packages"))
PYTHON = "/usr/bin/python3"
PASSWORD = "s3cret PW: ü"
MODULES = Path("/usr/lib/apache2/modules")

pytest.importorskip("flask_wtf", reason="run make test-integration")
pytestmark = pytest.mark.skipif(
    os.environ.get("VPOPMAIL_TEST_ROOT") != "root", reason="only root starts servers as others"
)


def needs(*paths: str) -> None:
    """Skip where a program is not installed, or is for another Python."""
    for path in paths:
        if not Path(path).exists():
            pytest.skip(f"{path} is not there: run make test-integration")
    if not all(directory.stat().st_mode & 0o001 for directory in (TOP, *TOP.parents)):
        pytest.skip(f"{TOP} is where vpopmail's user may not go")
    ours = f"Python {sys.version_info.major}.{sys.version_info.minor}."
    if not subprocess.check_output([PYTHON, "--version"], text=True).startswith(ours):
        pytest.skip(f"{PYTHON}, which vpopmail's user can run, is another than this one")


def told(kind: str, *changes: tuple[str, object]) -> list[str]:
    """Return the document's blocks of a kind, changed to what is here."""
    text = (TOP / "docs/migrating.md").read_text()
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", text, re.M | re.S)
    for there, here in changes:
        assert there in "".join(blocks)
        blocks = [block.replace(there, str(here)) for block in blocks]
    return blocks


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Path:
    """A directory for a server, with the panel's secret; the domain example.com."""
    api.add_domain("example.com")
    api.add_user("postmaster", "example.com", PASSWORD)
    (tmp_path / "secret").write_text(secrets.token_hex())
    os.chown(tmp_path / "secret", home.uid, home.gid)
    (tmp_path / "secret").chmod(0o400)
    open_to_all(tmp_path)
    return tmp_path


def environment(home: Home, place: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PANEL_SECRET_FILE": str(place / "secret"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{TOP}:{SITE}",
        "VPOPMAIL_HOME": str(home.path),
        "QMAIL_HOME": str(home.qmail),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[Any], log: Path, **options: Any) -> Iterator[None]:
    """Run a server until the end of the block."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        yield
        assert server.poll() is None, log.read_text()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


class Visitor:
    """A browser as far as it matters here: one cookie, and the token of the last page."""

    def __init__(self, connect: Any, log: Path) -> None:
        self.connect, self.log = connect, log
        self.cookie = self.token = ""

    def ask(self, method: str, path: str, **fields: str) -> tuple[int, str, str]:
        """Return an answer's status, its Location and its text."""
        body = urllib.parse.urlencode({"csrf_token": self.token} | fields) if fields else None
        headers = {"Cookie": self.cookie, "Host": "localhost", "Referer": "https://localhost/"}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        deadline = time.monotonic() + 60
        while True:  # until the server has begun to listen
            try:
                connection = self.connect()
                connection.request(method, path, body, headers)
                break
            except OSError:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.cookie = (answer.getheader("Set-Cookie") or self.cookie).partition(";")[0]
        found = re.search(r'csrf_token" value="([^"]+)', text)
        self.token = found[1] if found else self.token
        return answer.status, answer.getheader("Location") or "", text

    def add_a_user(self, home: Home) -> None:
        """Sign in, add bob; the files are vpopmail's."""
        status, _, text = self.ask("GET", "/sign-in")
        assert status == 200, self.log.read_text()
        given = {"address": "postmaster@example.com", "password": PASSWORD}
        assert self.ask("POST", "/sign-in", **given)[:2] == (303, "/"), self.log.read_text()
        status, _, text = self.ask("GET", "/")
        assert (status, "postmaster@example.com" in text) == (200, True)
        assert self.ask("POST", "/users", name="bob", gecos="", password=PASSWORD)[0] == 303
        assert "bob@example.com was added." in self.ask("GET", "/")[2]
        bob = Path(api.user("bob", "example.com").directory)
        for path in (bob, bob / "Maildir", bob.parent / "vpasswd"):
            assert (path.stat().st_uid, path.stat().st_gid) == (home.uid, home.gid)
        assert PASSWORD not in self.log.read_text()


def certificate(place: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    files = ["-keyout", place / "key", "-out", place / "certificate"]
    subprocess.run([*command, *files], check=True, capture_output=True)


def test_gunicorn_behind_nginx(home: Home, place: Path) -> None:
    needs("/usr/sbin/nginx", PYTHON)
    pytest.importorskip("gunicorn", reason="run make test-integration")
    path, port = place / "panel.sock", free_port()
    changes = (
        ("/run/panel.sock", path),
        ("/opt/panel/venv/bin/gunicorn", f"{PYTHON} -m gunicorn"),
        ("/opt/panel", PANEL),
        ("/etc/panel.secret", place / "secret"),
    )
    units = configparser.ConfigParser(interpolation=None)
    units.optionxform = str  # type: ignore[assignment, method-assign]
    for block in told("ini", *changes):
        units.read_string(block)
    service = units["Service"]

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(units["Socket"]["ListenStream"])
    os.chown(path, 65534, -1)  # www-data's there
    path.chmod(int(units["Socket"]["SocketMode"], 8))
    listening.listen()
    # As systemd: it is descriptor 3.
    script = f'exec 3<&{listening.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
    told_environment = dict(word.split("=", 1) for word in service["Environment"].split())
    certificate(place)
    (site,) = told(
        "nginx",
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/panel.pem", place / "certificate"),
        ("/etc/ssl/private/panel.key", place / "key"),
        ("/run/panel.sock", path),
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    elsewhere = "".join(f"{kind}_temp_path {place}/{kind};\n" for kind in kinds)
    (place / "nginx.conf").write_text(
        f"user nobody nogroup; pid {place}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log {place}/access; {elsewhere} {site} }}\n"
    )
    context = ssl.create_default_context(cafile=place / "certificate")
    context.check_hostname = False
    gunicorn = ["bash", "-c", script, "bash", *shlex.split(service["ExecStart"])]
    as_told = {
        "user": service["User"],
        "group": service["Group"],
        "extra_groups": [],
        "umask": int(service["UMask"], 8),
        "cwd": service["WorkingDirectory"],
        "env": environment(home, place) | told_environment,
        "pass_fds": [listening.fileno()],
    }
    nginx = ["/usr/sbin/nginx", "-p", place, "-c", place / "nginx.conf", "-g", "daemon off;"]
    with (
        running(gunicorn, place / "gunicorn.log", **as_told),
        running(nginx, place / "nginx.log"),
    ):
        visitor = Visitor(
            lambda: http.client.HTTPSConnection("localhost", port, context=context),
            place / "gunicorn.log",
        )
        visitor.add_a_user(home)
        # So many in a minute, and no more.
        assert any(visitor.ask("GET", "/sign-in")[0] == 503 for _ in range(100))
        assert visitor.ask("GET", "/")[0] == 200
    listening.close()
    assert not list(home.path.glob(".*"))  # it is vpopmail's HOME: nothing was left in it


def test_mod_wsgi(home: Home, place: Path) -> None:
    needs("/usr/sbin/apache2", str(MODULES / "mod_wsgi.so"))
    port = free_port()
    _, block = told(
        "apache",
        ("python-home=/opt/panel/venv python-path=/opt/panel", f"python-path={PANEL}:{TOP}:{SITE}"),
        ("/opt/panel", PANEL),
    )
    modules = ("mpm_event", "authz_core", "wsgi")
    loaded = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in modules)
    (place / "apache.conf").write_text(
        f"{loaded}User nobody\nGroup nogroup\nServerName localhost\nListen 127.0.0.1:{port}\n"
        f"PidFile {place}/pid\nErrorLog {place}/errors\nWSGISocketPrefix {place}/wsgi\n{block}"
    )
    apache = ["/usr/sbin/apache2", "-d", place, "-f", place / "apache.conf", "-DFOREGROUND"]
    with running(apache, place / "apache.log", env=environment(home, place)):
        visitor = Visitor(lambda: http.client.HTTPConnection("localhost", port), place / "errors")
        visitor.add_a_user(home)


def test_cgi(home: Home, place: Path) -> None:
    needs("/usr/sbin/apache2", "/usr/lib/apache2/suexec")
    block, _ = told("apache", ("/var/www/panel", PANEL))
    modules = ("mpm_event", "authz_core", "alias", "cgid", "suexec")
    loaded = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in modules)
    (place / "apache.conf").write_text(
        f"{loaded}ServerName localhost\nListen 127.0.0.1:1\nErrorLog {place}/errors\n{block}"
    )
    subprocess.run(["/usr/sbin/apache2", "-t", "-f", place / "apache.conf"], check=True)

    program = (PANEL / "panel.cgi").read_text()
    for there, here in (
        ("/etc/panel.secret", place / "secret"),
        ('"/opt/panel"', repr(str(PANEL))),
    ):
        assert there in program
        program = program.replace(there, str(here))
    (place / "panel.cgi").write_text(program)
    asked = {
        **{"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/sign-in", "QUERY_STRING": ""},
        **{"SERVER_NAME": "localhost", "SERVER_PORT": "443", "SERVER_PROTOCOL": "HTTP/1.1"},
        "HTTPS": "on",
    }
    known = environment(home, place)
    del known["PANEL_SECRET_FILE"]
    done = subprocess.run(
        [PYTHON, place / "panel.cgi"],
        **{"user": "vpopmail", "group": "vchkpw", "env": known | asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Status: 200 OK")
    assert "<h1>Sign in</h1>" in done.stdout


def test_sudoers(place: Path) -> None:
    if not shutil.which("visudo"):
        pytest.skip("visudo is not there: run make test-integration")
    (rules,) = told("sudoers")
    (place / "sudoers").write_text(rules)
    (place / "sudoers").chmod(0o440)
    subprocess.run(["visudo", "--strict", "--check", "--file", place / "sudoers"], check=True)
