"""What `vpopmail_ext.api` gives and takes: domains, users, quotas, limits, aliases; and `Info`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntFlag
from typing import Literal

from vpopmail_ext.errors import Code, InvalidValue

NOQUOTA = "NOQUOTA"
_POP, _APOP = 1, 2


class UserFlags(IntFlag):
    """A user's flags, the fourth field of a vpasswd line, by the names of ``vpopmail.h``."""

    NO_PASSWD_CHNG = 0x01
    """The password can't be changed."""
    NO_POP = 0x02
    NO_WEBMAIL = 0x04
    NO_IMAP = 0x08
    BOUNCE_MAIL = 0x10
    """Mail to the user is refused."""
    NO_RELAY = 0x20
    NO_DIALUP = 0x40
    V_USER0 = 0x80
    """This and the next three are for other programs."""
    V_USER1 = 0x100
    V_USER2 = 0x200
    V_USER3 = 0x400
    NO_SMTP = 0x800
    QA_ADMIN = 0x1000
    """Administrator of the domain in qmailadmin."""
    V_OVERRIDE = 0x2000
    """The domain's limits are not the user's."""
    NO_SPAMASSASSIN = 0x4000
    DELETE_SPAM = 0x8000
    SA_ADMIN = 0x10000
    """Administrator of all domains in qmailadmin."""
    SA_EXPERT = 0x20000
    NO_MAILDROP = 0x40000


_NO_FLAGS = UserFlags(0)


class Denied(IntFlag):
    """What administrators of a domain other than its postmaster may not do with something."""

    CREATE = 1
    MODIFY = 2
    DELETE = 4


_NOTHING = Denied(0)


@dataclass(frozen=True)
class Domain:
    """A virtual domain or alias domain, as in ``users/assign``."""

    name: str
    real_name: str
    """The domain that this one is an alias of, else its own name."""
    uid: int
    gid: int
    directory: str
    """The directory of its users; an alias domain's is the real one's."""

    @property
    def is_alias(self) -> bool:
        """Whether this is another name of the domain `real_name`."""
        return self.name != self.real_name


@dataclass(frozen=True)
class Quota:
    """How much mail a user may have; None stands for any amount."""

    size: int | None = None
    """In bytes."""
    messages: int | None = None

    @classmethod
    def parse(cls, text: str) -> Quota:
        """Read ``100M``, ``1G,5000C``, ``5242880S``, ``NOQUOTA``; InvalidValue for what is none.

        Parts stand between commas: a number of bytes, to which ``K``, ``M``, ``G`` and ``T`` may
        follow as powers of 1024 and ``B`` or ``S`` after them, in either case; or a number of
        messages with ``C``.
        """
        size = messages = 0
        for part in text.split(",") if text != NOQUOTA else ():
            found = re.fullmatch(r"(?i)\s*([0-9]{1,18})(?:(c)|([kmgt]?)b?s?)\s*", part, re.ASCII)
            if not found:
                raise InvalidValue(
                    Code.VA_BAD_CHAR,
                    "Not a quota",
                    f"{text!r}; write bytes as 5242880 or 100M, messages as 1000C, both as "
                    f"100M,1000C, or {NOQUOTA}",
                )
            number, is_messages, unit = found.groups()
            if is_messages:
                messages = int(number)
            else:
                size = int(number) * 1024 ** " kmgt".index(unit.lower() or " ")
        return cls(size or None, messages or None)

    @classmethod
    def stored(cls, text: str) -> Quota:
        """Read a quota of vpasswd as vpopmail does: only ``K`` and ``M`` multiply, only a capital
        ``C`` is messages, and what is no number counts as none.
        """
        size = messages = 0
        for part in text.split(","):
            if part.endswith("C"):
                messages = _number(part)
            else:
                unit = part.lower().removesuffix("s").removesuffix("b")[-1:]
                size = _number(part) * {"m": 1048576, "k": 1024}.get(unit, 1)
        return cls(max(size, 0) or None, max(messages, 0) or None)

    def __str__(self) -> str:
        """Return the quota as it stands in vpasswd."""
        parts = [f"{self.size}S"] if self.size else []
        if self.messages:
            parts.append(f"{self.messages}C")
        return ",".join(parts) or NOQUOTA


@dataclass(frozen=True)
class QuotaUsage:
    """What a user's mail takes: that in ``Maildir`` and its folders, without ``.Trash``."""

    size: int
    """In bytes."""
    messages: int
    quota: Quota

    @property
    def percent(self) -> int | None:
        """How much of the quota it is, by size or number, whichever is more; None without one."""
        shares = [
            used * 100 // allowed
            for used, allowed in (
                (self.size, self.quota.size),
                (self.messages, self.quota.messages),
            )
            if allowed
        ]
        return max(shares, default=None)


@dataclass(frozen=True)
class LastAuth:
    """When and from where a user last signed in."""

    time: datetime
    """In UTC."""
    address: str


@dataclass(frozen=True)
class User:
    """A user of a virtual domain."""

    name: str
    domain: str
    """The real domain, also where the user was looked up by an alias domain."""
    gecos: str
    """The full name."""
    directory: str
    quota: Quota
    flags: UserFlags
    """The user's own."""
    effective_flags: UserFlags
    """With what the domain's limits add, unless the user has V_OVERRIDE."""
    apop: bool
    """Whether the user was added for APOP."""
    password_hash: str = field(repr=False)
    """crypt(3)'s; empty: nobody can sign in."""

    @property
    def address(self) -> str:
        """The user's mail address."""
        return f"{self.name}@{self.domain}"


@dataclass(frozen=True)
class NewUser:
    """A user to be added: with a password, or with the hash that the password has elsewhere."""

    name: str
    password: str | None = field(default=None, repr=False)
    gecos: str = ""
    """The full name; the user's name where it is empty."""
    apop: bool = False
    """Whether the user is marked for APOP."""
    quota: Quota | None = None
    """None: the domain's default quota. `Quota()`: none."""
    flags: UserFlags = _NO_FLAGS
    password_hash: str | None = field(default=None, repr=False)
    """crypt(3)'s, instead of a password; empty: nobody can sign in."""


@dataclass(frozen=True)
class Alias:
    """An alias of a domain: a ``.qmail`` file, or what stands for it in SQL."""

    name: str
    domain: str
    lines: tuple[str, ...]
    """Where mail goes, as dot-qmail(5) has it: ``&user@example.com``, ``|program``, …"""

    @property
    def address(self) -> str:
        """The alias's mail address."""
        return f"{self.name}@{self.domain}"


@dataclass(frozen=True)
class Limits:
    """What a domain and its users may have, by the words of ``.qmailadmin-limits``.

    None stands for any number. vpopmail itself heeds the default quota and the switches; the rest
    is for qmailadmin and vdelivermail.
    """

    maxpopaccounts: int | None = None
    maxaliases: int | None = None
    maxforwards: int | None = None
    maxautoresponders: int | None = None
    maxmailinglists: int | None = None
    quota: int | None = None
    """Of the whole domain, in megabytes."""
    maxmsgcount: int | None = None
    """Messages in the whole domain."""
    default_quota: int | None = None
    """Of a new user, in bytes."""
    default_maxmsgcount: int | None = None
    """Messages of a new user."""
    disable_pop: bool = False
    disable_imap: bool = False
    disable_dialup: bool = False
    disable_password_changing: bool = False
    disable_webmail: bool = False
    disable_external_relay: bool = False
    disable_smtp: bool = False
    disable_spamassassin: bool = False
    delete_spam: bool = False
    disable_maildrop: bool = False
    perm_account: Denied = _NOTHING
    perm_alias: Denied = _NOTHING
    perm_forward: Denied = _NOTHING
    perm_autoresponder: Denied = _NOTHING
    perm_maillist: Denied = _NOTHING
    perm_quota: Denied = _NOTHING
    perm_defaultquota: Denied = _NOTHING


def kind_of(apop: bool) -> int:
    """Return the third field of a vpasswd line."""
    return _APOP if apop else _POP


def is_apop(kind: int) -> bool:
    """Tell whether the third field of a vpasswd line stands for APOP."""
    return bool(kind & _APOP)


def _number(text: str) -> int:
    digits = re.match(r"\s*([+-]?[0-9]+)", text)
    return int(digits[1]) if digits else 0


@dataclass(frozen=True)
class Info:
    """What phpinfo() showed for the extension, and what is linked. Paths are absolute."""

    vpopmail_version: str
    """The libvpopmail release whose behaviour this is, as ``5.6.13``."""
    uid: int
    """The numeric user id that vpopmail was configured for."""
    gid: int
    """The numeric group id that vpopmail was configured for."""
    process_ids: tuple[int, int, int, int]
    """This process's uid, gid, effective uid and effective gid."""
    home: str
    """vpopmail's directory."""
    vadddomain: str
    """The program that `vpopmail_add_domain_ex` runs, whether it is there or not."""
    vdeldomain: str
    """The program that `vpopmail_del_domain_ex` runs, whether it is there or not."""
    vaddaliasdomain: str
    """The program that `vpopmail_add_alias_domain_ex` runs, whether it is there or not."""
    valias: bool
    """Whether the alias functions are there; they are on every library."""
    library: Literal["bundled", "real"]
    """Whether this package's own libvpopmail is linked, or one installed by vpopmail."""
    library_path: str
    """The file it is from: the compiled module, or the installation's ``lib/libvpopmail.a``."""
    auth_module: str
    """Where the library keeps users, as ``cdb``."""
    sql_aliases: bool
    """Whether the library keeps aliases in SQL (vpopmail's valias), not in ``.qmail`` files."""
    password_policy: bool
    """Whether new passwords are held against ``etc/password_strength.conf`` (vpopmail 5.6)."""
    clear_passwords: bool
    """Whether passwords are kept as they were given, too, beside their hashes."""
    user_name_max: int
    """The length in bytes of the longest user or alias name."""
    gecos_max: int
    """The length in bytes of the longest gecos."""
    simd: str
    """In whose registers many passwords are hashed side by side: ``avx512``, ``avx2``, ``off``."""
    qmail: str
    """qmail's directory."""
    version: str
    """This package's version."""

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values: phpinfo()'s rows, in its order and words, then the others."""
        ids = f"{self.uid}/{self.gid} " + "/".join(map(str, self.process_ids))
        return [
            ("vpopmail support", "enabled"),
            ("vpopmail version", self.vpopmail_version),
            ("vpopmail uid/gid php uid/gid/euid/egid", ids),
            ("vpopmail dir", self.home),
            ("vpopmail vadddomain", self.vadddomain),
            ("vpopmail vdeldomain", self.vdeldomain),
            ("vpopmail vaddaliasdomain", self.vaddaliasdomain),
            ("vpopmail valias support", "Enabled" if self.valias else "Not supported by vpopmail"),
            ("vpopmail library", self.library),
            ("vpopmail library path", self.library_path),
            ("vpopmail auth module", self.auth_module),
            ("vpopmail aliases in SQL", "yes" if self.sql_aliases else "no"),
            ("vpopmail password policy", "yes" if self.password_policy else "no"),
            ("vpopmail clear passwords", "kept" if self.clear_passwords else "not kept"),
            ("vpopmail longest user name, gecos", f"{self.user_name_max}, {self.gecos_max}"),
            ("passwords hashed in lanes", self.simd),
            ("qmail dir", self.qmail),
            ("vpopmail_ext version", self.version),
        ]
