"""Where the package must differ from a trace, and what is expected of it there.

Each `Difference` names its rows of docs/differences.md (which has the numbers of the reference's
FAULTS.md) and tells everything that is to come out otherwise; what it does not name is as recorded.
What is expected of later calls follows from the file tree that the difference leaves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.conformance.hashes import crypt

TRACES = Path(__file__).parent / "traces"


class _AsRecorded:
    pass


AS_RECORDED: Final = _AsRecorded()

File = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """What is expected of one call in place of what was recorded."""

    rows: tuple[int, ...]
    result: object = AS_RECORDED
    raises: type[Exception] | None = None
    """Instead of a result and warnings."""
    warnings: Sequence[str] | _AsRecorded = AS_RECORDED
    error: str | _AsRecorded = AS_RECORDED
    changed: Mapping[str, File | None] = field(default_factory=dict)
    """Files as a trace has them, over the recorded ones; None: that file does not change."""
    removed: Sequence[str] = ()
    """Besides the recorded ones."""
    modes: Mapping[str, str] = field(default_factory=dict)
    """Modes of recorded files."""


def _dir() -> File:
    return {"type": "dir", "mode": "0700", "uid": 89, "gid": 89}


def _owned(text: str) -> File:
    return {"type": "file", "mode": "0600", "uid": 89, "gid": 89, "text": text}


def _cdb_of_vpasswd() -> File:
    return {"type": "file", "mode": "0600", "uid": 89, "gid": 89, "cdb_of": "vpasswd"}


def _qmail_file(text: str) -> File:
    return {"type": "file", "mode": "0644", "uid": 0, "gid": 0, "text": text}


def _assign(*lines: str) -> File:
    return _qmail_file("".join(f"{line}\n" for line in (*lines, ".")))


def _assign_line(domain: str, real: str = "") -> str:
    real = real or domain
    return f"+{domain}-:{real}:89:89:/home/vpopmail/domains/{real}:-::"


def _hash(password: str, salt: str = "saltsalt") -> str:
    # Stands for the hash that the call makes, which is judged by the password. Where the trace has
    # a hash there, that one is to stay: later calls list it again.
    return crypt(password.encode(), f"$6${salt}$".encode()).decode()


def _vpasswd_line(domain: str, user: str, hashed: str, gecos: str) -> str:
    path = f"/home/vpopmail/domains/{domain}/{user}"
    return f"{user}:{hashed}:1:0:{gecos}:{path}:NOQUOTA\n"


def _user_files(domain: str, user: str) -> dict[str, File]:
    path = f"/home/vpopmail/domains/{domain}/{user}"
    directories = {f"{path}{name}": _dir() for name in _USER_DIRECTORIES}
    return {**directories, f"{path}/lastauth": _owned("0.0.0.0")}


def _failed(text: str) -> dict[str, Any]:
    return {"result": False, "warnings": [f"vpopmail error: {text}"], "error": text}


_SUCCEEDED: Final[dict[str, Any]] = {"result": True, "warnings": [], "error": "Success"}
_USER_DIRECTORIES = ("", "/Maildir", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp")

_FIRST_COUNT = "1\n0\n3\n0 0 0\n61 61 61\n0 2 4\n0 0 0\n\n"

_ASSIGN = "/var/qmail/users/assign"
_RCPTHOSTS = "/var/qmail/control/rcpthosts"
_MORERCPTHOSTS = "/var/qmail/control/morercpthosts"
_VIRTUALDOMAINS = "/var/qmail/control/virtualdomains"
_EXAMPLE = "/home/vpopmail/domains/example.com"


def _row_1() -> dict[tuple[str, int], Difference]:
    """The working directory stays where it is: expected of every call, these moved it."""
    calls = [
        *[("catchall_forms", 0), ("catchall_user", 1), ("lookups_in_empty_domain", 5)],
        *[("two_faults", 16), ("two_faults", 17), ("user_basics", 10)],
        *[("walk_00", 20), ("walk_02", 32), ("walk_02", 40)],
    ]
    return {call: Difference((1,)) for call in calls}


def _row_2() -> dict[tuple[str, int], Difference]:
    """A file with a hash is never wider than 0600, whatever the umask."""
    private = Difference((2,), modes={f"{_EXAMPLE}/vpasswd": "0600"})
    return {("umask_modes", call): private for call in (0, 1)}


def _row_7() -> dict[tuple[str, int], Difference]:
    """A domain of 96 bytes: its line is whole, and users/cdb goes on following assign."""
    short = _assign_line("a.bc")
    long = _assign_line("a" * 92 + ".com")
    b63 = _assign_line("b." + "c" * 63)
    lead, museum = _assign_line(".lead.com"), _assign_line("x.y.z.museum")
    address = _assign_line("1.2.3.44")
    bucher = _assign_line("xn--bcher-kva.example")
    cdb, cdb_tmp = "/var/qmail/users/cdb", "/var/qmail/users/cdb.tmp"
    first = {_ASSIGN: _assign(short, long, lead, museum), cdb: None, cdb_tmp: None}
    third = {_ASSIGN: _assign(address, short, long, b63, lead, museum)}
    fourth = {_ASSIGN: _assign(address, short, long, b63, lead, bucher, museum)}
    return {
        ("domain_names", 14): Difference((7,), changed=first),
        ("domain_names", 16): Difference(
            (7,), changed={_ASSIGN: _assign(short, long, b63, lead, museum)}
        ),
        ("domain_names", 22): Difference((7,), changed=third),
        ("domain_names", 23): Difference((7,), changed=fourth),
    }


def _row_8() -> dict[tuple[str, int], Difference]:
    """An alias domain as vaddaliasdomain makes it: no symlink, and users are found through it."""
    alias = _assign_line("alias.example", "example.com")
    real = _assign_line("example.com")
    second = _assign_line("second.example", "example.com")
    alice = _vpasswd_line("example.com", "alice", _ALICES_HASH, "A Person")
    bob = _vpasswd_line("example.com", "bob", _hash("bobspw12"), "Bob")
    bobs_files = _user_files("example.com", "bob")
    first = {_ASSIGN: _assign(alias, real), "/home/vpopmail/domains/alias.example": None}
    other = {_ASSIGN: _assign(alias, real, second), "/home/vpopmail/domains/second.example": None}
    add_bob = {
        **bobs_files,
        f"{_EXAMPLE}/.dir-control": _owned("2\n0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n\n"),
        f"{_EXAMPLE}/vpasswd": _owned(alice + bob),
    }
    expected = {
        2: Difference((8,), **_failed("Domain does not exist")),
        3: Difference((8,), changed=first),
        4: Difference((8,), **_failed("Domain already exists")),
        5: Difference((8,), changed=other),
        6: Difference((8,), result=True),
        7: Difference((8,), changed=add_bob, **_SUCCEEDED),
        8: Difference((8,), changed={_ASSIGN: _assign(real, second)}),
        9: Difference(
            (8, 22),
            changed={_ASSIGN: _assign()},
            removed=list(bobs_files),
            modes={_RCPTHOSTS: "0644"},
        ),
    }
    return {("alias_domain_symlink", call): expected[call] for call in expected}


# alice's in the trace, made by its call 1.
_ALICES_HASH = (
    "$6$oRKUIy.U$NPGOPo4mvNj6F1LrCKinlpIcmgvkoSWc2JcA1wk3CBLTXyFXCMEkrmj"
    "/VckTyy9oHHRxv1kAe.w08HUQUtCGB/"
)


def _row_9() -> dict[tuple[str, int], Difference]:
    """An empty alias file is an alias without lines, and hides nothing."""
    everything = {
        "blank": [],
        "gap": ["a", "", "b"],
        "list": ["|/usr/bin/ezmlm-send list"],
        "longline": ["&" + "x" * 158, "x" * 159, "x" * 83],
        "nonl": ["&no@newline"],
    }
    return {("alias_listfiles", 0): Difference((9,), result=everything)}


def _row_13() -> dict[tuple[str, int], Difference]:
    """A password that holds a space arrives whole; the original's ended there.

    The hash is always judged by the password of its call, so the files need no other expectation.
    """
    return {("walk_01", 18): Difference((13,))}


def _row_19() -> dict[tuple[str, int], Difference]:
    """A wrong number of arguments is a TypeError, and what was kept stays."""
    return {("type_juggling", 9): Difference((19,), raises=TypeError)}


def _row_20() -> dict[tuple[str, int], Difference]:
    """Without etc/vlimits.default there are no limits, so the user is made.

    Reasoned, not recorded, and to be checked against a real libvpopmail: call 2 then finds its
    user. There is no password policy (the recorded call came past it to the missing user), an
    empty password is within the lengths, so the hash of the empty password takes the old one's
    place, as vpasswd() does with any.
    """
    vpasswd = f"{_EXAMPLE}/vpasswd"
    alice = {
        **_user_files("example.com", "alice"),
        f"{_EXAMPLE}/.dir-control": _owned(_FIRST_COUNT),
        f"{_EXAMPLE}/.vpasswd.lock": _owned(""),
        f"{_EXAMPLE}/vpasswd.cdb": _cdb_of_vpasswd(),
        vpasswd: _owned(_vpasswd_line("example.com", "alice", _hash("s3cretPW"), "A Person")),
    }
    emptied = {vpasswd: _owned(_vpasswd_line("example.com", "alice", _hash(""), "A Person"))}
    return {
        ("no_config", 1): Difference((20,), changed=alice, **_SUCCEEDED),
        ("no_config", 2): Difference((20,), changed=emptied, **_SUCCEEDED),
    }


def _row_22() -> dict[tuple[str, int], Difference]:
    """Control files stay 0644, however many lines go."""
    calls = [
        *[("alias_domain_ex", 17), ("both_rcpthosts", 1)],
        *[("many_domains", call) for call in (69, 76, 83, 90, 97, 104, 111, 115, 118, 122)],
    ]
    public = Difference((22,), modes={_RCPTHOSTS: "0644"})
    both = Difference((22,), modes={_RCPTHOSTS: "0644", _MORERCPTHOSTS: "0644"})
    return {**dict.fromkeys(calls, public), ("hashed_domains", 11): both}


DIFFERENCES: Final = {
    **_row_1(),
    **_row_2(),
    **_row_7(),
    **_row_8(),
    **_row_9(),
    **_row_13(),
    **_row_19(),
    **_row_20(),
    **_row_22(),
}
"""By trace and call, counting from 0."""

_COUNT_IN_HOME = "/home/vpopmail/domains/.dir-control"


def _count(users: int) -> File:
    return _owned(f"{users}\n0\n3\n0 0 0\n61 61 61\n0 2 2\n0 0 0\n\n")


def _domains(*names: str) -> dict[str, File]:
    """What tells which domains there are."""
    return {
        _COUNT_IN_HOME: _count(len(names)),
        _ASSIGN: _assign(*map(_assign_line, names)),
        _RCPTHOSTS: _qmail_file("".join(f"{name}\n" for name in names)),
        _VIRTUALDOMAINS: _qmail_file("".join(f"{name}:{name}\n" for name in names)),
    }


def _row_7_with_real() -> dict[tuple[str, int], Difference]:
    """A domain of 96 bytes is refused, and so is not there later."""
    path = f"/home/vpopmail/domains/{'a' * 92}.com"
    made = [path, f"{path}/.qmail-default", "/var/qmail/users/cdb", "/var/qmail/users/cdb.tmp"]
    as_before = dict.fromkeys([*_domains(), *made])
    refused = Difference((7,), **_failed("domain name too long (max=96)"), changed=as_before)
    before, after = ["a.bc", "b." + "c" * 63, ".lead.com"], "x.y.z.museum"
    later = {
        16: [*before, after],
        22: ["1.2.3.44", *before, after],
        23: ["1.2.3.44", *before, "xn--bcher-kva.example", after],
    }
    return {
        ("domain_names", 14): refused,
        **{
            ("domain_names", call): Difference((7,), changed=_domains(*names))
            for call, names in later.items()
        },
    }


def _a_user_named_like_a_file() -> dict[tuple[str, int], Difference]:
    """It is refused before the count goes up."""
    count = f"{_EXAMPLE}/.dir-control"
    later = {call: Difference((), changed={count: _count(call - 16)}) for call in range(37, 41)}
    expected = {36: Difference((), changed={count: None}), **later}
    return {("user_names", call): expected[call] for call in expected}


WITH_OWN_IDS: Final = {
    ("domain_dirs", 2): Difference((), changed={_COUNT_IN_HOME: _count(2)}),
    ("domain_dirs", 4): Difference((), changed={_COUNT_IN_HOME: _count(1)}),
}
"""Where all ids are one: a domain of another user's is vpopmail's there, and counted with its."""

WITH_REAL: Final = {
    **dict.fromkeys(_row_20(), Difference(())),
    **_row_7_with_real(),
    **_a_user_named_like_a_file(),
}
"""Where a real library is linked, in place of what is expected of the bundled one."""


# --- vpopmail 5.4.33 ------------------------------------------------------------------------------


@cache
def _recorded(trace: str) -> Any:
    return json.loads((TRACES / f"{trace}.json").read_text("utf-8"))


def _as_before(trace: str, call: int) -> dict[str, None]:
    """Nothing of what is recorded changes."""
    return dict.fromkeys(_recorded(trace)["calls"][call]["changed"])


def _without(user: str, vpasswd: str) -> File:
    lines = vpasswd.splitlines(keepends=True)
    return _owned("".join(line for line in lines if not line.startswith(f"{user}:")))


def _user_5_4(user: str, password: str, gecos: str = "G") -> str:
    """A line of vpasswd in 5.6.13's form, whose hash stands for this user's alone."""
    return _vpasswd_line("example.com", user, _hash(password, f"{user:.<8}"), gecos)


def _users_5_4(*lines: str) -> dict[str, File]:
    return {f"{_EXAMPLE}/vpasswd": _owned("".join(lines))}


def _added_5_4(user: str, *lines: str) -> dict[str, File]:
    """A user is made, and these are the lines of vpasswd now."""
    first = {
        f"{_EXAMPLE}/.dir-control": _owned(_FIRST_COUNT),
        f"{_EXAMPLE}/.vpasswd.lock": _owned(""),
        f"{_EXAMPLE}/vpasswd.cdb": _cdb_of_vpasswd(),
    }
    count = {f"{_EXAMPLE}/.dir-control": _count(len(lines))}
    more = count if len(lines) > 1 else first
    return {**_user_files("example.com", user), **more, **_users_5_4(*lines)}


def _row_23() -> dict[tuple[str, int], Difference]:
    """Mail to nobody is bounced: seen where .qmail-default is asked for."""
    line = "| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox"
    return {("alias_basics", 12): Difference((23,), result=[line])}


def _row_26_gecos() -> dict[tuple[str, int], Difference]:
    """A gecos of 64 bytes is too long, and so is a password of 129; no password is one."""
    p1 = _user_5_4("p1", "", "empty password")
    passwords = {6: "p" * 128, 11: "with:colon and space", 13: "pässwörd", 20: "apop-pw-1"}
    p2 = {call: _user_5_4("p2", text, "long password") for call, text in passwords.items()}
    refused = _as_before("user_fields", 2)
    expected = {
        2: Difference((26,), changed=refused, **_failed("gecos too long")),
        4: Difference((27,), changed=_added_5_4("p1", p1), **_SUCCEEDED),
        6: Difference((26, 27), changed=_added_5_4("p2", p1, p2[6])),
        9: Difference((26,), changed=_as_before("user_fields", 9), **_failed("password too long")),
        **{call: Difference((26, 27), changed=_users_5_4(p1, p2[call])) for call in (11, 13, 20)},
    }
    return {("user_fields", call): expected[call] for call in expected}


def _row_26_users() -> dict[tuple[str, int], Difference]:
    """The name of a user, or of an alias, of 64 bytes is too long, and so is not there later."""
    long, count, vpasswd = "n" * 64, f"{_EXAMPLE}/.dir-control", f"{_EXAMPLE}/vpasswd"
    calls = _recorded("user_names")["calls"]
    expected = {
        34: Difference(
            (26,), changed=_as_before("user_names", 34), **_failed("user name too long")
        ),
        **{
            call: Difference(
                (26,),
                changed={
                    count: _count(call - 17),
                    vpasswd: _without(long, calls[call]["changed"][vpasswd]["text"]),
                },
            )
            for call in range(37, 41)
        },
    }
    aliases = _recorded("alias_basics")["calls"]
    listed = {name: lines for name, lines in aliases[25]["result"].items() if name != long}
    return {
        **{("user_names", call): expected[call] for call in expected},
        ("alias_basics", 20): Difference(
            (26,), changed=_as_before("alias_basics", 20), **_failed("user name too long")
        ),
        ("alias_basics", 25): Difference((26,), result=listed),
    }


def _row_26_passwords() -> dict[tuple[str, int], Difference]:
    """A password of more than 128 bytes is too long."""
    refused = {
        call: Difference(
            (26,), changed=_as_before("long_passwords", call), **_failed("password too long")
        )
        for call in (2, 3, 4)
    }
    expected = {**refused, **dict.fromkeys((6, 7, 8), Difference((26,), result=False))}
    return {("long_passwords", call): expected[call] for call in expected}


def _row_27() -> dict[tuple[str, int], Difference]:
    """There is no password policy."""
    u0x, u1x = _user_5_4("u0x", "short1"), _user_5_4("u1x", "longenough")
    passwords = {3: "longenough1", 6: "short1", 7: "longenough", 8: "l0ngenough"}
    u2x = {call: _user_5_4("u2x", text) for call, text in passwords.items()}
    u3x, u4x = _user_5_4("u3x", "12345678"), _user_5_4("u4x", "pass word 12")
    expected = {
        1: Difference((27,), changed=_added_5_4("u0x", u0x), **_SUCCEEDED),
        2: Difference((27,), changed=_added_5_4("u1x", u0x, u1x), **_SUCCEEDED),
        3: Difference((27,), changed=_added_5_4("u2x", u0x, u1x, u2x[3])),
        4: Difference((27,), changed=_added_5_4("u3x", u0x, u1x, u2x[3], u3x)),
        5: Difference((27,), changed=_added_5_4("u4x", u0x, u1x, u2x[3], u3x, u4x)),
        **{
            call: Difference((27,), changed=_users_5_4(u0x, u1x, u2x[call], u3x, u4x), **_SUCCEEDED)
            for call in (6, 7, 8)
        },
    }
    return {
        **{("password_strength", call): expected[call] for call in expected},
        ("two_faults", 8): Difference((27,), **_failed("Illegal username")),
    }


def _row_28() -> dict[tuple[str, int], Difference]:
    """The catch-all user can be deleted."""
    expected = {}
    for trace, call, domain, user in (
        ("catchall_forms", 0, "a.example", "one"),
        ("catchall_user", 1, "example.com", "catch"),
    ):
        path = f"/home/vpopmail/domains/{domain}"
        recorded = _recorded(trace)
        text = recorded["start"][f"{path}/vpasswd"]["text"]
        left = 1
        if call:
            text, left = recorded["calls"][0]["changed"][f"{path}/vpasswd"]["text"], 0
        expected[trace, call] = Difference(
            (28,),
            changed={f"{path}/.dir-control": _count(left), f"{path}/vpasswd": _without(user, text)},
            removed=list(_user_files(domain, user)),
            **_SUCCEEDED,
        )
    return expected


def _row_29() -> dict[tuple[str, int], Difference]:
    """A hash with {SCHEME} before it matches no password."""
    return {("auth_old_hashes", 12): Difference((29,), result=False)}


WITH_5_4: Final = {
    **_row_23(),
    **_row_26_gecos(),
    **_row_26_users(),
    **_row_26_passwords(),
    **_row_27(),
    **_row_28(),
    **_row_29(),
}
"""Where vpopmail 5.4.33 is linked, in place of all that. What it writes otherwise in every call,
rows 23 to 26, is told in forms.py."""


# --- vpopmail 5.5 ---------------------------------------------------------------------------------


def _row_26_gecos_with_policy() -> dict[tuple[str, int], Difference]:
    """As with 5.4, but for the user that the policy refuses."""
    passwords = {6: "p" * 128, 11: "with:colon and space", 13: "pässwörd", 20: "apop-pw-1"}
    p2 = {call: _user_5_4("p2", text, "long password") for call, text in passwords.items()}
    with_5_4 = _row_26_gecos()
    expected = {
        **{call: with_5_4["user_fields", call] for call in (2, 9)},
        6: Difference((26,), changed=_added_5_4("p2", p2[6])),
        **{call: Difference((26,), changed=_users_5_4(p2[call])) for call in (11, 13, 20)},
    }
    return {("user_fields", call): expected[call] for call in expected}


def _row_31() -> dict[tuple[str, int], Difference]:
    """vdeldomain leaves a domain with alias domains, and says so with its exit status, too."""
    failed = Difference(
        (31,),
        result=False,
        warnings=["vpopmail_del_domain_ex error: 1"],
        error="Unknown error",
    )
    calls = [("alias_domain_ex", 16), ("del_domain_ex_aliases", 0), ("del_domain_ex_aliases", 3)]
    return dict.fromkeys(calls, failed)


def _row_32() -> dict[tuple[str, int], Difference]:
    """The list of free places has no lock."""
    lock = Difference((32,), changed={f"{_EXAMPLE}/.dir_control_free.lock": None})
    return {("big_dir", 15): lock, ("crossing_100", 2): lock}


def _row_34() -> dict[tuple[str, int], Difference]:
    """A quota is read as a number with a fraction, and is one also where it is none."""
    size = f"{_EXAMPLE}/alice/Maildir/maildirsize"
    line = _recorded("quota")["calls"][11]["changed"][f"{_EXAMPLE}/vpasswd"]["text"]
    kept = {12: "0S", 14: "0S", 15: "-5S", 16: "1572864S", 20: "1234567890123456768S", 22: "0S"}
    expected = {
        call: Difference(
            (34,),
            changed={
                f"{_EXAMPLE}/vpasswd": _owned(line.replace("1000C", quota)),
                size: _owned(f"{quota}\n0 0\n"),
            },
            **_SUCCEEDED,
        )
        for call, quota in {**kept, 27: "0C", 28: "0S"}.items()
    }
    none = {f"{_EXAMPLE}/vpasswd": _owned(line.replace("1000C", ""))}
    expected[13] = Difference((34,), changed=none, removed=[size])
    return {("quota", call): expected[call] for call in expected}


def _row_35() -> dict[tuple[str, int], Difference]:
    """The policy is looked at before the domain, and after the lock file is made."""
    text = "password requires more characters "
    lock = {"type": "file", "mode": "0600", "uid": 0, "gid": 0, "text": ""}
    return {
        ("two_faults", 6): Difference((35,), **_failed(text)),
        ("user_fields", 4): Difference((35,), changed={f"{_EXAMPLE}/.vpasswd.lock": lock}),
    }


WITH_5_5: Final = {
    **_row_23(),
    **_row_26_gecos_with_policy(),
    **_row_26_users(),
    **_row_26_passwords(),
    **_row_28(),
    **_row_29(),
    **_row_31(),
    **_row_32(),
    **_row_34(),
    **_row_35(),
}
"""Where vpopmail 5.5 is linked; rows 23 to 26 and 33 are told in forms.py."""

OF_RELEASES: Final = {"5.4": WITH_5_4, "5.5": WITH_5_5}
"""By the first two numbers."""
