"""The functions for new code, on an installation of the bundled library."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests.conftest import Home, open_to_all, own_programs
from tests.linked import FORM, bundled_alone
from vpopmail_ext import api, calls, errors, exec_tools
from vpopmail_ext._binding import lib
from vpopmail_ext.records import Quota

PASSWORD = "s3cret-PW"


@pytest.fixture
def mail(home: Home) -> Home:
    """An installation with the domain example.com, its alias example.net, and alice."""
    api.add_domain("example.com", directory=str(home.path), uid=home.uid, gid=home.gid)
    api.add_alias_domain("example.com", "example.net")
    api.add_user("alice", "example.com", PASSWORD, gecos="Alice A.")
    return home


def directory(home: Home) -> Path:
    return home.path / "domains/example.com"


# --- domains --------------------------------------------------------------------------------------


def test_domains(mail: Home) -> None:
    api.add_domain("another.org", directory=str(mail.path), uid=mail.uid, gid=mail.gid)
    assert list(api.domains()) == [api.domain(n) for n in ("another.org", "example.com")] + [
        api.domain("example.net")
    ]
    found = api.domain("Example.COM")
    assert (found.name, found.real_name, found.is_alias) == ("example.com", "example.com", False)
    assert (found.uid, found.gid, found.directory) == (mail.uid, mail.gid, str(directory(mail)))
    alias = api.domain("example.net")
    assert (alias.real_name, alias.is_alias) == ("example.com", True)
    assert alias.directory == found.directory


def test_a_domain_s_owner_is_vpopmail_s_where_none_is_told(home: Home) -> None:
    api.add_domain("example.com")
    found = api.domain("example.com")
    assert (found.uid, found.gid) == (v.info().uid, v.info().gid) == (home.uid, home.gid)
    assert found.directory == str(home.path / "domains/example.com")


def test_lines_of_assign_that_are_no_domains_are_passed_over(mail: Home) -> None:
    assign = mail.qmail / "users/assign"
    text = assign.read_bytes()
    assign.write_bytes(b"=joe:joe:1:2:/home/joe:::\n+x\0y-:x:1:2:/x:-::\n+z-:z:q:2:/z:-::\n" + text)
    assert [domain.name for domain in api.domains()] == ["example.com", "example.net"]


def test_without_assign_there_are_no_domains(home: Home) -> None:
    assert list(api.domains()) == []
    (home.qmail / "users").rmdir()
    assert list(api.domains()) == []


@bundled_alone("it is taken for an empty one")
def test_an_assign_that_can_t_be_read(home: Home) -> None:
    (home.qmail / "users/assign").mkdir()
    with pytest.raises(errors.StorageFailed, match="can't read users/assign file"):
        api.domains()


@pytest.mark.parametrize(
    ("call", "kind", "about"),
    [
        (lambda: api.domain("nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.delete_domain("nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.add_domain("example.com"), errors.DomainExists, "example.com"),
        (lambda: api.add_domain("no_domain"), errors.InvalidName, "no_domain"),
        (lambda: api.add_domain("d" * 93 + ".com"), errors.TooLong, "d" * 93 + ".com"),
        (lambda: api.add_domain("x.com", directory="/nowhere"), errors.StorageFailed, "x.com"),
        (lambda: api.add_alias_domain("nope.com", "a.com"), errors.NoSuchDomain, "nope.com"),
        (
            lambda: api.add_alias_domain("example.com", "example.net"),
            errors.DomainExists,
            "example.net",
        ),
        (lambda: api.add_alias_domain("example.com", "a_b"), errors.InvalidName, "a_b"),
        (lambda: api.users("nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.user("alice", "nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.user("bob", "example.com"), errors.NoSuchUser, "bob@example.com"),
        (
            lambda: api.add_user("alice", "example.com", PASSWORD),
            errors.UserExists,
            "alice@example.com",
        ),
        (lambda: api.add_user("bob", "nope.com", PASSWORD), errors.NoSuchDomain, "nope.com"),
        (lambda: api.add_user("b:b", "example.com", PASSWORD), errors.InvalidName, "b:b@exam"),
        pytest.param(
            lambda: api.add_user("bob", "example.com", ""),
            errors.WeakPassword,
            "bob@example.com",
            marks=pytest.mark.skipif(not v.info().password_policy, reason="it has no policy"),
        ),
        (
            lambda: api.add_user("bob", "example.com", PASSWORD, gecos="a:b"),
            errors.InvalidValue,
            "bob@example.com",
        ),
        (lambda: api.delete_user("bob", "example.com"), errors.NoSuchUser, "bob@example.com"),
        (lambda: api.delete_user("alice", "nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.set_password("bob", "example.com", "x"), errors.NoSuchUser, "bob@example.com"),
        (lambda: api.set_password("alice", "nope.com", "x"), errors.NoSuchDomain, "nope.com"),
        (
            lambda: api.set_password("alice", "example.com", "x" * 129),
            errors.TooLong,
            "alice@example.com",
        ),
        (lambda: api.set_quota("bob", "example.com", "1M"), errors.NoSuchUser, "bob@example.com"),
        (lambda: api.set_quota("bob", "nope.com", "1M"), errors.NoSuchDomain, "nope.com"),
        (
            lambda: api.set_quota("alice", "example.com", Quota(10**19, 99)),
            errors.TooLong,
            "alice@example.com",
        ),
        (lambda: api.set_flags("bob", "example.com", 1), errors.NoSuchUser, "bob@example.com"),
        (lambda: api.set_flags("bob", "nope.com", 1), errors.NoSuchDomain, "nope.com"),
        (lambda: api.set_flags("alice", "example.com", -1), errors.InvalidValue, "flags must"),
        (lambda: api.add_domain("x.com", uid=2**32 - 1), errors.InvalidValue, "uid must be"),
        (lambda: api.rebuild("nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.limits("nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.set_limits("nope.com", api.Limits()), errors.NoSuchDomain, "nope.com"),
        (lambda: api.aliases("nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.alias("x", "nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.alias("x", "example.com"), errors.NoSuchAlias, "x@example.com"),
        (lambda: api.add_alias("x", "nope.com", "&a@b.c"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.add_alias("x/y", "example.com", "&a"), errors.InvalidName, "x/y@example.com"),
        (lambda: api.add_alias("x", "example.com", "l" * 160), errors.TooLong, "x@example.com"),
        (lambda: api.set_alias("x", "nope.com", ["&a"]), errors.NoSuchDomain, "nope.com"),
        (lambda: api.set_alias("x/y", "example.com", ["a"]), errors.InvalidName, "x/y@example.com"),
        (lambda: api.set_alias("x" * 65, "example.com", ["a"]), errors.TooLong, "x@example.com"),
        (lambda: api.set_alias("x", "d" * 97, ["a"]), errors.TooLong, "x@d"),
        (lambda: api.set_alias("x", "example.com", ["a", "l" * 160]), errors.TooLong, "x@example"),
        (lambda: api.remove_alias_line("x", "nope.com", "a"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.remove_alias_line("x", "example.com", "a"), errors.NoSuchAlias, "x@example"),
        (lambda: api.delete_alias("x", "nope.com"), errors.NoSuchDomain, "nope.com"),
        (lambda: api.delete_alias("x", "example.com"), errors.NoSuchAlias, "x@example.com"),
        (lambda: api.delete_alias("x" * 65, "example.com"), errors.TooLong, "x@example.com"),
        (lambda: api.domain("a\0b"), errors.InvalidValue, "a NUL in name"),
    ],
)
def test_errors_tell_what_they_are_about(
    mail: Home, call: Callable[[], Any], kind: type[errors.VpopmailError], about: str
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert about in str(caught.value)
    assert str(caught.value).startswith(caught.value.text)
    assert PASSWORD not in str(caught.value)


def test_a_value_of_another_type() -> None:
    with pytest.raises(TypeError, match="name must be str, not bytes"):
        api.domain(b"example.com")  # type: ignore[arg-type]


def test_deleting_a_domain(mail: Home) -> None:
    api.delete_domain("example.net")
    assert [domain.name for domain in api.domains()] == ["example.com"]
    api.delete_domain("example.com")
    assert list(api.domains()) == []
    assert not directory(mail).exists()


@bundled_alone("etc/defaultdomain is read once in a process")
def test_default_domain(mail: Home) -> None:
    assert api.default_domain() is None
    file = mail.path / "etc/defaultdomain"
    for text, expected in ((b"example.com\nexample.net\n", "example.com"), (b"a\0b\n", None)):
        file.write_bytes(text)
        assert api.default_domain() == expected


# --- users ----------------------------------------------------------------------------------------


def test_a_user_s_record(mail: Home) -> None:
    found = api.user("ALICE", "example.NET")
    assert found.name == "alice"
    assert found.domain == "example.com"
    assert found.address == "alice@example.com"
    assert found.gecos == "Alice A."
    assert found.directory == str(directory(mail) / "alice")
    assert found.quota == Quota()
    assert found.flags == found.effective_flags == api.UserFlags(0)
    assert found.apop is False
    assert found.password_hash.startswith(("$6$", "$1$"))
    assert found.password_hash not in repr(found)


def test_apop(mail: Home) -> None:
    api.add_user("bob", "example.com", PASSWORD, apop=True)
    assert api.user("bob", "example.com").apop is True


def test_users_in_the_order_in_which_they_are_kept(mail: Home) -> None:
    for name in ("zoe", "bob"):
        api.add_user(name, "example.com", PASSWORD)
    assert [user.name for user in api.users("example.net")] == ["alice", "bob", "zoe"]
    assert list(api.users("example.com")) == [
        api.user(name, "example.com") for name in ("alice", "bob", "zoe")
    ]


def test_users_of_an_empty_domain(home: Home) -> None:
    api.add_domain("example.com")
    assert list(api.users("example.com")) == []


def test_users_are_those_of_the_call(mail: Home) -> None:
    found = api.users("example.com")
    api.add_user("bob", "example.com", PASSWORD)
    assert [user.name for user in found] == ["alice"]


def line(name: str, gecos: str = "g", hash_: str = "x", flags: str = "0") -> str:
    return f"{name}:{hash_}:1:{flags}:{gecos}:/home/{name}:NOQUOTA\n"


def test_many_users_stream(mail: Home) -> None:
    names = [f"user{number:05}" for number in range(3000)]
    text = "".join(line(name, "g" * (number % 100)) for number, name in enumerate(names))
    (directory(mail) / "vpasswd").write_text(text)
    found = api.users("example.com")
    assert next(found).name == "user00000"
    assert [user.name for user in found] == names[1:]


@bundled_alone("the users of a malformed vpasswd are not asked for")
def test_lines_that_are_no_users_are_passed_over(mail: Home) -> None:
    long = "y" * 200_000
    text = ["bad\n", line("one"), "\n", line("n\0ul"), "a:b:c\n", line("two", flags="q"), long]
    (directory(mail) / "vpasswd").write_text("".join(text) + "\n" + line("last", long)[:-1])
    assert [user.name for user in api.users("example.com")] == ["one", "last"]


def test_a_listing_given_up_half_way(mail: Home) -> None:
    (directory(mail) / "vpasswd").write_text("".join(line(f"user{n}") for n in range(5000)))
    before = len(os.listdir("/proc/self/fd"))
    found = api.users("example.com")
    next(found)
    del found
    api.users("example.com")  # never begun
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_vpasswd_that_is_a_link_is_refused(mail: Home, tmp_path: Path) -> None:
    vpasswd = directory(mail) / "vpasswd"
    vpasswd.rename(mail.path / "elsewhere")
    vpasswd.symlink_to(mail.path / "elsewhere")
    with pytest.raises(errors.InvalidName):
        api.users("example.com")


@bundled_alone("the users of a malformed vpasswd are not asked for")
def test_a_record_that_holds_a_nul_is_no_user(mail: Home) -> None:
    with (directory(mail) / "vpasswd").open("a") as file:
        file.write(line("bob", "g\0h"))
    api.rebuild("example.com")
    with pytest.raises(errors.NoSuchUser):
        api.user("bob", "example.com")


def test_a_damaged_cdb(mail: Home) -> None:
    (directory(mail) / "vpasswd.cdb").write_bytes(b"\xff" * 3000)
    with pytest.raises(errors.StorageFailed):
        api.user("alice", "example.com")
    api.rebuild("example.com")
    assert api.user("alice", "example.com").name == "alice"


def test_bytes_that_are_no_utf_8(mail: Home) -> None:
    gecos = b"Al\xefce".decode("utf-8", "surrogateescape")
    api.add_user("bob", "example.com", PASSWORD, gecos=gecos)
    assert b"Al\xefce" in (directory(mail) / "vpasswd").read_bytes()
    assert api.user("bob", "example.com").gecos == gecos


def test_deleting_a_user(mail: Home) -> None:
    api.delete_user("alice", "example.net")
    assert list(api.users("example.com")) == []


@pytest.mark.skipif(not FORM.keeps_catch_all, reason="this release deletes the catch-all user")
def test_the_catchall_user_stays(mail: Home) -> None:
    (directory(mail) / ".qmail-default").write_text(
        f"| {mail.path}/bin/vdelivermail '' alice@example.com\n"
    )
    with pytest.raises(errors.NotPermitted, match="can't delete catchall account"):
        api.delete_user("alice", "example.com")


def test_passwords(mail: Home) -> None:
    api.set_password("alice", "example.com", "another-PW1")
    assert api.authenticate("alice", "example.com", PASSWORD) is None
    assert api.authenticate("bob", "example.com", PASSWORD) is None
    assert api.authenticate("alice", "nope.com", PASSWORD) is None
    assert api.authenticate("Alice", "example.net", "another-PW1") == api.user(
        "alice", "example.com"
    )


@bundled_alone("the policy is read once in a process")
def test_the_password_policy_s_own_text(mail: Home) -> None:
    (mail.path / "etc/password_strength.conf").write_text("Length >= 12\n")
    with pytest.raises(errors.WeakPassword) as caught:
        api.set_password("alice", "example.com", "short")
    assert caught.value.text == "password requires more characters "
    assert caught.value.name == "VA_PWSTR_LENGTH"


@pytest.mark.parametrize("by", ["flags", "limits"])
def test_a_password_that_may_not_be_changed(mail: Home, by: str) -> None:
    if by == "flags":
        api.set_flags("alice", "example.com", api.UserFlags.NO_PASSWD_CHNG)
    else:
        api.set_limits("example.com", api.Limits(disable_password_changing=True))
    with pytest.raises(errors.NotPermitted, match="Password change not permitted: alice@example"):
        api.set_password("alice", "example.com", "another-PW1")


def test_a_password_in_a_file_that_is_a_link(mail: Home, tmp_path: Path) -> None:
    vpasswd = directory(mail) / "vpasswd"
    vpasswd.rename(mail.path / "elsewhere")
    vpasswd.symlink_to(mail.path / "elsewhere")
    with pytest.raises(errors.InvalidName, match=r"Illegal username: alice@example\.com"):
        api.set_password("alice", "example.com", "another-PW1")


def test_flags(mail: Home) -> None:
    api.set_limits("example.com", api.Limits(disable_pop=True, delete_spam=True))
    flags = api.UserFlags.NO_SMTP | api.UserFlags.V_USER3
    before = (directory(mail) / "vpasswd").read_text()
    api.set_flags("alice", "example.net", flags)
    assert (directory(mail) / "vpasswd").read_text() == before.replace(":1:0:", f":1:{flags}:")
    found = api.user("alice", "example.com")
    assert found.flags == flags
    assert found.effective_flags == flags | api.UserFlags.NO_POP | api.UserFlags.DELETE_SPAM
    assert list(api.users("example.com")) == [found]
    api.set_flags("alice", "example.com", api.UserFlags.V_OVERRIDE)
    found = api.user("alice", "example.com")
    assert found.effective_flags == found.flags == api.UserFlags.V_OVERRIDE
    assert list(api.users("example.com")) == [found]


@bundled_alone("the user is taken from vpasswd.cdb")
def test_flags_without_the_user_s_line(mail: Home) -> None:
    (directory(mail) / "vpasswd").write_text("")
    with pytest.raises(errors.NoSuchUser):
        api.set_flags("alice", "example.com", 1)


@pytest.mark.parametrize(
    ("quota", "stored"),
    [
        (Quota(5242880, 1000), "5242880S,1000C"),
        (Quota(messages=7), "7C"),
        ("100M", "104857600S"),
        ("1g,5000c", "1073741824S,5000C"),
        ("2kb, 3C", "2048S,3C"),
        ("4096", "4096S"),
        ("5242880S", "5242880S"),
        ("1T", "1099511627776S"),
        ("NOQUOTA", "NOQUOTA"),
        (Quota(), "NOQUOTA"),
        (None, "NOQUOTA"),
    ],
)
def test_quotas(mail: Home, quota: Quota | str | None, stored: str) -> None:
    api.set_quota("alice", "example.net", quota)
    assert (directory(mail) / "vpasswd").read_text().rstrip("\n").split(":")[6] == stored
    found = api.user("alice", "example.com").quota
    assert str(found) == stored
    assert found == Quota.stored(stored)


@pytest.mark.parametrize("text", ["", "lots", "5X", "-5", "5,", "5.5M", "M", "9" * 19])
def test_texts_that_are_no_quota(mail: Home, text: str) -> None:
    with pytest.raises(errors.InvalidValue, match="Not a quota"):
        api.set_quota("alice", "example.com", text)


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("5M,10C", Quota(5242880, 10)),
        ("5mb", Quota(5242880)),
        ("5KS", Quota(5120)),
        ("5G", Quota(5)),
        ("5c", Quota(5)),
        ("-5", Quota()),
        ("", Quota()),
        ("NOQUOTA", Quota()),
        ("what", Quota()),
    ],
)
def test_a_stored_quota_is_what_vpopmail_takes_it_for(text: str, quota: Quota) -> None:
    assert Quota.stored(text) == quota


def test_quota_usage(mail: Home) -> None:
    maildir = directory(mail) / "alice/Maildir"
    (maildir / "new/1").write_text("hello")
    (maildir / "cur/2,S=100:2,S").write_text("hello")
    (maildir / "cur/3,S=100:2,ST").write_text("hello")
    usage = api.quota_usage(api.user("alice", "example.com"))
    assert (usage.size, usage.messages, usage.percent) == (105, 2, None)
    api.set_quota("alice", "example.com", "5M,10C")
    assert api.quota_usage(api.user("alice", "example.com")).percent == 20
    api.set_quota("alice", "example.com", "150")
    assert api.quota_usage(api.user("alice", "example.com")).percent == 70


def test_quota_usage_without_a_maildir(mail: Home) -> None:
    alice = api.user("alice", "example.com")
    (directory(mail) / "alice").rename(directory(mail) / "gone")
    usage = api.quota_usage(alice)
    assert (usage.size, usage.messages) == (0, 0)
    (directory(mail) / "alice").symlink_to("gone")
    with pytest.raises(errors.InvalidName):
        api.quota_usage(alice)
    api.delete_domain("example.com")
    with pytest.raises(errors.NoSuchDomain):
        api.quota_usage(alice)


def test_signing_in(mail: Home) -> None:
    alice = api.user("alice", "example.com")
    for address in ("alice@example.com", "Alice%Example.NET"):
        assert api.sign_in(address, PASSWORD) == alice
    assert api.sign_in("alice", PASSWORD) is None
    for address, password in (
        ("alice@example.com", "guess"),
        ("alice@example.com", ""),
        ("bob@example.com", PASSWORD),
        ("alice@nowhere.com", PASSWORD),
        ("", PASSWORD),
        ("alice\0@example.com", PASSWORD),
        ("alice@example.com", PASSWORD + "\0"),
        ("\ud800@example.com", PASSWORD),
        ("../alice@example.com", PASSWORD),
        ("a" * 5000 + "@example.com", PASSWORD),
        ("alice@" + "x" * 5000, PASSWORD),
    ):
        assert api.sign_in(address, password) is None


@bundled_alone("etc/defaultdomain is read once in a process")
def test_signing_in_at_the_default_domain(mail: Home) -> None:
    (mail.path / "etc/defaultdomain").write_text("example.com\n")
    assert api.sign_in("alice", PASSWORD) == api.user("alice", "example.com")
    assert api.sign_in("alice", "guess") is None


def test_flags_that_forbid_signing_in(mail: Home) -> None:
    api.set_flags("alice", "example.com", api.UserFlags.NO_SMTP)
    assert api.sign_in("alice@example.com", PASSWORD, api.UserFlags.NO_SMTP) is None
    either = api.UserFlags.NO_SMTP | api.UserFlags.NO_POP
    assert api.sign_in("alice@example.com", PASSWORD, either) is None
    assert api.sign_in("alice@example.com", PASSWORD, api.UserFlags.NO_POP) is not None
    # The domain's limits count too.
    api.set_limits("example.com", replace(api.limits("example.com"), disable_pop=True))
    assert api.sign_in("alice@example.com", PASSWORD, api.UserFlags.NO_POP) is None


def test_a_sign_in_that_can_t_be_looked_up_is_no_wrong_password(mail: Home) -> None:
    (directory(mail) / "vpasswd.cdb").write_bytes(b"\xff" * 3000)
    assert api.authenticate("alice", "example.com", PASSWORD) is None
    with pytest.raises(errors.StorageFailed):
        api.sign_in("alice@example.com", PASSWORD)


def test_last_auth(mail: Home) -> None:
    alice = api.user("alice", "example.com")
    file = directory(mail) / "alice/lastauth"
    assert file.read_text() == "0.0.0.0"
    assert api.last_auth(alice) is None
    file.write_text("192.0.2.7\nrest")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    last = api.last_auth(alice)
    assert last is not None
    assert last.time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
    assert last.address == "192.0.2.7"
    for text in ("", "\n"):
        file.write_text(text)
        assert api.last_auth(alice) is None
    file.unlink()
    assert api.last_auth(alice) is None
    before = datetime.now(timezone.utc).replace(microsecond=0)
    api.set_last_auth(alice, "192.0.2.8")
    assert file.read_text() == "192.0.2.8"
    status = file.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (status.st_uid, status.st_gid) == (mail.uid, mail.gid)
    last = api.last_auth(alice)
    assert last is not None
    assert last.time >= before
    with pytest.raises(errors.InvalidValue):
        api.set_last_auth(alice, "192.0.2.9\n")
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(errors.InvalidName):
        api.last_auth(alice)
    with pytest.raises(errors.NoSuchUser, match=r"bob@example\.com"):
        api.last_auth(replace(alice, name="bob"))


@bundled_alone("what is before the NUL is taken")
def test_an_address_that_holds_a_nul(mail: Home) -> None:
    (directory(mail) / "alice/lastauth").write_text("a\0b")
    assert api.last_auth(api.user("alice", "example.com")) is None


def test_rebuild(mail: Home) -> None:
    cdb = directory(mail) / "vpasswd.cdb"
    before = cdb.read_bytes()
    cdb.write_bytes(b"")
    api.rebuild("example.net")
    assert cdb.read_bytes() == before


# --- limits ---------------------------------------------------------------------------------------

FULL = api.Limits(
    maxpopaccounts=5,
    maxforwards=3,
    maxautoresponders=0,
    quota=100,
    maxmsgcount=1000,
    default_quota=1048576,
    default_maxmsgcount=99,
    disable_pop=True,
    disable_imap=True,
    disable_dialup=True,
    disable_password_changing=True,
    disable_webmail=True,
    disable_external_relay=True,
    disable_smtp=True,
    disable_spamassassin=True,
    delete_spam=True,
    disable_maildrop=True,
    perm_account=api.Denied.CREATE,
    perm_alias=api.Denied.MODIFY,
    perm_forward=api.Denied.CREATE | api.Denied.MODIFY,
    perm_autoresponder=api.Denied.DELETE,
    perm_maillist=api.Denied(5),
    perm_quota=api.Denied(6),
    perm_defaultquota=api.Denied(5),
)
# vset_limits() of 5.6.13 wrote it for the same limits.
FULL_TEXT = """\
maxpopaccounts: 5
maxaliases: -1
maxforwards: 3
maxautoresponders: 0
maxmailinglists: -1
quota: 100
maxmsgcount: 1000
default_quota: 1048576
default_maxmsgcount: 99
disable_pop
disable_imap
disable_dialup
disable_password_changing
disable_webmail
disable_external_relay
disable_smtp
disable_spamassassin
delete_spam
disable_maildrop
perm_account: 1
perm_alias: 2
perm_forward: 3
perm_autoresponder: 4
perm_maillist: 5
perm_quota: 6
perm_defaultquota: 5
"""


def limits_file(home: Home) -> Path:
    return directory(home) / ".qmailadmin-limits"


def test_limits_are_written_as_vpopmail_writes_them(mail: Home) -> None:
    assert api.limits("example.com") == api.Limits()
    api.set_limits("example.net", FULL)
    file = limits_file(mail)
    assert file.read_text() == FULL_TEXT
    status = file.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (status.st_uid, status.st_gid) == (mail.uid, mail.gid)
    assert api.limits("example.com") == api.limits("example.net") == FULL
    api.add_user("bob", "example.com", PASSWORD)
    assert str(api.user("bob", "example.com").quota) == "1048576S,99C"


def test_limits_as_vpopmail_reads_them(mail: Home) -> None:
    # What vget_limits() of 5.6.13 made of the same text.
    limits_file(mail).write_text(
        "maxpopaccounts 7 # hm\nquota: 12M\n default_quota 5\ndefault_quota 10M\nmaxmsgcount x\n"
        "perm_alias 9\nperm_maillist_users 3\ndisable_pop 0\ndisable_imap false\nDISABLE_SMTP\n"
        "maxforwards -5\nmaxaliases: +4\nmaxautoresponders 0x10\n#disable_dialup\n"
        "disable_external_relay\ndelete_spam:\nmaxmailinglists 6\nmaxmailinglists\n"
    )
    assert api.limits("example.com") == api.Limits(
        maxpopaccounts=7,
        maxaliases=4,
        maxautoresponders=0,
        maxmailinglists=6,
        quota=12,
        default_quota=10,
        disable_pop=True,
        disable_imap=True,
        disable_external_relay=True,
        delete_spam=True,
        perm_alias=api.Denied.CREATE,
    )


def test_the_default_limits(mail: Home) -> None:
    (mail.path / "etc/vlimits.default").write_text("maxpopaccounts\t\t12\nperm_account 7\n")
    assert api.limits("example.com") == api.Limits(maxpopaccounts=12, perm_account=api.Denied(7))


@bundled_alone("etc/vlimits.default is needed")
def test_no_limits_at_all(mail: Home) -> None:
    (mail.path / "etc/vlimits.default").unlink()
    assert api.limits("example.com") == api.Limits()


@pytest.mark.parametrize(
    "limits",
    [
        api.Limits(maxaliases=-1),
        api.Limits(maxaliases=2**31),
        api.Limits(quota=2**63),
        api.Limits(perm_quota=api.Denied(8)),
    ],
)
def test_limits_out_of_range(mail: Home, limits: api.Limits) -> None:
    with pytest.raises(errors.InvalidValue, match="must be from 0 to"):
        api.set_limits("example.com", limits)
    assert not limits_file(mail).exists()


def test_limits_in_the_place_of_a_link(mail: Home, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    limits_file(mail).symlink_to(tmp_path / "target")
    with pytest.raises(errors.VpopmailError):
        api.limits("example.com")
    with pytest.raises(errors.VpopmailError):
        api.set_limits("example.com", FULL)
    assert (tmp_path / "target").read_text() == "theirs"


# --- aliases --------------------------------------------------------------------------------------


def test_aliases(mail: Home) -> None:
    api.add_alias("info", "example.com", "&alice@example.com")
    api.add_alias("info", "example.net", "|program")
    api.set_alias("J.Doe", "example.com", ["&one@example.org", "&two@example.org"])
    (directory(mail) / ".qmail-empty").write_text("")
    found = list(api.aliases("example.net"))
    assert found == [
        api.Alias("empty", "example.com", ()),
        api.Alias("info", "example.com", ("&alice@example.com", "|program")),
        api.Alias("J.Doe", "example.com", ("&one@example.org", "&two@example.org")),
    ]
    assert found[1].address == "info@example.com"
    assert [api.alias(alias.name, "example.net") for alias in found] == found
    assert (directory(mail) / ".qmail-J:Doe").read_text() == "&one@example.org\n&two@example.org\n"


def test_setting_an_alias(mail: Home) -> None:
    file = directory(mail) / ".qmail-info"
    api.set_alias("info", "example.com", ["a", "b"])
    api.set_alias("info", "example.com", ["c"])
    assert file.read_text() == "c\n"
    status = file.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (status.st_uid, status.st_gid) == (mail.uid, mail.gid)
    with pytest.raises(errors.TooLong):
        api.set_alias("info", "example.com", ["d", "l" * 160])
    assert file.read_text() == "c\n"
    api.set_alias("info", "example.com", [])
    assert not file.exists()
    api.set_alias("info", "example.com", [])


def test_setting_a_list_s_alias_is_refused(mail: Home, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("theirs\n")
    (directory(mail) / ".qmail-list").symlink_to(tmp_path / "list")
    with pytest.raises(errors.InvalidName):
        api.set_alias("list", "example.com", ["mine"])
    assert (tmp_path / "list").read_text() == "theirs\n"
    api.set_alias("list", "example.com", [])
    assert not (directory(mail) / ".qmail-list").is_symlink()


def test_removing_lines(mail: Home) -> None:
    api.set_alias("info", "example.com", ["a", "b", "a"])
    api.remove_alias_line("info", "example.net", "a")
    assert api.alias("info", "example.com").lines == ("b",)
    with pytest.raises(errors.NoSuchAlias, match="Alias does not exist or has no such line"):
        api.remove_alias_line("info", "example.com", "a")
    api.remove_alias_line("info", "example.com", "b")
    assert not (directory(mail) / ".qmail-info").exists()


def test_deleting_an_alias(mail: Home) -> None:
    api.add_alias("info", "example.com", "a")
    api.delete_alias("info", "example.com")
    assert list(api.aliases("example.com")) == []


# --- programs -------------------------------------------------------------------------------------


@pytest.fixture
def tools(mail: Home) -> Iterator[Callable[[str, str], None]]:
    """Make a program of HOME/bin from a shell script."""
    with own_programs(mail.path) as programs:

        def make(name: str, script: str) -> None:
            file = programs / name
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)

        yield make


def test_the_arguments_of_add_domain_ex(mail: Home, tools: Callable[[str, str], None]) -> None:
    tools("vadddomain", f'for a; do echo "[$a]"; done > {mail.path}/seen')
    seen = mail.path / "seen"
    api.add_domain_ex("x.com", "pass word")
    assert seen.read_text() == "[--]\n[x.com]\n[pass word]\n"
    api.add_domain_ex("x.com", "p", quota="5M", bounce="a@b.c", apop=True)
    assert seen.read_text() == "[-q]\n[5M]\n[-e]\n[a@b.c]\n[-a]\n[--]\n[x.com]\n[p]\n"
    api.add_domain_ex("x.com", "p", bounce="yes")
    assert seen.read_text() == "[-b]\n[--]\n[x.com]\n[p]\n"


@pytest.mark.parametrize(
    ("script", "kind", "code", "text"),
    [
        ("exit 243", errors.DomainExists, -13, "Domain already exists: x.com"),
        ("exit 186", errors.WeakPassword, -70, "password refused by etc/password_strength.conf"),
        ("exit 3", errors.ToolFailed, 3, "failed with exit status 3"),
        (f"kill -{signal.SIGTERM.value} $$", errors.ToolFailed, 143, "was ended by signal 15"),
    ],
)
def test_exit_statuses(
    tools: Callable[[str, str], None],
    script: str,
    kind: type[errors.VpopmailError],
    code: int,
    text: str,
) -> None:
    tools("vadddomain", script)
    with pytest.raises(kind) as caught:
        api.add_domain_ex("x.com", PASSWORD)
    assert caught.value.code == code
    assert text in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_programs_that_can_t_be_run(mail: Home, tools: Callable[[str, str], None]) -> None:
    with pytest.raises(errors.ToolFailed, match=r"bin/vadddomain is not there; x\.com") as caught:
        api.add_domain_ex("x.com", PASSWORD)
    assert caught.value.code == exec_tools.NOT_FOUND
    (mail.path / "bin/vadddomain").write_text("")
    with pytest.raises(errors.ToolFailed, match=r"bin/vadddomain can't be run; x\.com"):
        api.add_domain_ex("x.com", PASSWORD)


def test_delete_domain_ex(tools: Callable[[str, str], None]) -> None:
    tools("vdeldomain", "exit 0")
    with pytest.raises(errors.NotPermitted, match=r"example\.com has alias domains") as caught:
        api.delete_domain_ex("example.com")
    assert caught.value.code == 0
    api.delete_domain_ex("gone.com")
    tools("vdeldomain", "exit 245")
    with pytest.raises(errors.NoSuchDomain):
        api.delete_domain_ex("gone.com")


@pytest.mark.parametrize(
    ("status", "arguments", "kind", "about"),
    [
        (255, ("example.com", "example.net"), errors.DomainExists, "example.com and example.net"),
        (255, ("a.com", "b.com"), errors.NoSuchDomain, "a.com"),
        (255, ("example.com", "example.com"), errors.DomainExists, "example.com"),
        (244, ("example.com", "a_b"), errors.InvalidName, "example.com and a_b"),
    ],
)
def test_add_alias_domain_ex(
    tools: Callable[[str, str], None],
    status: int,
    arguments: tuple[str, str],
    kind: type[errors.VpopmailError],
    about: str,
) -> None:
    tools("vaddaliasdomain", f"exit {status}")
    with pytest.raises(kind) as caught:
        api.add_alias_domain_ex(*arguments)
    assert caught.value.about == about
    tools("vaddaliasdomain", "exit 0")
    api.add_alias_domain_ex(*arguments)


# --- a library that lacks something ---------------------------------------------------------------


class Lacking:
    """The binding of a library that was built without a function."""

    def __init__(self, *functions: str) -> None:
        self.functions = functions

    def __getattr__(self, name: str) -> Any:
        if name in self.functions:
            return lambda *arguments: lib.VPX_NOT_SUPPORTED
        return getattr(lib, name)


@pytest.mark.parametrize(
    ("function", "call", "without"),
    [
        (
            "vpx_last_auth",
            lambda: api.last_auth(api.user("alice", "example.com")),
            "auth logging (--enable-auth-logging)",
        ),
        (
            "vpx_set_last_auth",
            lambda: api.set_last_auth(api.user("alice", "example.com"), "192.0.2.7"),
            "auth logging (--enable-auth-logging)",
        ),
        ("vpx_rebuild", lambda: api.rebuild("example.com"), "the cdb module"),
    ],
)
def test_what_the_linked_library_was_built_without(
    mail: Home,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    call: Callable[[], Any],
    without: str,
) -> None:
    monkeypatch.setattr(api, "lib", Lacking(function))
    with pytest.raises(errors.NotSupported) as caught:
        call()
    assert isinstance(caught.value, NotImplementedError)
    assert str(caught.value).endswith(
        f"the linked libvpopmail {v.info().vpopmail_version} was built without {without}"
    )


def test_nobody_else_sees_the_accounts(mail: Home) -> None:
    if os.geteuid() != 0 or mail.uid == 0:
        pytest.skip("needs root and another user")
    open_to_all(mail.path)
    script = f"""
import os, vpopmail_ext
from vpopmail_ext import api, errors
vpopmail_ext.configure(home={str(mail.path)!r}, qmail={str(mail.qmail)!r})
os.setgid(65534); os.setuid(65534)
for call in (
    lambda: api.user("alice", "example.com"),
    lambda: api.users("example.com"),
    lambda: api.sign_in("alice@example.com", {PASSWORD!r}),
):
    try:
        call()
    except errors.NotPermitted as error:
        assert error.name == "VA_BAD_UID", error
    else:
        raise AssertionError
assert api.authenticate("alice", "example.com", {PASSWORD!r}) is None
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_name_is_documented_and_exported() -> None:
    assert api.__all__ == sorted(api.__all__, key=lambda name: (not name[0].isupper(), name))
    for name in api.__all__:
        assert getattr(api, name).__doc__


def test_the_calls_module_refuses_numbers_out_of_range() -> None:
    assert calls.number("n", 5, 5) == 5
