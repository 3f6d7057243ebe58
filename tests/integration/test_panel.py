"""The Flask panel of examples/panel, in a headless Chromium and by requests of its own making."""

from __future__ import annotations

import importlib
import logging
import re
import secrets
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home
from vpopmail_ext import api, vpopmail_auth_user

TOP = Path(__file__).parents[2]
PASSWORD = "s3cret PW: ü"
MISSING = "what the panel needs is not installed: run make test-integration"

pytest.importorskip("flask_wtf", reason=MISSING)


@pytest.fixture
def mail(home: Home) -> Home:
    """An installation with two domains, their postmasters, and a user of each."""
    for domain in ("example.com", "other.example"):
        api.add_domain(domain)
        api.add_user("postmaster", domain, PASSWORD)
        api.add_user("alice", domain, PASSWORD, gecos="Alice <A> & 'B'")
    return home


@pytest.fixture
def app(mail: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "secret").write_text(secrets.token_hex())
    monkeypatch.setenv("PANEL_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.syspath_prepend(str(TOP / "examples/panel"))
    yield importlib.import_module("panel").create_app()
    del sys.modules["panel"]


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    """Serve the panel as it is; tell where."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason=MISSING)
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(MISSING)
    monkeypatch.setenv("HOME", str(tmp_path))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path}/chromium")
    options.add_argument("--window-size=900,1000")
    made = webdriver.Chrome(options, webdriver.ChromeService(driver))
    made.implicitly_wait(20)
    yield made
    made.quit()


class Page:
    """What a person does in the panel."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def fill(self, form: str, **values: str) -> None:
        """Fill in the form that goes to an address ending in `form`, and send it."""
        for name, value in values.items():
            field = self.find(f"form[action$='{form}'] [name={name}]")
            field.clear()
            field.send_keys(value)
        self.press(f"form[action$='{form}'] button")

    def press(self, selector: str) -> None:
        before = self.find("html")
        self.find(selector).click()
        wait = importlib.import_module("selenium.webdriver.support.ui").WebDriverWait
        expected = importlib.import_module("selenium.webdriver.support.expected_conditions")
        # Asked in the moment in which the page goes, the driver may know no other word than this.
        error = importlib.import_module("selenium.common.exceptions").WebDriverException
        wait(self.browser, 20, ignored_exceptions=[error]).until(expected.staleness_of(before))

    def sign_in(self, address: str, password: str) -> None:
        self.browser.get(self.address)
        self.find("[name=address]").send_keys(address)
        self.find("[name=password]").send_keys(password)
        self.press("form button")

    @property
    def said(self) -> str:
        return str(self.find("[role=status]").text)

    @property
    def title(self) -> str:
        return str(self.find("h1").text)

    def screenshot(self, name: str) -> None:
        """Keep a picture where the tests are told to (none by default)."""
        import os

        if directory := os.environ.get("VPOPMAIL_TEST_SCREENSHOTS"):
            Path(directory).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(f"{directory}/{name}.png")


def test_a_postmaster_s_day(browser: Any, address: str, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("panel", "werkzeug", "vpopmail_ext"):
        caplog.set_level(logging.DEBUG, name)
    page = Page(browser, address)
    page.sign_in("postmaster@example.com", "guess")
    assert "no such postmaster" in page.said
    page.sign_in("alice@example.com", PASSWORD)
    assert "no such postmaster" in page.said
    page.screenshot("sign-in")
    page.sign_in("postmaster@example.com", PASSWORD)
    assert page.title == "Users"
    (cookie,) = browser.get_cookies()
    assert cookie["name"] == "__Host-panel"
    assert cookie["secure"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"

    page.fill("/users", name="Bob", gecos="Bob <b>B.</b>", password="b0b's-PW")
    assert page.said == "bob@example.com was added."
    page.screenshot("users")
    assert "Bob <b>B.</b>" in page.find("table").text
    assert "Alice <A> & 'B'" in page.find("table").text
    assert vpopmail_auth_user("bob", "example.com", "b0b's-PW")
    page.fill("/users", name="bob", gecos="", password="b0b's-PW")
    assert page.said == "Username exists."

    page.press("a[href$='/users/bob']")
    assert page.title == "bob@example.com"
    page.fill("/password", password="n3w PW & <ü>")
    assert page.said == "bob@example.com has a new password."
    assert vpopmail_auth_user("bob", "example.com", "n3w PW & <ü>")
    assert not vpopmail_auth_user("bob", "example.com", "b0b's-PW")
    page.fill("/quota", quota="100M,5000C")
    assert str(api.user("bob", "example.com").quota) == "104857600S,5000C"
    assert page.find("[name=quota]").get_attribute("value") == "100M,5000C"
    page.screenshot("user")
    page.fill("/quota", quota="much")
    assert "Not a quota" in page.said

    page.press("nav a[href$='/aliases']")
    page.fill("/aliases", name="info", address="bob@example.com")
    page.fill("/aliases", name="info", address="alice@elsewhere.example")
    assert api.alias("info", "example.com").lines == (
        "&bob@example.com",
        "&alice@elsewhere.example",
    )
    page.screenshot("aliases")
    page.press("button[aria-label$='bob@example.com']")
    assert api.alias("info", "example.com").lines == ("&alice@elsewhere.example",)

    page.press("nav a")
    page.press("a[href$='/users/bob']")
    page.find("[name=sure]").click()
    page.press("form[action$='/delete'] button")
    assert page.said == "bob@example.com was deleted."
    assert [user.name for user in api.users("example.com")] == ["alice", "postmaster"]

    page.press("header button")
    browser.get(address)
    assert page.title == "Sign in"
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    told = caplog.text
    assert "bob@example.com has a new password., by its postmaster" in told.replace("'", "")
    for secret in (PASSWORD, "b0b", "n3w", "guess"):
        assert secret not in told


# --- what a browser would not send ----------------------------------------------------------------


class Client:
    """Requests with the session's cookie and token."""

    def __init__(self, app: Any, name: str = "postmaster@example.com") -> None:
        self.client = app.test_client()
        self.token = self._token("/sign-in")
        given = {"address": name, "password": PASSWORD}
        self.signed_in = self.post("/sign-in", **given)
        self.token = self._token("/")

    def _token(self, path: str) -> str:
        found = re.search(r'csrf_token" value="([^"]+)', self.get(path).text)
        return found[1] if found else ""

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, base_url="https://localhost", **options)

    def post(self, path: str, **fields: str) -> Any:
        fields = {"csrf_token": self.token} | fields
        headers = {"Referer": "https://localhost/"}
        return self.client.post(path, base_url="https://localhost", data=fields, headers=headers)

    def said(self, path: str, **fields: str) -> str:
        answer = self.post(path, **fields)
        assert answer.status_code == 303
        page = self.get(answer.location).text
        return re.sub(r"&#39;", "'", re.findall(r'role="status">([^<]*)', page)[-1])


def test_nobody_gets_in_without_signing_in(app: Any) -> None:
    client = app.test_client()
    rules = [rule.rule.replace("<name>", "alice") for rule in app.url_map.iter_rules()]
    for path in rules:
        if path in ("/sign-in", "/static/<path:filename>"):
            continue
        answer = client.get(path, base_url="https://localhost")
        assert answer.status_code == 405 or answer.location == "/sign-in"
    nobody = Client(app, "nobody@example.com")
    assert nobody.signed_in.location == "/sign-in"
    assert nobody.get("/").location == "/sign-in"
    assert Client(app, "alice@example.com").get("/").location == "/sign-in"


def test_forms_of_others_do_nothing(app: Any) -> None:
    client = Client(app)
    for token in ("", "nonsense", Client(app, "postmaster@other.example").token):
        answer = client.post("/users/alice/delete", sure="yes", csrf_token=token)
        assert answer.status_code == 400
    assert "CSRF" in client.post("/users/alice/delete", sure="yes", csrf_token="").text
    assert api.user("alice", "example.com")
    assert client.get("/users/alice/delete").status_code == 405


def test_each_postmaster_has_the_own_domain(app: Any) -> None:
    client = Client(app, "Postmaster@OTHER.example")
    assert client.post("/users/alice/delete", sure="yes").status_code == 303
    assert api.user("alice", "example.com")
    for name in ("alice@example.com", "..%2Fexample.com%2Falice", "%00", "alice%0a"):
        assert client.get(f"/users/{name}").status_code == 404


def test_another_password_ends_the_sessions(app: Any) -> None:
    client, other = Client(app), Client(app)
    client.post("/users/postmaster/password", password="an0ther-PW")
    assert client.get("/").status_code == 200
    assert other.get("/").location == "/sign-in"
    api.delete_domain("example.com")
    assert client.get("/").location == "/sign-in"


def test_pages_are_not_kept_and_run_nothing(app: Any) -> None:
    headers = Client(app).get("/").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/aliases", {"name": "x", "address": "|id"}, "forwards to a mail address"),
        ("/aliases", {"name": "x", "address": "a@b.c\n|id"}, "forwards to a mail address"),
        ("/aliases", {"name": "../up", "address": "a@b.c"}, "of letters"),
        ("/aliases", {"name": "default", "address": "a@b.c"}, "of letters"),
        ("/aliases", {"name": "list-owner", "address": "a@b.c"}, "of letters"),
        ("/aliases", {"name": "alice", "address": "a@b.c"}, "is a user"),
        ("/aliases", {"name": "x" * 65, "address": "a@b.c"}, "user name too long"),
        ("/aliases/delete", {"name": "default", "line": "&a@b.c"}, "has no such line"),
        ("/aliases/delete", {"name": "job", "line": "|program"}, "administrator of the server"),
        ("/users", {"name": "job", "gecos": "", "password": "s3cret-PW"}, "There is an alias"),
        ("/users", {"name": "x/y", "gecos": "", "password": "s3cret-PW"}, "Illegal username"),
        ("/users", {"name": "xy", "gecos": "a\nb", "password": "s3cret-PW"}, "bad character"),
        ("/users/postmaster/delete", {"sure": "yes"}, "The postmaster stays"),
        ("/users/alice/delete", {}, "tick the box"),
        ("/users/nobody/quota", {"quota": ""}, "User does not exist"),
    ],
)
def test_what_is_refused(app: Any, path: str, fields: dict[str, str], said: str) -> None:
    api.add_alias("job", "example.com", "|program")
    client = Client(app)
    answer = client.post(path, **fields)
    page = client.get(answer.location)
    assert said in page.text
    assert page.status_code == (404 if "nobody" in path else 200)  # there is no page of nobody's
    assert [alias.name for alias in api.aliases("example.com")] == ["job"]
    assert [user.name for user in api.users("example.com")] == ["alice", "postmaster"]


def test_a_domain_s_limits(app: Any) -> None:
    limits = api.limits("example.com")
    api.set_limits("example.com", replace(limits, maxpopaccounts=2, maxforwards=1))
    client = Client(app)
    assert "more than 2 users" in client.said("/users", name="xy", gecos="", password="s3cret-PW")
    client.said("/aliases", name="one", address="a@b.example")
    assert "more than 1 aliases" in client.said("/aliases", name="two", address="a@b.example")
    assert "forwards to" in client.said("/aliases", name="one", address="c@b.example")


def test_many_users(app: Any) -> None:
    for number in range(51):
        api.add_user(f"user{number:02}", "example.com", "s3cret-PW")
    client = Client(app)
    assert "user47" in client.get("/").text
    assert "user48" not in client.get("/").text
    assert "user48" in client.get("/?start=50").text
    assert "user48" in client.get("/?q=USER48").text
    assert client.get("/?start=-1").status_code == 200
    assert "No user has that name" in client.get("/?q=%3Cb%3E").text


def test_what_is_wrong_with_the_server(
    app: Any, mail: Home, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(app)
    (mail.path / "domains/example.com/vpasswd.cdb").write_bytes(b"\xff" * 3000)
    answer = client.get("/")
    assert answer.status_code == 503
    assert "vpasswd" not in answer.text
    assert "can" in answer.text
    assert "GET '/': " in caplog.text


def test_a_secret_is_needed(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(RuntimeError, match="PANEL_SECRET_FILE"):
        sys.modules["panel"].create_app()
    monkeypatch.delenv("PANEL_SECRET_FILE")
    with pytest.raises(RuntimeError, match="PANEL_SECRET_FILE"):
        sys.modules["panel"].create_app()
