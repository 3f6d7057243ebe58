"""The examples that are to be copied, each behind a real client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import smtplib
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home
from vpopmail_ext import api

TOP = Path(__file__).parents[2]
PASSWORD = "s3cret PW: ü"
MISSING = "what the example is for is not installed: run make test-integration"


def example(name: str, needs: str) -> Any:
    """Import an example; skip where what it is for is not installed."""
    pytest.importorskip(needs, reason=MISSING)
    sys.path.insert(0, str(TOP / "examples"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.fixture
def mail(home: Home) -> Home:
    """An installation with the domain example.com, its alias example.net, alice and bob."""
    api.add_domain("example.com")
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", PASSWORD, gecos="Alice A.")
    api.add_user("bob", "example.com", PASSWORD)
    api.set_flags("bob", "example.com", api.UserFlags.NO_WEBMAIL | api.UserFlags.NO_SMTP)
    return home


WRONG = (
    ("alice@example.com", "guess"),
    ("alice@example.com", ""),
    ("nobody@example.com", PASSWORD),
    ("alice@nowhere.com", PASSWORD),
    ("alice", PASSWORD),
    ("bob@example.com", PASSWORD),
    ("", ""),
)


def break_look_ups(home: Home) -> None:
    (home.path / "domains/example.com/vpasswd.cdb").write_bytes(b"\xff" * 3000)


# --- FastAPI --------------------------------------------------------------------------------------


def test_fastapi_basic_auth(mail: Home, caplog: pytest.LogCaptureFixture) -> None:
    module = example("fastapi_basic_auth", "fastapi")
    from fastapi.testclient import TestClient

    client = TestClient(module.app)

    def get(name: str, password: str) -> Any:
        given = base64.b64encode(f"{name}:{password}".encode()).decode()
        return client.get("/me", headers={"Authorization": f"Basic {given}"})

    for name in ("alice@example.com", "Alice@Example.NET"):
        answer = get(name, PASSWORD)
        assert answer.status_code == 200
        assert answer.json() == {"address": "alice@example.com", "name": "Alice A.", "used": 0}
    for name, password in WRONG:
        answer = get(name, password)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="mail", charset="UTF-8"'
    alice = base64.b64encode(b"alice@example.com").decode()
    for header in ("", "Basic", "Basic x", f"Basic {alice}", "Basic /w==", f"Bearer {alice}"):
        assert client.get("/me", headers={"Authorization": header}).status_code == 401
    assert client.get("/me").status_code == 401

    break_look_ups(mail)
    assert get("alice@example.com", PASSWORD).status_code == 503
    assert "sign-ins can't be looked up" in caplog.text
    assert PASSWORD not in caplog.text


# --- aiosmtpd -------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(make: Any) -> Iterator[int]:
    """Serve on a port of the loopback interface, with an event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        starting = loop.create_server(make, "127.0.0.1", 0)
        listening = asyncio.run_coroutine_threadsafe(starting, loop).result()
        yield listening.sockets[0].getsockname()[1]

        async def stop() -> None:
            listening.close()
            await loop.shutdown_default_executor()

        asyncio.run_coroutine_threadsafe(stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return certificate, key


def test_aiosmtpd_auth(
    mail: Home, certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    module = example("aiosmtpd_auth", "aiosmtpd")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    client_tls = ssl.create_default_context(cafile=str(certificate[0]))

    with serving(lambda: module.server(tls)) as port:

        @contextlib.contextmanager
        def connection() -> Iterator[smtplib.SMTP]:
            with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as smtp:
                smtp._host = "localhost"  # type: ignore[attr-defined]  # the certificate's name
                smtp.starttls(context=client_tls)
                smtp.ehlo()
                yield smtp

        def log_in(smtp: smtplib.SMTP, mechanism: str, name: str, password: str) -> int:
            smtp.user, smtp.password = name, password  # type: ignore[attr-defined]
            method = {"PLAIN": smtp.auth_plain, "LOGIN": smtp.auth_login}[mechanism]
            try:
                return smtp.auth(mechanism, encoded(method))[0]
            except smtplib.SMTPAuthenticationError as error:
                return error.smtp_code

        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.ehlo()
            assert not smtp.has_extn("auth")
            assert smtp.docmd("AUTH", "PLAIN AGEAYg==")[0] in (530, 538)
        for mechanism in ("PLAIN", "LOGIN"):
            with connection() as smtp:
                assert sorted(smtp.esmtp_features["auth"].split()) == ["LOGIN", "PLAIN"]
                assert smtp.mail("alice@example.com")[0] == 530
                assert log_in(smtp, mechanism, "Alice@Example.NET", PASSWORD) == 235
                assert smtp.mail("bob@example.com")[0] == 553
                refused = smtp.sendmail(
                    "alice@example.com", ["bob@example.org"], b"Subject: hello\r\n\r\nWorld\r\n"
                )
                assert refused == {}
            for name, password in WRONG:
                with connection() as smtp:
                    assert log_in(smtp, mechanism, name, password) == 535
                    assert smtp.mail(name or "x@example.com")[0] == 530
        with connection() as smtp:
            assert smtp.docmd("AUTH", "PLAIN !")[0] == 501
            for _ in range(2):
                assert log_in(smtp, "PLAIN", "alice@example.com", "guess") == 535
            assert log_in(smtp, "PLAIN", "alice@example.com", PASSWORD) == 421  # a fourth attempt
        noted = api.last_auth(api.user("alice", "example.com"))
        assert noted is not None
        assert noted.address == "127.0.0.1"
        break_look_ups(mail)
        with connection() as smtp:
            assert log_in(smtp, "PLAIN", "alice@example.com", PASSWORD) == 454
    assert "World" in capsys.readouterr().out


def encoded(method: Any) -> Any:
    """Let smtplib send what is not ASCII."""
    return lambda challenge=None: _Utf8(method(challenge))


class _Utf8(str):
    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", errors)


# --- Django ---------------------------------------------------------------------------------------

SITE = """
import os, sys
from pathlib import Path
import django
from django.conf import settings
from django.test.utils import get_runner
import vpopmail_ext

vpopmail_ext.configure(*sys.argv[1:3])
settings.configure(
    AUTHENTICATION_BACKENDS=["django_vpopmail.VpopmailBackend"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions")],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF="tests.integration.django_site",
    SECRET_KEY="for this test",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()
sys.exit(bool(get_runner(settings)().run_tests(["tests.integration.django_site"])))
"""


def test_django_vpopmail(mail: Home) -> None:
    """Django's own test runner runs django_site.py in a process of its own."""
    pytest.importorskip("django", reason=MISSING)
    path = [str(TOP), str(TOP / "examples")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SITE, mail.path, mail.qmail],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout
    assert "Ran 4 tests" in done.stdout
