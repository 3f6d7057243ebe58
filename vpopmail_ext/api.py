"""vpopmail for new code: exceptions instead of warnings, typed records, iterators that stream.

Texts are str; those that are no UTF-8 on disk come and go with surrogateescape. Names of domains
and users count without regard to case, and an alias domain stands for its real one. A call that
fails raises a subclass of `VpopmailError` (``vpopmail_ext.errors``), each also the builtin that one
would catch: FileExistsError, LookupError, ValueError, PermissionError, OSError, …; nothing is half
done then. Any thread may call any function.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

from vpopmail_ext import bulk, calls, doctor
from vpopmail_ext._binding import ffi
from vpopmail_ext.errors import (
    Code,
    InvalidName,
    NoSuchAlias,
    NoSuchDomain,
    NotPermitted,
    StorageFailed,
    VpopmailError,
)
from vpopmail_ext.info import copy_out, home_dir, info
from vpopmail_ext.linked import lib
from vpopmail_ext.php import aliases_of
from vpopmail_ext.records import (
    Alias,
    Denied,
    Domain,
    LastAuth,
    Limits,
    NewUser,
    Quota,
    QuotaUsage,
    User,
    UserFlags,
)

__all__ = [
    "Alias",
    "Denied",
    "Domain",
    "LastAuth",
    "Limits",
    "NewUser",
    "Quota",
    "QuotaUsage",
    "User",
    "UserFlags",
    "VpopmailError",
    "add_alias",
    "add_alias_domain",
    "add_alias_domain_ex",
    "add_domain",
    "add_domain_ex",
    "add_user",
    "add_users",
    "alias",
    "aliases",
    "authenticate",
    "default_domain",
    "delete_alias",
    "delete_domain",
    "delete_domain_ex",
    "delete_user",
    "domain",
    "domains",
    "last_auth",
    "limits",
    "quota_usage",
    "rebuild",
    "remove_alias_line",
    "set_alias",
    "set_flags",
    "set_last_auth",
    "set_limits",
    "set_password",
    "set_quota",
    "sign_in",
    "split_address",
    "user",
    "users",
]

# What stands between user and domain, as in vpopmail.
_SEPARATORS = "@%"
_NO_FLAGS = UserFlags(0)
_LAST_ID = 2**32 - 2
_LAST_FLAGS = 2**32 - 1

# --- domains --------------------------------------------------------------------------------------


def domains() -> Iterator[Domain]:
    """Give all domains and alias domains in the order of ``users/assign``.

    libvpopmail's get_domain_entries().
    """
    return calls.domains()


def domain(name: str) -> Domain:
    """Return a domain or alias domain by its name; `NoSuchDomain`. libvpopmail's vget_assign()."""
    return calls.domain(name)


def add_domain(
    name: str, *, directory: str | None = None, uid: int | None = None, gid: int | None = None
) -> None:
    """Add a domain without users, kept under `directory`/domains.

    What is not told is vpopmail's own: its home, its uid and gid. `DomainExists`, `InvalidName`,
    `NotPermitted`, `StorageFailed` (no such directory). libvpopmail's vadddomain().
    """
    owner = info()
    code = lib.vpx_add_domain(
        calls.text("name", name),
        calls.text("directory", home_dir() if directory is None else directory),
        calls.number("uid", owner.uid if uid is None else uid, _LAST_ID),
        calls.number("gid", owner.gid if gid is None else gid, _LAST_ID),
    )
    _check_domain(code, name)


def delete_domain(name: str) -> None:
    """Delete a domain with its users, their mail and its alias domains, or an alias domain alone.

    `NoSuchDomain`, `NotPermitted`. libvpopmail's vdeldomain().
    """
    _check_domain(lib.vpx_del_domain(calls.text("name", name)), name)


def add_alias_domain(domain: str, alias: str) -> None:
    """Make `alias` another name of `domain`.

    `NoSuchDomain`, `DomainExists`, `InvalidName`. libvpopmail's vaddaliasdomain().
    """
    code = lib.vpx_add_alias_domain(calls.text("alias", alias), calls.text("domain", domain))
    _check_domain(code, domain if code == Code.VA_DOMAIN_DOES_NOT_EXIST else alias)


def default_domain() -> str | None:
    """Return the domain of users who give none, by ``etc/defaultdomain``; None without one.

    libvpopmail's default_domain().
    """
    return calls.decoded(calls.fetch(lib.vpx_default_domain, "etc/defaultdomain")) or None


def add_domain_ex(
    name: str, password: str, *, quota: str = "", bounce: str = "", apop: bool = False
) -> None:
    """Add a domain and its postmaster by running ``HOME/bin/vadddomain``.

    The arguments are those of `vpopmail_ext.vpopmail_add_domain_ex`. The program's exit status
    becomes the code that it stands for; what can't be run is `ToolFailed`.
    """
    options = [b"-q", calls.text("quota", quota)] if quota else []
    if bounce:
        options += [b"-e", calls.text("bounce", bounce)] if "@" in bounce else [b"-b"]
    if apop:
        options.append(b"-a")
    arguments = calls.text("name", name), calls.text("password", password)
    calls.run_tool("vadddomain", name, *options, b"--", *arguments)


def delete_domain_ex(name: str) -> None:
    """Delete a domain, unless it has alias domains, by running ``HOME/bin/vdeldomain``.

    A domain that has alias domains stays and is `NotPermitted` (the program exits with 0, which is
    the exception's code).
    """
    calls.run_tool("vdeldomain", name, b"--", calls.text("name", name))
    if _has_domain(name):
        raise NotPermitted(0, "Domain not deleted", f"{name} has alias domains; delete them first")


def add_alias_domain_ex(domain: str, alias: str) -> None:
    """Make one of the two an alias of the other by running ``HOME/bin/vaddaliasdomain``.

    The one that is there already becomes the real one. `DomainExists` where both are there,
    `NoSuchDomain` where neither is.
    """
    arguments = calls.text("domain", domain), calls.text("alias", alias)
    try:
        calls.run_tool("vaddaliasdomain", f"{domain} and {alias}", b"--", *arguments)
    except InvalidName as failure:
        if failure.code != Code.VA_ILLEGAL_USERNAME:
            raise
        # The program's word for both there, neither there, or twice the same.
        there = [name for name in dict.fromkeys((domain, alias)) if _has_domain(name)]
        code = Code.VA_DOMAIN_ALREADY_EXISTS if there else Code.VA_DOMAIN_DOES_NOT_EXIST
        raise calls.error(code, " and ".join(there or [domain])) from failure


def _has_domain(name: str) -> bool:
    try:
        calls.domain(name)
    except NoSuchDomain:
        return False
    return True


# --- users ----------------------------------------------------------------------------------------


def users(domain: str) -> Iterator[User]:
    """Give the users of a domain, as they are at the call, in the order in which they are kept.

    With the bundled library memory does not grow with their number. `NoSuchDomain` and
    `NotPermitted` are raised at the call. libvpopmail's vauth_getall().
    """
    opened = ffi.new("struct vpx_users **")
    _check(lib.vpx_users_open(calls.text("domain", domain), opened), "", domain)
    return _users(ffi.gc(opened[0], lib.vpx_users_close), domain)


def _users(opened: Any, domain: str) -> Iterator[User]:
    while chunk := calls.fetch(lib.vpx_users_next, domain, opened):
        yield from calls.users_of(chunk)


def user(name: str, domain: str) -> User:
    """Return a user; `NoSuchUser`, `NoSuchDomain`, `NotPermitted`. libvpopmail's vauth_getpw()."""
    code, record = copy_out(lib.vpx_user, *_names(name, domain))
    _check(code, name, domain)
    return next(calls.users_of(record))


def add_user(name: str, domain: str, password: str, *, gecos: str = "", apop: bool = False) -> None:
    """Add a user; `gecos` is the full name, the user's name where it is empty.

    `UserExists`, `NoSuchDomain`, `InvalidName`, `WeakPassword`, `TooLong`. libvpopmail's
    vadduser().
    """
    code = lib.vpx_add_user(
        *_names(name, domain),
        calls.text("password", password),
        calls.text("gecos", gecos),
        int(apop),
    )
    _check(code, name, domain)


def add_users(
    domain: str,
    users: Iterable[bulk.AnyUser],
    *,
    threads: int | None = None,
    progress: bulk.Progress | None = None,
) -> int:
    """Add many users in one change, all or none; return how many.

    A user is a `NewUser`, a tuple of name, password and, if need be, gecos and apop, or a `User`
    of another domain or host, who keeps the password. `users` is read once, to its end, before
    anything is done. Where some can't be added none is: `UsersRefused` names them all, by row and
    reason, among them those who are there already or come twice. `NoSuchDomain`, `NotPermitted`,
    `StorageFailed`.

    Passwords are hashed and directories made by `threads` threads, one more than this process has
    cores to run on if it is None, while the domain is not locked; then all become users at once,
    synced. `progress(done, all)`, two numbers of users, is called now and then meanwhile, in the
    calling thread; an exception that it raises ends the work, and nothing is done then.

    The result is what vadduser() for one after the other would give, to the byte but for the
    hashes. With a real library that is how they are added, once all rows are checked, those with
    a hash by vadduser() and vauth_setpw(); after an error, as one that only the library knows of,
    those added before are deleted again (vdeluser()) and the count of users is put back. A process
    that is killed leaves those it has added.
    """
    try:
        with bulk.Addition(domain, users, threads) as addition:
            addition.make(progress or (lambda done, count: None))
            addition.commit()
            return addition.count
    except VpopmailError as error:
        raise _explained(error, "users", domain) from error.__cause__


def delete_user(name: str, domain: str) -> None:
    """Delete a user and the user's mail.

    `NoSuchUser`, `NoSuchDomain`; `NotPermitted` for the one to whom the domain's other mail goes.
    libvpopmail's vdeluser().
    """
    _check(lib.vpx_del_user(*_names(name, domain)), name, domain)


def set_password(name: str, domain: str, password: str) -> None:
    """Change a user's password.

    `NoSuchUser`, `NoSuchDomain`, `WeakPassword`, `TooLong`; `NotPermitted` where the user's flags
    or the domain's limits forbid it. libvpopmail's vpasswd().
    """
    code = lib.vpx_passwd(*_names(name, domain), calls.text("password", password), 0)
    if code == Code.VA_ILLEGAL_USERNAME:  # vpasswd()'s word for all that it may be
        found = user(name, domain)
        if UserFlags.NO_PASSWD_CHNG in found.effective_flags:
            raise NotPermitted(
                code,
                "Password change not permitted",
                f"{found.address}: the user's flags or the domain's limits forbid it",
            )
    _check(code, name, domain)


def set_quota(name: str, domain: str, quota: Quota | str | None) -> None:
    """Set a user's quota: a `Quota`, a text that `Quota.parse` reads, or None for no quota.

    `NoSuchUser`, `NoSuchDomain`, `InvalidValue`, `TooLong`. libvpopmail's vsetuserquota().
    """
    if not isinstance(quota, Quota):
        quota = Quota() if quota is None else Quota.parse(quota)
    code = lib.vpx_set_user_quota(*_names(name, domain), calls.text("quota", str(quota)))
    if code == Code.VA_USER_DOES_NOT_EXIST:  # vsetuserquota()'s word for all that it may be
        user(name, domain)
    _check(code, name, domain)


def set_flags(name: str, domain: str, flags: UserFlags | int) -> None:
    """Replace a user's own flags. `NoSuchUser`, `NoSuchDomain`. libvpopmail's vauth_setpw()."""
    code = lib.vpx_set_flags(*_names(name, domain), calls.number("flags", flags, _LAST_FLAGS))
    _check(code, name, domain)


def authenticate(name: str, domain: str, password: str, *, equal_time: bool = False) -> User | None:
    """Return the user whose password it is; None where it is not, or there is no such user.

    With `equal_time` a user who is not there takes as long as a wrong password, as
    `vpopmail_auth_user` tells. A process that is neither root nor the domain's owner finds nobody,
    as with vpopmail's cdb module. libvpopmail's vauth_user().
    """
    arguments = *_names(name, domain), calls.text("password", password), equal_time
    found, record = copy_out(lib.vpx_authenticate, *arguments)
    return next(calls.users_of(record)) if found == 1 else None


def sign_in(
    address: str,
    password: str,
    forbidding: UserFlags = _NO_FLAGS,
    *,
    equal_time: bool = False,
) -> User | None:
    """Return the user that an address and a password sign in; None for nobody.

    `address` is what `split_address` takes. A user whose `User.effective_flags` have one of
    `forbidding`, as `UserFlags.NO_SMTP`, is kept out. Whatever the two texts hold that no user can
    have is nobody's. `equal_time` is that of `authenticate`. Other than `authenticate` this tells
    where the answer can't be known: `NotPermitted` where the process may not look, `StorageFailed`.
    libvpopmail's vauth_user().
    """
    try:
        name, domain = split_address(address)
        found = authenticate(name, domain, password, equal_time=equal_time)
        if found is None:
            user(name, domain)  # raises what kept authenticate() from looking
    except (LookupError, ValueError):
        return None
    return found if found is not None and not found.effective_flags & forbidding else None


def split_address(address: str) -> tuple[str, str]:
    """Return the user's name and the domain of ``user@domain`` or ``user%domain``.

    Where no domain is in it, it is the default one, and empty where there is none either.
    libvpopmail's parse_email().
    """
    for separator in _SEPARATORS:
        name, found, domain = address.rpartition(separator)
        if found:
            return name, domain
    return address, default_domain() or ""


def last_auth(user: User) -> LastAuth | None:
    """Return when and from where a user last signed in; None for one who never did.

    vpopmail's programs and `set_last_auth` note it, not `authenticate`. `NotSupported` where the
    linked library was built without it. libvpopmail's vget_lastauth() and vget_lastauthip().
    """
    code, record = copy_out(lib.vpx_last_auth, *_names(user.name, user.domain))
    if code == lib.VPX_NOT_SUPPORTED:
        raise calls.error(code, "auth logging (--enable-auth-logging)")
    _check(code, user.name, user.domain)
    if not record:
        return None
    ((time, address),) = calls.split(record, 2)
    return LastAuth(datetime.fromtimestamp(int(time), timezone.utc), calls.decoded(address))


def set_last_auth(user: User, address: str) -> None:
    """Note that a user signed in now, from the IP address `address`.

    `NotSupported` where the linked library was built without it. libvpopmail's vset_lastauth().
    """
    code = lib.vpx_set_last_auth(*_names(user.name, user.domain), calls.text("address", address))
    if code == lib.VPX_NOT_SUPPORTED:
        raise calls.error(code, "auth logging (--enable-auth-logging)")
    _check(code, user.name, user.domain)


def quota_usage(user: User) -> QuotaUsage:
    """Count a user's mail, as vpopmail does it for the quota. libvpopmail's readuserquota()."""
    size, messages = ffi.new("unsigned long long *"), ffi.new("unsigned long long *")
    code = lib.vpx_quota_usage(*_names(user.name, user.domain), size, messages)
    _check(code, user.name, user.domain)
    return QuotaUsage(int(size[0]), int(messages[0]), user.quota)


def rebuild(domain: str) -> None:
    """Make a domain's vpasswd.cdb anew from its vpasswd.

    `NoSuchDomain`, `NotSupported` with a library that has neither. libvpopmail's vmkpasswd().
    """
    code = lib.vpx_rebuild(calls.text("domain", domain))
    if code == lib.VPX_NOT_SUPPORTED:
        raise calls.error(code, "the cdb module")
    _check(code, "", domain)


# --- limits ---------------------------------------------------------------------------------------

# Members of struct vlimits whose words in .qmailadmin-limits are others.
_MEMBERS = {
    "quota": "diskquota",
    "default_quota": "defaultquota",
    "default_maxmsgcount": "defaultmaxmsgcount",
    "disable_password_changing": "disable_passwordchanging",
    "disable_external_relay": "disable_relay",
}
_COUNTS = {
    "maxpopaccounts",
    "maxaliases",
    "maxforwards",
    "maxautoresponders",
    "maxmailinglists",
}
_AMOUNTS = {"quota", "maxmsgcount", "default_quota", "default_maxmsgcount"}


def limits(domain: str) -> Limits:
    """Return a domain's own limits, else the default ones (``etc/vlimits.default``).

    `NoSuchDomain`. libvpopmail's vget_limits().
    """
    stored = _limits(domain)
    found: dict[str, Any] = {}
    for name in (field.name for field in fields(Limits)):
        value = getattr(stored, _MEMBERS.get(name, name))
        if name in _COUNTS:
            found[name] = value if value >= 0 else None
        elif name in _AMOUNTS:
            found[name] = value or None
        else:
            found[name] = Denied(value) if name.startswith("perm_") else bool(value)
    return Limits(**found)


def set_limits(domain: str, limits: Limits) -> None:
    """Give a domain limits of its own.

    `NoSuchDomain`, `InvalidValue`. libvpopmail's vset_limits().
    """
    stored = _limits(domain)
    for name in (field.name for field in fields(Limits)):
        value = getattr(limits, name)
        last = 2**31 - 1 if name in _COUNTS else 2**63 - 1 if name in _AMOUNTS else 7
        any_number = -1 if name in _COUNTS else 0
        value = any_number if value is None else calls.number(name, value, last)
        setattr(stored, _MEMBERS.get(name, name), value)
    _check(lib.vpx_set_limits(calls.text("domain", domain), stored), "", domain)


def _limits(domain: str) -> Any:
    out = ffi.new("struct vpx_limits *")
    _check(lib.vpx_get_limits(calls.text("domain", domain), out), "", domain)
    return out


# --- aliases --------------------------------------------------------------------------------------


def aliases(domain: str) -> Iterator[Alias]:
    """Give a domain's aliases in the order of their names, without regard to case.

    `NoSuchDomain`. libvpopmail's valias_select_all().
    """
    real = _reached(domain, os.R_OK | os.X_OK).real_name
    data = calls.fetch(lib.vpx_alias_get_all, domain, calls.text("domain", domain))
    return (Alias(name, real, tuple(lines)) for name, lines in aliases_of(data).items())


def alias(name: str, domain: str) -> Alias:
    """Return an alias; `NoSuchAlias`, `NoSuchDomain`. libvpopmail's valias_select()."""
    _, data = copy_out(lib.vpx_alias_get, *_names(name, domain))
    lines = tuple(calls.decoded(line) for (line,) in calls.split(data, 1))
    if lines or any(name == found.name for found in aliases(domain)):
        return Alias(name, calls.domain(domain).real_name, lines)
    raise _no_alias(name, domain)


def add_alias(name: str, domain: str, line: str) -> None:
    """Append a line, as ``&someone@example.com``, to an alias, which is made where it is missing.

    `NoSuchDomain`, `InvalidName`, `TooLong` (159 bytes at most). libvpopmail's valias_insert().
    """
    code = lib.vpx_alias_add(*_names(name, domain), calls.text("line", line))
    _check_alias(code, name, domain)


def set_alias(name: str, domain: str, lines: Iterable[str]) -> None:
    """Make these the lines of an alias, whatever it had; without a line the alias goes.

    `NoSuchDomain`, `InvalidName`, `TooLong`. The bundled library replaces them at once; a real one
    is asked for valias_delete() and then valias_insert() for each.
    """
    data = b"".join(calls.text("line", line) + b"\0" for line in lines)
    code = lib.vpx_alias_set(*_names(name, domain), data, len(data))
    _check_alias(code, name, domain)


def remove_alias_line(name: str, domain: str, line: str) -> None:
    """Take a line out of an alias; with its last line the alias goes.

    `NoSuchAlias` where there is no such line or alias, `NoSuchDomain`. libvpopmail's
    valias_remove().
    """
    code = lib.vpx_alias_remove(*_names(name, domain), calls.text("line", line))
    if code == Code.VA_ILLEGAL_USERNAME:
        raise _no_alias(name, domain, "Alias does not exist or has no such line")
    _check(code, name, domain)


def delete_alias(name: str, domain: str) -> None:
    """Delete an alias; `NoSuchAlias`, `NoSuchDomain`. libvpopmail's valias_delete()."""
    code = lib.vpx_alias_del(*_names(name, domain))
    if code == Code.VA_ILLEGAL_USERNAME:
        raise _no_alias(name, domain)
    _check(code, name, domain)


# --- what they share ------------------------------------------------------------------------------


def _names(name: str, domain: str) -> tuple[bytes, bytes]:
    return calls.text("name", name), calls.text("domain", domain)


def _check(code: int, name: str, domain: str) -> None:
    """Raise what a code of a domain's users or aliases stands for."""
    if code == 0:
        return
    about = f"{name}@{domain}" if name and code != Code.VA_DOMAIN_DOES_NOT_EXIST else domain
    raise _explained(calls.error(code, about), "users", domain)


def _check_domain(code: int, name: str) -> None:
    if code != 0:
        raise _explained(calls.error(code, name), "domains", None)


def _check_alias(code: int, name: str, domain: str) -> None:
    if code == Code.VA_ILLEGAL_USERNAME:  # the alias functions' word for all that it may be
        _reached(domain, os.R_OK | os.W_OK | os.X_OK)
    _check(code, name, domain)


def _no_alias(name: str, domain: str, text: str = "Alias does not exist") -> VpopmailError:
    _reached(domain, os.R_OK | os.W_OK | os.X_OK)
    return NoSuchAlias(Code.VA_ILLEGAL_USERNAME, text, f"{name}@{domain}")


def _reached(name: str, mode: int) -> Domain:
    """Return a domain whose aliases this process may reach; the library does not tell why not."""
    found = calls.domain(name)
    if not info().sql_aliases and not os.access(found.directory, mode, effective_ids=True):
        error = calls.error(Code.VA_BAD_UID, name)
        raise _explained(error, "users", name)
    return found


def _explained(error: VpopmailError, group: doctor.Group, domain: str | None) -> VpopmailError:
    """Tell what the process lacks, where a failure of the storage comes of that."""
    if not isinstance(error, (StorageFailed, NotPermitted)) or os.geteuid() == 0:
        return error
    lacking = doctor.missing(group, domain)
    if lacking is None:
        return error
    about = f"{error.about}: {lacking.subject} {lacking.detail}; {lacking.cure}"
    return NotPermitted(error.code, error.text, about)
