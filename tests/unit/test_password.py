"""Hashes, and the policy in etc/password_strength.conf."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clib import ffi, filled, lib
from vpopmail_ext import Code

TRACES = Path(__file__).parents[1] / "conformance/traces"
OLD = json.loads((TRACES / "auth_old_hashes.json").read_text())
FORM = re.compile(rb"\$6\$[./0-9A-Za-z]{8}\$[./0-9A-Za-z]{86}")


def hashed(password: bytes) -> bytes:
    code, stored = filled(lib().password_hash, password)
    assert code == 0
    return stored


def matches(password: bytes, stored: bytes) -> bool:
    return bool(lib().password_matches(password, stored, False))


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=511).filter(lambda password: b"\0" not in password))
def test_a_hash_is_its_password_s(password: bytes) -> None:
    stored = hashed(password)
    assert FORM.fullmatch(stored)
    assert matches(password, stored)
    assert not matches(password[:-1], stored)
    assert not matches(password[:-1] + bytes([password[-1] ^ 1]), stored)


def test_salts_differ() -> None:
    assert len({hashed(b"password")[3:11] for _ in range(20)}) == 20


def test_crypt_takes_511_bytes() -> None:
    assert matches(b"p" * 511, hashed(b"p" * 511))
    assert filled(lib().password_hash, b"p" * 512) == (Code.VA_CRYPT_FAILED, b"")


def hashed_many(passwords: list[bytes]) -> tuple[int, list[bytes]]:
    held = [ffi.new("char[]", password) for password in passwords]
    code, text = filled(lib().password_hash_many, ffi.new("char *[]", held), len(held))
    return code, text.split(b"\0")[:-1]


@settings(deadline=None, max_examples=10)
@given(st.lists(st.binary(max_size=511).filter(lambda text: b"\0" not in text), max_size=20))
def test_many_hashes_are_their_passwords(passwords: list[bytes]) -> None:
    code, stored = hashed_many(passwords)
    assert code == 0
    assert len({each[3:11] for each in stored}) == len(passwords)
    for password, each in zip(passwords, stored, strict=True):
        assert FORM.fullmatch(each)
        assert matches(password, each)
        assert not matches(password + b"x", each)


def test_more_hashes_than_are_made_at_once() -> None:
    passwords = [b"%d" % number for number in range(700)]
    code, stored = hashed_many(passwords)
    assert (code, len(set(stored))) == (0, len(passwords))
    for number in (0, 1, 511, 512, 513, 699):
        assert matches(passwords[number], stored[number])


def test_one_of_many_that_crypt_does_not_take() -> None:
    """All or none; in the second part of the work, too."""
    refused = b"p" * 512
    assert hashed_many([refused]) == (Code.VA_CRYPT_FAILED, [])
    assert hashed_many([b"a", refused, b"b"]) == (Code.VA_CRYPT_FAILED, [])
    assert hashed_many([*[b"a"] * 600, refused]) == (Code.VA_CRYPT_FAILED, [])


def old_hashes() -> list[Any]:
    """Return a recorded sign-in each: the password, the stored hash, whether it matched."""
    lines = OLD["start"]["/home/vpopmail/domains/old.com/vpasswd"]["text"].splitlines()
    stored = {line.split(":")[0]: line.split(":")[1] for line in lines}
    signs_in = []
    for number, call in enumerate(OLD["calls"]):
        if call["fn"] == "vpopmail_passwd":
            stored.pop(call["args"][0])
        elif call["fn"] == "vpopmail_auth_user" and call["args"][0] in stored:
            user, _, password = call["args"]
            values = password.encode(), stored[user].encode(), call["result"]
            signs_in.append(pytest.param(*values, id=f"{number}-{user}"))
    return signs_in


@pytest.mark.parametrize(("password", "stored", "result"), old_hashes())
def test_as_recorded(password: bytes, stored: bytes, result: bool) -> None:
    assert matches(password, stored) == result


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b"!", b"*", b"*0", b"*1", b"x", b"!$6$saltsalt$x", b"{}", b"{CRYPT}", b"{CRYPT}!"),
        *(b"{PLAIN}password", b"{CRYPT", b"password", b"$6$", b"$6$saltsalt$", b"$9$salt$x"),
        # The prefix is one, and in front.
        *(b"{A}{B}abJnggxhB/yWI", b" {A}abJnggxhB/yWI", b"abJnggxhB/yWI ", b"abJnggxhB/yW"),
    ],
)
@pytest.mark.parametrize("password", [b"password", b"", b"!", b"*0", b"x"])
def test_what_never_matches(password: bytes, stored: bytes) -> None:
    assert not matches(password, stored)


@pytest.mark.parametrize("prefix", [b"", b"{CRYPT}", b"{}", b"{any thing: at all}"])
def test_a_scheme_in_front_is_passed_over(prefix: bytes) -> None:
    assert matches(b"password", prefix + b"abJnggxhB/yWI")
    assert not matches(b"other", prefix + b"abJnggxhB/yWI")


# --- the policy ----------------------------------------------------------------------------------

Allowed = Callable[[str, str], str]


NOUNS = {
    "characters": Code.VA_PWSTR_LENGTH,
    "alphabetical characters": Code.VA_PWSTR_ALPHA,
    "numbers": Code.VA_PWSTR_NUMERIC,
    "punctuation, symbols, or other characters": Code.VA_PWSTR_OTHER,
    "uppercase and lowercase character diversity": Code.VA_PWSTR_DELTA,
}
COMPLAINT = re.compile(
    r"password (?:requires more|should have less|can only be) (.*) "
    r"|password must always be -?[0-9]+ (characters) long "
)
RULES = [b"Length", b"numeric", b"UpperLower", b"<", b">=", b"=", b"0.5", b"5", b"\n", b"#"]


def complaint(home: Path, password: str) -> str:
    """Return what the policy of a home says to a password: nothing, or a text."""
    path = ffi.new("char[]", bytes(home))
    code = lib().password_allowed(ffi.new("struct home *", {"path": path}), password.encode())
    if code == 0:
        return ""
    said: str = ffi.string(lib().verror(code)).decode()
    noun = COMPLAINT.fullmatch(said)
    assert noun is not None, said
    assert code == NOUNS[noun[1] or noun[2]]
    return said


@pytest.fixture
def allowed(tmp_path: Path) -> Allowed:
    (tmp_path / "etc").mkdir()

    def ask(policy: str, password: str) -> str:
        (tmp_path / "etc/password_strength.conf").write_text(policy)
        return complaint(tmp_path, password)

    return ask


MORE, LESS, ONLY = "requires more", "should have less", "can only be"
LETTERS, OTHERS = "alphabetical characters", "punctuation, symbols, or other characters"
DIVERSITY = "uppercase and lowercase character diversity"


@pytest.mark.parametrize(
    ("rule", "password", "text"),
    [
        # The length in bytes.
        ("Length >= 5", "12345", ""),
        ("Length >= 5", "1234", f"{MORE} characters"),
        ("Length > 5", "123456", ""),
        ("Length > 5", "12345", f"{MORE} characters"),
        ("Length <= 5", "12345", ""),
        ("Length <= 5", "123456", f"{LESS} characters"),
        ("Length < 5", "1234", ""),
        ("Length < 5", "12345", f"{LESS} characters"),
        ("Length = 5", "12345", ""),
        ("Length = 5", "1234", "must always be 5 characters long"),
        ("Length = 5", "123456", "must always be 5 characters long"),
        ("Length >= 1", "", f"{MORE} characters"),
        ("Length = 8", "\xe9\xe9\xe9\xe9", ""),
        # Shares of the length.
        ("Alphabet >= 0.5", "ab12", ""),
        ("Alphabet >= 0.5", "ab123", f"{MORE} {LETTERS}"),
        ("Alphabet > 0.5", "ab12", f"{MORE} {LETTERS}"),
        ("Alphabet <= 0.5", "abc12", f"{LESS} {LETTERS}"),
        ("Alphabet < 0.5", "ab12", f"{LESS} {LETTERS}"),
        ("Alphabet = 1", "abcD", ""),
        ("Alphabet = 0.9", "abcd", f"{ONLY} {LETTERS}"),
        ("Alphabet = 0.5", "ab12", ""),
        ("Numeric >= 0.25", "abc1", ""),
        ("Numeric >= 0.25", "abcd1", f"{MORE} numbers"),
        ("Numeric < 0.25", "abc1", f"{LESS} numbers"),
        ("Numeric = 1", "123a", f"{ONLY} numbers"),
        ("Other >= 0.25", "abc-", ""),
        ("Other > 0.25", "abc-", f"{MORE} {OTHERS}"),
        ("Other <= 0.25", "ab--", f"{LESS} {OTHERS}"),
        ("Other = 1", "--a", f"{ONLY} {OTHERS}"),
        ("Other = 1", "\xe9\xfc -", ""),
        # The codes 91 to 96 are letters, and no other signs are.
        ("Alphabet = 1", "[\\]^_`", ""),
        ("Other = 1", "{|}~@/:", ""),
        ("Other > 0", "[\\]^_`", f"{MORE} {OTHERS}"),
        # The difference between capitals and small letters, as a share of the letters.
        ("UpperLower <= 0.5", "abcD", ""),
        ("UpperLower <= 0.5", "abcD----1234", ""),
        ("UpperLower <= 0.5", "ABCd", ""),
        ("UpperLower < 0.5", "abcD", f"{MORE} {DIVERSITY}"),
        ("UpperLower <= 0.4", "abcD", f"{MORE} {DIVERSITY}"),
        ("UpperLower >= 0.6", "abcD", f"{LESS} {DIVERSITY}"),
        ("UpperLower > 0.5", "abcD", f"{LESS} {DIVERSITY}"),
        ("UpperLower = 0.4", "abcD", f"{LESS} {DIVERSITY}"),
        ("UpperLower = 0.5", "abcD", ""),
        ("UpperLower = 0", "abCD", ""),
        ("UpperLower = 0", "AB[_", ""),
        # Without letters it never holds.
        ("UpperLower >= 0", "1234", f"{LESS} {DIVERSITY}"),
        ("UpperLower > 0", "----", f"{LESS} {DIVERSITY}"),
        ("UpperLower = 0", "1234", f"{LESS} {DIVERSITY}"),
        ("UpperLower <= 1", "1234", f"{MORE} {DIVERSITY}"),
        ("UpperLower < 1", "", f"{MORE} {DIVERSITY}"),
    ],
)
def test_rule(allowed: Allowed, rule: str, password: str, text: str) -> None:
    assert allowed(f"{rule}\n", password) == (f"password {text} " if text else "")


@pytest.mark.parametrize(
    "policy",
    [
        "length >= 5\n",
        "LENGTH >= 5\n",
        "Length\t>=\t5\n",
        "Length   >=  5",
        "# a comment\n\nLength >= 5\n",
        "Policy = be strong\nLength >= 5\n",
        "POLICY = be strong, please\nLength >= 5\n",
        # A line without three words is passed over.
        "Length\nLength >= 5\n",
        "Length >=\nLength >= 5\n",
        "Length>=9\nLength >= 5\n",
        "nonsense\nLength >= 5\n",
        # A later rule replaces an earlier one.
        "Length >= 9\nLength >= 5\n",
        "Length < 3\nlength >= 5\n",
        # What comes later is not read.
        "Length >= 5\nSize >= 9\nLength >= 9\n",
        "Length >= 5\nNumeric == 1\nLength >= 9\n",
        "Length >= 5\nNumeric => 1\nLength >= 9\n",
        "Length >= 5\n Length >= 9\nLength >= 9\n",
        "Length >= 5\n\tNumeric >= 1\nLength >= 9\n",
    ],
)
def test_reading(allowed: Allowed, policy: str) -> None:
    assert allowed(policy, "12345") == ""
    assert allowed(policy, "1234") == f"password {MORE} characters "


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "\n",
        "# Length >= 5\n",
        "Size >= 5\nLength >= 5\n",
        "Lengths >= 5\nLength >= 5\n",
        "Length ~ 5\nLength >= 5\n",
        " Length >= 5\nLength >= 5\n",
    ],
)
def test_no_rule(allowed: Allowed, policy: str) -> None:
    assert allowed(policy, "") == ""


def test_the_first_complaint_in_the_order_of_the_rules(allowed: Allowed) -> None:
    rules = [
        ("UpperLower <= 0.5", f"{MORE} {DIVERSITY}"),
        ("Other >= 0.1", f"{MORE} {OTHERS}"),
        ("Numeric >= 0.1", f"{MORE} numbers"),
        ("Alphabet <= 0.5", f"{LESS} {LETTERS}"),
        ("Length >= 5", f"{MORE} characters"),
    ]
    policy = ""
    for rule, text in rules:
        policy += f"{rule}\n"
        assert allowed(policy, "abcd") == f"password {text} "


def test_no_policy_file(tmp_path: Path) -> None:
    assert complaint(tmp_path, "") == ""


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(RULES)), max_size=6), st.text())
def test_any_policy_file_does_no_harm(parts: list[bytes], password: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        Path(home, "etc").mkdir()
        Path(home, "etc/password_strength.conf").write_bytes(b" ".join(parts))
        complaint(Path(home), password.replace("\0", ""))
