"""PHP's names, conversions, results and warnings: with a stand-in for the library, then with it."""

from __future__ import annotations

import inspect
import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vpopmail_ext as v
from vpopmail_ext import exec_tools, php
from vpopmail_ext._binding import lib as real_library

ROOT = Path(__file__).resolve().parents[2]

PARAMETERS = {
    "add_domain": "domain, dir, uid, gid",
    "del_domain": "domain",
    "add_alias_domain": "domain, aliasdomain",
    "add_domain_ex": "domain, passwd, quota='', bounce='', apop=None",
    "del_domain_ex": "domain",
    "add_alias_domain_ex": "olddomain, newdomain",
    "add_user": "user, domain, password, gecos='', apop=False",
    "del_user": "user, domain",
    "passwd": "user, domain, password, apop=False",
    "set_user_quota": "user, domain, quota",
    "auth_user": "user, domain, password, apop=''",
    "alias_add": "user, domain, alias",
    "alias_del": "user, domain",
    "alias_del_domain": "domain",
    "alias_get": "alias, domain",
    "alias_get_all": "domain",
    "error": "",
}
# A call of each function that keeps a code: what it gives the library.
CALLS: dict[str, tuple[Callable[[], bool], tuple[Any, ...]]] = {
    "vpx_add_domain": (
        lambda: v.vpopmail_add_domain("d.com", "/home", 89, "90x"),
        (b"d.com", b"/home", 89, 90),
    ),
    "vpx_del_domain": (lambda: v.vpopmail_del_domain("d.com"), (b"d.com",)),
    "vpx_add_alias_domain": (
        lambda: v.vpopmail_add_alias_domain("real.com", "alias.com"),
        (b"alias.com", b"real.com"),
    ),
    "vpx_add_user": (
        lambda: v.vpopmail_add_user("u", "d.com", "pw"),
        (b"u", b"d.com", b"pw", b"", False),
    ),
    "vpx_del_user": (lambda: v.vpopmail_del_user("u", "d.com"), (b"u", b"d.com")),
    "vpx_passwd": (
        lambda: v.vpopmail_passwd("u", "d.com", "pw", "1"),
        (b"u", b"d.com", b"pw", True),
    ),
    "vpx_set_user_quota": (
        lambda: v.vpopmail_set_user_quota("u", "d.com", "5M"),
        (b"u", b"d.com", b"5M"),
    ),
    "vpx_alias_add": (
        lambda: v.vpopmail_alias_add("a", "d.com", "&x@y.z"),
        (b"a", b"d.com", b"&x@y.z"),
    ),
    "vpx_alias_del": (lambda: v.vpopmail_alias_del("a", "d.com"), (b"a", b"d.com")),
    "vpx_alias_del_domain": (lambda: v.vpopmail_alias_del_domain("d.com"), (b"d.com",)),
}
TOOL_CALLS: dict[str, Callable[[], bool]] = {
    "vpopmail_add_domain_ex": lambda: v.vpopmail_add_domain_ex("d.com", "pw"),
    "vpopmail_del_domain_ex": lambda: v.vpopmail_del_domain_ex("d.com"),
    "vpopmail_addaliasdomain": lambda: v.vpopmail_add_alias_domain_ex("d.com", "a.com"),
}


class Library:
    """Stands in for the binding: notes calls and returns the codes and bytes that a test sets."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.codes: dict[str, int] = {}
        self.out = b""
        self.texts = {0: b"Success", 1: b"Unknown error"}

    def __getattr__(self, name: str) -> Callable[..., int]:
        assert hasattr(real_library, name)

        def call(*arguments: Any) -> int:
            self.calls.append((name, *arguments))
            return self.codes.get(name, 0)

        return call

    def copy_out(self, function: Callable[..., int], *arguments: Any) -> tuple[int, bytes]:
        code = function(*arguments)
        if self.calls[-1][0] == "vpx_error":
            _, asked = self.calls.pop()
            return code, self.texts.get(asked, b"text of %d" % asked)
        return code, self.out


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    php._kept.failure = None
    yield
    php._kept.failure = None


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    stand_in = Library()
    monkeypatch.setattr(php, "lib", stand_in)
    monkeypatch.setattr(php, "copy_out", stand_in.copy_out)
    monkeypatch.setattr(php, "_auth_user", stand_in.vpx_auth_user)
    return stand_in


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stands in for running programs: what was run; all go well."""
    ran: list[tuple[Any, ...]] = []

    def run(*command: Any) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(exec_tools, "run", run)
    return ran


# Names and parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_php_s(name: str) -> None:
    parameters = inspect.signature(getattr(v, f"vpopmail_{name}")).parameters.values()
    # A keyword of Python's alone, as equal_time, stands in no script.
    bare = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in parameters
        if p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert ", ".join(map(str, bare)) == PARAMETERS[name]


def test_every_function_is_exported() -> None:
    exported = {name for name in v.__all__ if name.startswith("vpopmail_")}
    assert exported == {f"vpopmail_{name}" for name in PARAMETERS}
    for name in v.__all__:
        assert hasattr(v, name)


def test_faults_19_a_wrong_number_of_arguments_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'password'"):
        v.vpopmail_auth_user("u", "d.com")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        v.vpopmail_del_domain("d.com", 1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", CALLS)
def test_arguments_reach_the_library(library: Library, name: str) -> None:
    call, arguments = CALLS[name]
    assert call() is True
    assert library.calls == [(name, *arguments)]


def test_keywords(library: Library) -> None:
    assert v.vpopmail_add_user(apop=1, gecos="A B", password="pw", domain="d.com", user="u")
    assert v.vpopmail_add_alias_domain(aliasdomain="alias.com", domain="real.com")
    assert library.calls == [
        ("vpx_add_user", b"u", b"d.com", b"pw", b"A B", True),
        ("vpx_add_alias_domain", b"alias.com", b"real.com"),
    ]


# Conversions


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", b""),
        ("é", b"\xc3\xa9"),
        ("\udce9", b"\xe9"),
        (b"\xe9", b"\xe9"),
        (None, b""),
        (False, b""),
        (True, b"1"),
        (0, b"0"),
        (-42, b"-42"),
        (v.Code.VA_BAD_CHAR, b"-20"),
        (10**20, b"100000000000000000000"),
        (1.5, b"1.5"),
        (0.1, b"0.1"),
        (100000.0, b"100000"),
        (-0.25, b"-0.25"),
        (1 / 3, b"0.33333333333333"),
        (99999999999999.0, b"99999999999999"),
        (1e14, b"1.0E+14"),
        (1e15, b"1.0E+15"),
        (1e25, b"1.0E+25"),
        (-1.25e100, b"-1.25E+100"),
        (0.0001, b"0.0001"),
        (0.00001, b"1.0E-5"),
        (math.inf, b"INF"),
        (-math.inf, b"-INF"),
        (math.nan, b"NAN"),
    ],
)
def test_a_value_becomes_php_s_text(library: Library, value: v.php.Value, text: bytes) -> None:
    v.vpopmail_del_domain(value)
    assert library.calls == [("vpx_del_domain", text)]


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.none()))
def test_any_number_has_a_text(value: float | None) -> None:
    text = php._text("f", "p", value).decode()
    if isinstance(value, float) and math.isfinite(value):
        assert float(text) == pytest.approx(value, rel=1e-13)
        assert len(text) <= 21
    elif isinstance(value, int) and not isinstance(value, bool):
        assert int(text) == value


@given(st.binary())
def test_bytes_survive_as_text(data: bytes) -> None:
    data = data.replace(b"\0", b"")
    assert php._text("f", "p", php._decoded(data)) == data


@pytest.mark.parametrize("value", [[], (), {}, object(), 1j, bytearray(b"x"), Path("/")])
def test_another_type_is_refused(library: Library, value: Any) -> None:
    message = re.escape(
        "vpopmail_del_user(): domain must be str, bytes, int, float, bool or None, "
        f"not {type(value).__name__}"
    )
    with pytest.raises(TypeError, match=message):
        v.vpopmail_del_user("u", value)
    with pytest.raises(TypeError, match=re.escape("vpopmail_add_domain(): uid must be str")):
        v.vpopmail_add_domain("d.com", "/", value, 0)
    with pytest.raises(TypeError, match=re.escape("vpopmail_passwd(): apop must be str")):
        v.vpopmail_passwd("u", "d.com", "pw", value)
    with pytest.raises(TypeError, match=re.escape("vpopmail_auth_user(): password must be str")):
        v.vpopmail_auth_user("u", "d.com", value)
    with pytest.raises(TypeError, match=re.escape("vpopmail_auth_user(): apop must be str")):
        v.vpopmail_auth_user("u", "d.com", "pw", value)
    with pytest.raises(TypeError, match=re.escape("vpopmail_add_domain_ex(): apop must be str")):
        v.vpopmail_add_domain_ex("d.com", "pw", apop=value)
    assert library.calls == []


@pytest.mark.parametrize("value", ["a\0b", b"a\0b", "\0", "\udce9\0"])
def test_faults_12_a_nul_is_refused(library: Library, tools: list[Any], value: str | bytes) -> None:
    v.vpopmail_auth_user("", "", "")
    library.calls.clear()
    for name, parameters in PARAMETERS.items():
        names = re.findall(r"(\w+)(?:=\S+)?(?:, |$)", parameters)
        for bad in names:
            arguments: dict[str, Any] = {n: value if n == bad else "1" for n in names}
            message = re.escape(f"vpopmail_{name}(): {bad} must not contain a NUL byte")
            with pytest.raises(ValueError, match=message):
                getattr(v, f"vpopmail_{name}")(**arguments)
    assert library.calls == []
    assert tools == []


def test_a_surrogate_that_is_no_byte_is_refused(library: Library) -> None:
    what = "must not contain a surrogate that stands for no byte"
    with pytest.raises(ValueError, match=rf"^vpopmail_del_domain\(\): domain {what} \(at 0\)$"):
        v.vpopmail_del_domain("\ud800")
    with pytest.raises(ValueError, match=rf"^vpopmail_auth_user\(\): user {what} \(at 1\)$"):
        v.vpopmail_auth_user("a\ud800", "d.com", "pw")
    assert library.calls == []


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (89, 89),
        ("89", 89),
        (b"89", 89),
        ("89abc", 89),
        (" \t\n+89 ", 89),
        ("0x59", 0),
        ("1e3", 1),
        ("abc", 0),
        ("", 0),
        ("-", 0),
        ("٣", 0),
        (89.9, 89),
        (-0.9, 0),
        (None, 0),
        (False, 0),
        (True, 1),
        (2**32 - 2, 2**32 - 2),
        (2**32 - 1.5, 2**32 - 2),
    ],
)
def test_an_id_is_the_leading_digits(library: Library, value: v.php.Value, number: int) -> None:
    v.vpopmail_add_domain("d.com", "/", value, value)
    ((_, _, _, uid, gid),) = library.calls
    assert (uid, gid) == (number, number)
    assert type(uid) is type(gid) is int


@pytest.mark.parametrize(
    "value", [-1, "-1", 2**32 - 1, 2.0**32, "9" * 30, 1e99, math.nan, math.inf]
)
def test_what_cannot_be_an_id_is_refused(library: Library, value: v.php.Value) -> None:
    message = re.escape(
        f"vpopmail_add_domain(): gid must be an id from 0 to 4294967294, not {value!r}"
    )
    with pytest.raises(ValueError, match=message):
        v.vpopmail_add_domain("d.com", "/", 0, value)
    assert library.calls == []


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        *[(false, False) for false in (None, False, 0, 0.0, -0.0, "", "0", b"", b"0")],
        *[(true, True) for true in (True, 1, -1, 0.1, math.nan, "00", "0.0", " ", "no", b"x")],
    ],
)
def test_apop_is_php_s_truth(library: Library, value: v.php.Value, truth: bool) -> None:
    v.vpopmail_passwd("u", "d.com", "pw", value)
    v.vpopmail_add_user("u", "d.com", "pw", "", value)
    assert [call[-1] for call in library.calls] == [truth, truth]


# Results, warnings, what is kept


@pytest.mark.parametrize("name", CALLS)
def test_a_failure_warns_at_the_caller_s_line(library: Library, name: str) -> None:
    call, _ = CALLS[name]
    library.codes[name] = -12
    with pytest.warns(v.VpopmailWarning) as seen:
        assert call() is False
    (warning,) = seen
    assert str(warning.message) == "vpopmail error: text of -12"
    assert warning.filename == __file__
    lines, first = inspect.getsourcelines(call)
    assert first <= warning.lineno < first + len(lines)
    assert v.vpopmail_error() == "text of -12"
    library.codes[name] = 0
    assert call() is True
    assert v.vpopmail_error() == "Success"


@pytest.mark.parametrize("name", CALLS)
def test_the_failure_is_kept_where_warnings_are_errors(library: Library, name: str) -> None:
    call, _ = CALLS[name]
    library.codes[name] = -10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(v.VpopmailWarning, match=r"^vpopmail error: text of -10$"):
            call()
    assert v.vpopmail_error() == "text of -10"


def test_the_text_is_that_of_the_time_of_the_failure(library: Library) -> None:
    library.codes["vpx_passwd"] = -70
    library.texts[-70] = b"password requires more characters \xe9"
    with pytest.warns(v.VpopmailWarning, match="requires more characters \udce9$"):
        v.vpopmail_passwd("u", "d.com", "pw")
    library.texts[-70] = b"another thread's"
    assert v.vpopmail_error() == "password requires more characters \udce9"


def test_at_first_there_is_no_error(library: Library) -> None:
    assert v.vpopmail_error() == "Success"


def test_each_thread_keeps_its_own(library: Library) -> None:
    library.codes["vpx_del_domain"] = -11
    seen: list[str] = []

    def other() -> None:
        seen.append(v.vpopmail_error())
        v.vpopmail_auth_user("u", "d.com", "pw")

    with pytest.warns(v.VpopmailWarning):
        v.vpopmail_del_domain("d.com")
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == ["Success"]
    assert v.vpopmail_error() == "text of -11"


@pytest.mark.parametrize(("code", "result"), [(1, True), (0, False), (-1, False)])
def test_auth_user_never_warns_and_leaves_success(
    library: Library, code: int, result: bool
) -> None:
    php._kept.failure = "an earlier one"
    library.codes["vpx_auth_user"] = code
    assert v.vpopmail_auth_user("u", "d.com", "pw") is result
    assert v.vpopmail_error() == "Success"


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("é", "d.com", "pw"), ("é".encode(), b"d.com", b"pw")),
        (("\udce9", "d.com", "pw"), (b"\xe9", b"d.com", b"pw")),
        ((b"u", "d.com", 12345678), (b"u", b"d.com", b"12345678")),
        (("u", "d.com", "pw", "ignored"), (b"u", b"d.com", b"pw")),
        (("u", "d.com", "pw", 5), (b"u", b"d.com", b"pw")),
        ((None, True, 1.5, None), (b"", b"1", b"1.5")),
    ],
)
def test_auth_user_converts(library: Library, arguments: Any, texts: tuple[bytes, ...]) -> None:
    v.vpopmail_auth_user(*arguments)
    assert library.calls == [("vpx_auth_user", *texts, False)]


def test_auth_user_passes_equal_time_on(library: Library) -> None:
    v.vpopmail_auth_user("u", "d.com", "pw", equal_time=True)
    assert library.calls == [("vpx_auth_user", b"u", b"d.com", b"pw", True)]


def test_alias_get(library: Library) -> None:
    php._kept.failure = "an earlier one"
    library.out = b"&a@b.c\0\0| \xe9\0"
    assert v.vpopmail_alias_get(77, b"d.com") == ["&a@b.c", "", "| \udce9"]
    library.out, library.codes["vpx_alias_get"] = b"", -1
    assert v.vpopmail_alias_get("none", "d.com") == []
    assert library.calls == [
        ("vpx_alias_get", b"77", b"d.com"),
        ("vpx_alias_get", b"none", b"d.com"),
    ]
    assert v.vpopmail_error() == "an earlier one"


def test_alias_get_all(library: Library) -> None:
    php._kept.failure = "an earlier one"
    library.out = b"Ab\0L1\0LA\0AC\0Aa\0L\0A_\0L&x@y.z\0A\xc9\0L2\0A\xe9\0L3\0"
    aliases = v.vpopmail_alias_get_all("d.com")
    assert list(aliases.items()) == [
        ("_", ["&x@y.z"]),
        ("a", [""]),
        ("b", ["1", "A"]),
        ("C", []),
        ("\udcc9", ["2"]),
        ("\udce9", ["3"]),
    ]
    library.out = b"Ab\0L1\0AC\0LA\0LL\0Aa\0L\0"
    aliases = v.vpopmail_alias_get_all("d.com")
    assert list(aliases.items()) == [("a", [""]), ("b", ["1"]), ("C", ["A", "L"])]
    library.out, library.codes["vpx_alias_get_all"] = b"", -1
    assert v.vpopmail_alias_get_all("none") == {}
    assert v.vpopmail_error() == "an earlier one"


# The functions that run programs


@pytest.mark.parametrize("name", TOOL_CALLS)
def test_a_failed_program_warns_with_its_status(
    library: Library, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    call = TOOL_CALLS[name]
    monkeypatch.setattr(exec_tools, "run", lambda *_: 243)
    with pytest.warns(v.VpopmailWarning) as seen:
        assert call() is False
    (warning,) = seen
    assert str(warning.message) == f"{name} error: 243"
    assert (warning.filename, warning.lineno) == (__file__, call.__code__.co_firstlineno)
    assert v.vpopmail_error() == "Unknown error"
    monkeypatch.setattr(exec_tools, "run", lambda *_: 0)
    assert call() is True
    assert v.vpopmail_error() == "Success"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), ()),
        (("", "", None), ()),
        (("10MB",), (b"-q", b"10MB")),
        (("-1", "-x@y.z"), (b"-q", b"-1", b"-e", b"-x@y.z")),
        (("", "postmaster"), (b"-b",)),
        (("NOQUOTA", "", False), (b"-q", b"NOQUOTA")),
        ((5, None, 1), (b"-q", b"5")),
    ],
)
def test_options_of_add_domain_ex(
    tools: list[Any], arguments: Any, options: tuple[bytes, ...]
) -> None:
    assert v.vpopmail_add_domain_ex("d.com", "p w", *arguments)
    assert tools == [("vadddomain", *options, b"--", b"d.com", b"p w")]


def test_faults_13_arguments_arrive_whole(tools: list[Any]) -> None:
    v.vpopmail_add_domain_ex("-d.com; true", "-p $(w)")
    v.vpopmail_del_domain_ex("-f x.com")
    v.vpopmail_add_alias_domain_ex("-real com", "`alias`")
    assert tools == [
        ("vadddomain", b"--", b"-d.com; true", b"-p $(w)"),
        ("vdeldomain", b"--", b"-f x.com"),
        ("vaddaliasdomain", b"--", b"-real com", b"`alias`"),
    ]


# The library itself


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    before = v.info()
    if before.library == "real":
        pytest.skip("a linked real library has its home compiled in")
    for made in ("home/domains", "home/etc", "qmail/control", "qmail/users"):
        (tmp_path / made).mkdir(parents=True)
    v.configure(tmp_path / "home", tmp_path / "qmail")
    yield tmp_path / "home"
    v.configure(before.home, before.qmail)


def test_through_all_layers(home: Path) -> None:
    assert v.vpopmail_add_domain("example.com", str(home), os.geteuid(), os.getegid())
    with pytest.warns(v.VpopmailWarning, match=r"^vpopmail error: Domain already exists$"):
        assert not v.vpopmail_add_domain("example.com", str(home), os.geteuid(), os.getegid())
    assert v.vpopmail_error() == "Domain already exists"
    assert v.vpopmail_add_user("alice", "example.com", "s3cretPW", "A Person")
    assert v.vpopmail_error() == "Success"
    assert v.vpopmail_auth_user("alice", "example.com", "s3cretPW")
    assert not v.vpopmail_auth_user("alice", "example.com", "S3CRETPW")
    assert v.vpopmail_alias_add("info", "example.com", "&alice@example.com")
    assert v.vpopmail_alias_add("info", "example.com", "&bob@example.com")
    assert v.vpopmail_alias_get("info", "example.com") == [
        "&alice@example.com",
        "&bob@example.com",
    ]
    assert v.vpopmail_alias_get_all("example.com") == {
        "info": ["&alice@example.com", "&bob@example.com"]
    }
    assert v.vpopmail_alias_get("none", "example.com") == []
    assert v.vpopmail_alias_get_all("none.example") == {}
    assert v.vpopmail_del_user("alice", "example.com")
    assert v.vpopmail_del_domain("example.com")


def test_codes_are_those_of_the_library_s_headers() -> None:
    defines = [
        match
        for header in (ROOT / "csrc/libvpopmail/include").glob("*.h")
        for match in re.findall(
            r"^#define[ \t]+(VA_\w+)[ \t]+\(?(-?[0-9]+)\)?", header.read_text(), re.MULTILINE
        )
    ]
    assert defines
    for name, code in defines:
        assert v.Code[name] == int(code)


def test_the_stub_declares_the_header_s_functions() -> None:
    stub = (ROOT / "vpopmail_ext/_binding.pyi").read_text()
    header = (ROOT / "csrc/binding/binding.h").read_text()
    declared = re.findall(r"def (vpx_\w+)\(", stub)
    assert declared == re.findall(r"^\w[\w ]*[ *](vpx_\w+)\(", header, re.MULTILINE)
    for name in declared:
        assert hasattr(real_library, name)
