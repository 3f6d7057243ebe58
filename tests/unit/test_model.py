"""Random sequences of calls, against a model in Python: the results, and the files on disk."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import vpopmail_ext as v
from tests import cdb
from tests.conftest import Home, compiled_in_home, scratch_home
from tests.linked import FORM, INFO, REAL, error_text

TEXTS = {
    0: "Success",
    -1: "Illegal username",
    -2: "Username exists",
    -6: error_text("Unable to chdir to vpopmail/domains/domain directory"),
    -7: "User's directory already exists",
    -10: "User does not exist",
    -11: "Domain does not exist",
    -12: "Invalid domain name",
    -13: "Domain already exists",
    -19: "Could not open dot qmail file",
    -20: "bad character",
    -25: error_text("user name too long (max=64)"),
    -26: error_text("domain name too long (max=96)"),
    -27: error_text("password too long (max=128)"),
    -28: error_text("gecos too long (max=64)"),
    -29: error_text("quota too long (max=20)"),
    -32: error_text("alias line too long (max=160)"),
    -55: "can't delete catchall account",
    -70: "password requires more characters ",
}
LONGEST_NAME, LONGEST_GECOS = INFO.user_name_max, INFO.gecos_max
# Each call syncs what it has written, which a file system in memory does at once.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
CONTROL = {".dir-control", ".vpasswd.lock"}
STORED = {"vpasswd", "vpasswd.cdb"}


def mostly(usual: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(usual * (1 + 8 * len(odd) // len(usual)) + odd)


LONG_DOMAIN = "d" * 60 + "." + "e" * 36
ODD_DOMAINS = ["x", "", "a_b.com", "aa..com", "-a.com", "a.c", "../aa.com", LONG_DOMAIN]
DOMAINS = mostly(["aa.com", "bb.com", "Aa.Com", "al.net"], ["mail.aa.com", *ODD_DOMAINS])
NEW_DOMAINS = mostly(["aa.com", "bb.com", "mail.aa.com", "a-b.com", "aa.NET"], ODD_DOMAINS)
OLD_DOMAINS = mostly(["al.net", "mail.aa.com", "a-b.com", "bb.com"], ["aa.com", *ODD_DOMAINS])
# A real library leaves those without a dot when their domain is deleted.
NODOT = [] if REAL else ["nodot"]
NEW_ALIASES = mostly(["al.net", "al.aa.com", "mail.aa.com", *NODOT], ["a_b", "a b", LONG_DOMAIN])
USERS = mostly(
    ["ann", "bob", "Bob", "c.d"],
    [
        *("x", "", "bad name", "../up", "a/b", "a:b", "..", "né"),
        *("n" * 32, "n" * 64, "n" * 65),
        *(".qmail-info", "vpasswd", ".dir-control", ".vpasswd.lock"),
    ],
)
PASSWORDS = mostly(["pw1", "pw-2", "p w:3\n", "é"], ["", "p" * 128, "p" * 129, "p" * 511])
GECOS = mostly(["", "A Person", "é"], ["a:b", "a\nb:0:0", "g" * 48, "g" * 64, "g" * 65])
QUOTAS: dict[str, str | None] = {
    **{"5M": "5242880S", "NOQUOTA": "NOQUOTA", "": "", "7C": "7C", "10,3C": "10S,3C"},
    **{"-5": None, "123456789012345678901": None},
}
ALIASES = mostly(
    ["info", "Info", "sales.eu", "sales:eu", "default"],
    ["a/b", "../x", "n" * 32, "n" * 64, "n" * 65],
)
CATCHALL = "| /x/vdelivermail '' bob@aa.com"
LINES = mostly(
    ["&a@b.c", "| /bin/true", CATCHALL, ""],
    ["two\nlines", "l" * 158, "l" * 159, "l" * 160, "é" * 80],
)


@dataclass
class User:
    password: str
    gecos: str
    kind: int
    quota: str = "NOQUOTA"


@dataclass
class Domain:
    name: str
    path: Path
    users: dict[str, User] = field(default_factory=dict)
    aliases: dict[str, bytes] = field(default_factory=dict)
    """What a file .qmail-NAME holds, by that name: a dot is a colon in it."""
    count: int = 0
    had_users: bool = False

    def has(self, name: str) -> bool:
        """Tell whether there is something at the path of a user of that name."""
        files = CONTROL | (STORED if self.had_users else set())
        return name in files or name.removeprefix(".qmail-") in self.aliases


def is_domain(name: str) -> bool:
    form = r"(?=...)(?!-)(?!.*\.\.)[A-Za-z0-9.-]*\.[A-Za-z0-9-]{2,63}(?<!-)"
    return bool(re.fullmatch(form, name))


def is_user(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9!#$&'*+.=?^_`{|}~-]{2,}", name)) and name != ".."


def breaks_line(password: str) -> bool:
    """Tell whether a password that is kept as it is given would be two lines of vpasswd."""
    return INFO.clear_passwords and "\n" in password


def pieces(content: bytes) -> list[str]:
    """Return an alias's lines as they are read back: cut at 159 bytes."""
    lines = []
    for line in content.split(b"\n")[:-1]:
        while len(line) >= 159:
            lines.append(line[:159])
            line = line[159:]
        lines.append(line)
    return [line.decode("utf-8", "surrogateescape") for line in lines]


def order(name: str) -> list[bytes]:
    labels = name.encode().split(b".")
    return [b".".join(labels[-2:] + labels[:-2])]


class Calls(RuleBasedStateMachine):
    """The model, and the calls that are made on it and on the library."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory(dir=MEMORY)
        top = Path(self.scratch.name)
        self.home = compiled_in_home() if REAL else scratch_home(top)
        self.second = top / "mail"
        self.second.mkdir()
        v.configure(self.home.path, self.home.qmail)
        self.domains: dict[str, Domain] = {}
        self.names: dict[str, Domain] = {}
        """Each name of a domain, its own and its alias domains'."""
        self.begun = False
        self.kept = "Success"

    def teardown(self) -> None:
        self.scratch.cleanup()

    def expect(self, code: int, function: Callable[..., bool], *arguments: object) -> bool:
        """Make a call that is to have this code, and tell whether it is to succeed."""
        self.kept = TEXTS[code]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = function(*arguments)
        texts = [str(warning.message) for warning in caught]
        wanted = [] if code == 0 else [f"vpopmail error: {self.kept}"]
        assert (result, texts, v.vpopmail_error()) == (code == 0, wanted, self.kept)
        return code == 0

    def find(self, name: str) -> Domain | None:
        return self.names.get(name.lower())

    # --- domains ---------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        assert v.vpopmail_auth_user("", "", "") is False
        for name in ("aa.com", "bb.com"):
            self.add_domain(name, "vpopmail")
            self.add_user("ann", name, "pw1", "", False)
        self.add_user("bob", "aa.com", "pw-2", "", False)
        self.add_alias_domain("aa.com", "al.net")

    @rule(name=NEW_DOMAINS, base=mostly(["vpopmail"], ["mail", "not there"]))
    def add_domain(self, name: str, base: str) -> None:
        directory = Path(self.scratch.name, base)
        code = 0
        if len(name) > 96:
            code = -26
        elif not is_domain(name):
            code = -12
        elif self.find(name):
            code = -13
        elif not directory.is_dir():
            code = -6
        ids = self.home.uid, self.home.gid
        if self.expect(code, v.vpopmail_add_domain, name, os.fspath(directory), *ids):
            name = name.lower()
            nobody = FORM.mail_to_nobody.decode()
            default = f"| {self.home.path}/bin/vdelivermail '' {nobody}\n"
            made = Domain(name, directory / "domains" / name, {}, {"default": default.encode()})
            self.domains[name] = self.names[name] = made
            self.begun = True

    @rule(name=DOMAINS, alias=NEW_ALIASES)
    def add_alias_domain(self, name: str, alias: str) -> None:
        real = self.find(name)
        code = 0
        if not re.fullmatch(r"[A-Za-z0-9.-]+", alias):
            code = -12
        elif len(alias) > 96:
            code = -26
        elif not re.fullmatch(r"[A-Za-z0-9.-]*", name):
            code = -12
        elif self.find(alias):
            code = -13
        elif real is None:
            code = -11
        if self.expect(code, v.vpopmail_add_alias_domain, name, alias) and real:
            self.names[alias] = real

    @rule(name=OLD_DOMAINS)
    def del_domain(self, name: str) -> None:
        domain = self.find(name)
        code = -26 if len(name) > 96 else 0 if domain else -11
        if self.expect(code, v.vpopmail_del_domain, name) and domain:
            gone = [name.lower()]
            if self.domains.pop(name.lower(), None):
                gone = [each for each, real in self.names.items() if real is domain]
            for each in gone:
                del self.names[each]

    # --- users -----------------------------------------------------------------------------------

    @rule(user=USERS, name=DOMAINS, password=PASSWORDS, gecos=GECOS, apop=st.booleans())
    def add_user(self, user: str, name: str, password: str, gecos: str, apop: bool) -> None:
        domain = self.find(name)
        code = self.add_user_code(user.encode(), name, password, gecos.encode(), domain)
        if domain and code == 0:
            # What the first user's name is to the files of the domain is another test's.
            assume(user not in STORED or domain.had_users)
            domain.count += 1
            code = -7 if domain.has(user.lower()) else 0
        arguments = user, name, password, gecos, apop
        if self.expect(code, v.vpopmail_add_user, *arguments) and domain:
            made = User(password, gecos or user.lower(), 2 if apop else 1)
            domain.users[user.lower()] = made
            domain.had_users = True

    @staticmethod
    def add_user_code(
        user: bytes, name: str, password: str, gecos: bytes, domain: Domain | None
    ) -> int:
        complaints = {
            -20: b":" in gecos or b"\n" in gecos or breaks_line(password),
            -25: len(user) > 64,
            -1: len(user) == 1,
            -26: len(name) > 96,
            -12: len(name) < 3,
            -28: len(gecos) > 64,
        }
        code = next((code for code, holds in complaints.items() if holds), 0)
        if code == 0 and not is_user(user.decode()):
            code = -1
        elif code == 0 and not is_domain(name):
            code = -12
        elif code == 0 and len(user) > LONGEST_NAME:
            code = -25
        elif code == 0 and len(password) > FORM.longest_new_password:
            code = -27
        elif code == 0 and len(gecos) > LONGEST_GECOS:
            code = -28
        elif code == 0 and not password and FORM.policy_first:
            code = -70
        elif code == 0 and domain is None:
            code = -11
        elif code == 0 and domain and user.decode().lower() in domain.users:
            code = -2
        elif code == 0 and not password and INFO.password_policy:
            code = -70
        return code

    @rule(user=USERS, name=DOMAINS)
    def del_user(self, user: str, name: str) -> None:
        domain = self.find(name)
        code = 0
        if not user:
            code = -1
        elif domain is None:
            code = -11
        elif user.lower() not in domain.users:
            code = -10
        elif self.catches_all(domain, user) and FORM.keeps_catch_all:
            code = -55
        if self.expect(code, v.vpopmail_del_user, user, name) and domain:
            del domain.users[user.lower()]
            domain.count = max(0, domain.count - 1)

    @staticmethod
    def catches_all(domain: Domain, user: str) -> bool:
        first = domain.aliases.get("default", b"").split(b"\n")[0].decode()
        return first.endswith(f" vdelivermail '' {user.lower()}@{domain.name}".lstrip())

    @staticmethod
    def length_code(user: str, name: str, too_long: int) -> int:
        if len(user.encode()) > LONGEST_NAME:
            return -25
        if len(user) == 1:
            return -1
        if len(name) > 96:
            return -26
        return too_long

    def user(self, user: str, name: str) -> User | None:
        domain = self.find(name)
        return domain.users.get(user.lower()) if domain else None

    @rule(user=USERS, name=DOMAINS, password=PASSWORDS, apop=st.booleans())
    def passwd(self, user: str, name: str, password: str, apop: bool) -> None:
        found = self.user(user, name)
        code = self.length_code(user, name, -27 if len(password) > 128 else 0)
        if code == 0 and breaks_line(password):
            code = -20
        elif code == 0 and not password and INFO.password_policy:
            code = -70
        elif code == 0 and not found:
            code = -1
        if self.expect(code, v.vpopmail_passwd, user, name, password, apop) and found:
            found.password = password

    @rule(user=USERS, name=DOMAINS, quota=st.sampled_from(list(QUOTAS)))
    def set_user_quota(self, user: str, name: str, quota: str) -> None:
        found = self.user(user, name)
        stored = QUOTAS[quota]
        code = self.length_code(user, name, -29 if len(quota) > 20 else 0)
        if code == 0 and not found:
            code = -10
        elif code == 0 and stored is None:
            code = -29
        if self.expect(code, v.vpopmail_set_user_quota, user, name, quota) and found:
            found.quota = str(stored)

    @rule(user=USERS, name=DOMAINS, password=PASSWORDS)
    def auth_user(self, user: str, name: str, password: str) -> None:
        found = self.user(user, name)
        self.kept = "Success"
        matches = found is not None and found.password == password != ""
        assert v.vpopmail_auth_user(user, name, password) is matches
        assert v.vpopmail_error() == "Success"

    # --- aliases ---------------------------------------------------------------------------------

    @rule(alias=ALIASES, name=DOMAINS, line=LINES)
    def alias_add(self, alias: str, name: str, line: str) -> None:
        domain = self.find(name)
        file = alias.replace(".", ":")
        code = 0
        if len(alias) > 64:
            code = -25
        elif len(name) > 96:
            code = -26
        elif len(line.encode()) >= 160:
            code = -32
        elif domain is None or "/" in alias:
            code = -1
        elif len(alias) > LONGEST_NAME:
            code = -25
        elif f".qmail-{file}" in domain.users:
            code = -19
        if self.expect(code, v.vpopmail_alias_add, alias, name, line) and domain:
            domain.aliases[file] = domain.aliases.get(file, b"") + line.encode() + b"\n"

    @rule(alias=ALIASES, name=DOMAINS)
    def alias_del(self, alias: str, name: str) -> None:
        domain = self.find(name)
        file = alias.replace(".", ":")
        there = domain is not None and file in domain.aliases
        code = -25 if len(alias) > 64 else -26 if len(name) > 96 else 0 if there else -1
        if self.expect(code, v.vpopmail_alias_del, alias, name) and domain:
            del domain.aliases[file]

    @rule(name=DOMAINS)
    def alias_del_domain(self, name: str) -> None:
        domain = self.find(name)
        if self.expect(0 if domain else -1, v.vpopmail_alias_del_domain, name) and domain:
            default = domain.aliases.get("default")
            domain.aliases = {} if default is None else {"default": default}

    @rule(alias=ALIASES, name=DOMAINS)
    def alias_get(self, alias: str, name: str) -> None:
        domain = self.find(name)
        content = domain.aliases.get(alias.replace(".", ":"), b"") if domain else b""
        assert v.vpopmail_alias_get(alias, name) == pieces(content)
        assert v.vpopmail_error() == self.kept

    @rule(name=DOMAINS)
    def alias_get_all(self, name: str) -> None:
        domain = self.find(name)
        aliases = domain.aliases if domain else {}
        listed = {
            file.replace(":", "."): pieces(content)
            for file, content in aliases.items()
            if file != "default"
        }
        found = v.vpopmail_alias_get_all(name)
        assert found == listed
        assert [each.lower() for each in found] == sorted(each.lower() for each in listed)
        assert v.vpopmail_error() == self.kept

    # --- on disk ---------------------------------------------------------------------------------

    @invariant()
    def domains_are_on_disk(self) -> None:
        if not self.begun:
            return
        names = sorted(self.names, key=order)
        lines = []
        for name in names:
            real = self.names[name]
            lines.append(f"+{name}-:{real.name}:{self.home.uid}:{self.home.gid}:{real.path}:-::\n")
        assign = self.home.qmail / "users/assign"
        control = self.home.qmail / "control"
        files = {
            assign: "".join([*lines, ".\n"]),
            control / "rcpthosts": "".join(f"{name}\n" for name in names),
            control / "virtualdomains": "".join(f"{name}:{name}\n" for name in names),
        }
        assert {path: path.read_text() for path in files} == files
        compiled = (self.home.qmail / "users/cdb").read_bytes()
        assert compiled == cdb.of("assign", assign.read_bytes())
        assert count_in(self.home.path / "domains") == len(self.domains)
        for base in (self.home.path, self.second):
            made = [path for path in base.glob("domains/*") if path.name != ".dir-control"]
            there = [each.path for each in self.domains.values() if each.path.parent.parent == base]
            assert sorted(made) == sorted(there)

    @invariant()
    def users_are_on_disk(self) -> None:
        for domain in self.domains.values():
            assert count_in(domain.path) == domain.count
            if domain.had_users:
                check_vpasswd(domain)
            else:
                assert not (domain.path / "vpasswd").exists()
            for name, user in domain.users.items():
                check_user(domain.path / name, user)

    @invariant()
    def nothing_else_is_in_a_domain(self) -> None:
        for domain in self.domains.values():
            aliases = {f".qmail-{file}" for file in domain.aliases}
            found = {path.name for path in domain.path.iterdir()}
            assert found - CONTROL - STORED == aliases | set(domain.users)
            for file, content in domain.aliases.items():
                assert (domain.path / f".qmail-{file}").read_bytes() == content


def count_in(directory: Path) -> int:
    """Return what .dir-control counts; its other lines are those of fewer than 100."""
    control = directory / ".dir-control"
    if not control.exists():
        return 0
    count, *rest = control.read_text().split("\n")
    columns = {"0 2 4", "0 2 2"} & {rest[4]}
    assert rest == ["0", "3", "0 0 0", "61 61 61", *columns, "0 0 0", "", ""]
    return int(count)


def check_vpasswd(domain: Domain) -> None:
    text = (domain.path / "vpasswd").read_bytes()
    names = sorted(domain.users)
    lines = [line.split(b":", 7) for line in text.split(b"\n")[:-1]]
    assert [line[0].decode() for line in lines] == names
    for name, (_, hashed, kind, flags, gecos, directory, quota, *clear) in zip(
        names, lines, strict=True
    ):
        user = domain.users[name]
        password = user.password.encode()
        assert clear == ([password] if FORM.clear_passwords else [])
        assert FORM.is_hash(hashed, password)
        assert FORM.verify(password, hashed)
        assert (int(kind), flags, gecos.decode()) == (user.kind, b"0", user.gecos)
        assert (directory, quota.decode()) == (bytes(domain.path / name), user.quota)
    assert (domain.path / "vpasswd.cdb").read_bytes() == cdb.of("vpasswd", text)
    for file in STORED:
        assert (domain.path / file).stat().st_mode & 0o7777 == 0o600


def check_user(directory: Path, user: User) -> None:
    has_quota = user.quota not in ("", "NOQUOTA")
    found = {os.fspath(path.relative_to(directory)) for path in directory.rglob("*")}
    parts = {f"Maildir/{part}" for part in ("cur", "new", "tmp")}
    sizes = {"Maildir/maildirsize"} if has_quota else set()
    assert found == {"lastauth", "Maildir"} | parts | sizes
    for path in sizes:
        assert (directory / path).read_text() == f"{user.quota}\n0 0\n"


@pytest.mark.usefixtures("home")
class TestModel(Calls.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(
        deadline=None,
        max_examples=80,
        stateful_step_count=40,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


@pytest.mark.parametrize(
    "name",
    [
        *("vpasswd", "vpasswd.cdb", ".vpasswd.lock", ".dir-control", ".dir_control_free"),
        *(".dir_control_free.lock", ".qmailadmin-limits", ".qmail-default", ".qmail-info", "0"),
        *(".tmp.vpasswd", ".tmp.vpasswd.cdb", ".tmp..dir-control", ".tmp..qmail-info"),
        *(".tmp..dir_control_free", ".tmp.deep.0", "Maildir"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.filterwarnings("ignore::vpopmail_ext.VpopmailWarning")
def test_no_user_s_name_stands_in_the_way_of_the_others(home: Home, name: str, first: bool) -> None:
    domain = "aa.com"
    assert v.vpopmail_add_domain(domain, os.fspath(home.path), home.uid, home.gid)
    control = home.path / "domains" / domain / ".dir-control"
    if not first:
        assert v.vpopmail_add_user("ann", domain, "pw")
    # Refused or not, everything else goes on.
    made = v.vpopmail_add_user(name, domain, "pw")
    for count in (0, 99):
        if control.is_file():
            _, rest = control.read_text().split("\n", 1)
            control.write_text(f"{count}\n{rest}")
        for _ in range(2):
            calls = [
                v.vpopmail_add_user("bob", domain, "pw"),
                v.vpopmail_passwd("bob", domain, "other"),
                v.vpopmail_set_user_quota("bob", domain, "5M"),
                v.vpopmail_auth_user("bob", domain, "other"),
                v.vpopmail_alias_add("else", domain, "&a@b.c"),
                v.vpopmail_alias_del_domain(domain),
                v.vpopmail_del_user("bob", domain),
            ]
            assert calls == [True] * len(calls)
    assert v.vpopmail_auth_user(name, domain, "pw") is made
    assert v.vpopmail_del_user(name, domain) is made
    assert v.vpopmail_del_domain(domain)
