"""What this process may do with vpopmail and qmail: for which functions what is missing, the cure.

The needs are those that the PHP extension's README lists: for domains ``QMAIL/users``,
``QMAIL/control``, ``HOME/domains`` and the right to signal qmail-send; for users and what is theirs
the domain's directory; for the ``_ex`` functions the programs of ``HOME/bin``, setuid root unless
the caller is root. Nothing is changed.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vpopmail_ext import calls, processes
from vpopmail_ext.errors import VpopmailError
from vpopmail_ext.info import info
from vpopmail_ext.linked import lib
from vpopmail_ext.records import Domain, Info

Group = Literal["domains", "users", "passwords", "quota", "authentication", "_ex"]
State = Literal["ok", "missing", "warning"]
GROUPS: tuple[Group, ...] = ("domains", "users", "passwords", "quota", "authentication", "_ex")
TOOLS = ("vadddomain", "vdeldomain", "vaddaliasdomain")

_READ, _WRITE, _ENTER = os.R_OK, os.W_OK, os.X_OK
_SERVERS = ("apache2", "httpd", "nginx", "lighttpd", "php-fpm", "caddy")
_FIRST_USER = 1000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    group: str
    """The functions that need it; ``insecure`` for what the README warns of."""
    subject: str
    """A file, directory, program or process."""
    state: State
    detail: str
    cure: str = ""
    """A command for root, where something is missing or insecure."""


def examine(groups: Iterable[Group] = GROUPS, domains: Iterable[str] = ()) -> list[Finding]:
    """Look at what `groups` of functions need, as the current user, and at what is insecure.

    `domains` names those whose users are to be looked at, all where it is empty. `NoSuchDomain`.
    """
    site = info()
    found = list(_process(site))
    chosen = [calls.domain(name) for name in domains]
    for group in groups:
        found += _needs(group, site, chosen)
    return [*found, *_insecure(site)]


def missing(group: Group, domain: str | None) -> Finding | None:
    """Return the first thing that a group of functions lacks (for a domain), if any."""
    chosen = [] if domain is None else [calls.domain(domain)]
    found = _needs(group, info(), chosen)
    return next((finding for finding in found if finding.state == "missing"), None)


def _needs(group: Group, site: Info, chosen: list[Domain]) -> Iterator[Finding]:
    if group == "domains":
        return _domains(site)
    if group == "_ex":
        return _tools(site)
    return _accounts(group, site, chosen)


# --- rights ---------------------------------------------------------------------------------------


def _process(site: Info) -> Iterator[Finding]:
    uid, gid = os.geteuid(), os.getegid()
    subject = f"uid {uid}, gid {gid}"
    if uid == 0:
        yield Finding("process", subject, "ok", "root")
    elif (uid, gid) == (site.uid, site.gid):
        yield Finding("process", subject, "ok", "vpopmail's own")
    else:
        yield Finding(
            "process",
            subject,
            "warning",
            f"neither root nor vpopmail ({site.uid}:{site.gid}), to whom new files should belong",
            f"sudo -u '#{site.uid}' -g '#{site.gid}' COMMAND",
        )
    owner = _ids(os.path.join(site.home, "domains"))
    if owner is not None and owner != (site.uid, site.gid):
        yield Finding(
            "process",
            "vpopmail's ids",
            "warning",
            f"the library is built for {site.uid}:{site.gid}, the domains belong to "
            f"{owner[0]}:{owner[1]}",
            f"vpopmail-ext chown --uid {site.uid} --gid {site.gid}",
        )


def _domains(site: Info) -> Iterator[Finding]:
    users, control = os.path.join(site.qmail, "users"), os.path.join(site.qmail, "control")
    cure = "run it as root, or call the _ex functions with setuid programs"
    yield _directory("domains", users, cure)
    for name in ("assign", "cdb"):
        yield from _file("domains", os.path.join(users, name), _READ, cure)
    yield from _file("domains", os.path.join(users, "assign.lock"), _READ | _WRITE, cure)
    yield _directory("domains", control, cure)
    for name in ("rcpthosts", "morercpthosts", "virtualdomains", "locals"):
        yield from _file("domains", os.path.join(control, name), _READ, cure)
        yield from _file("domains", os.path.join(control, f"{name}.lock"), _READ | _WRITE, cure)
    yield _directory("domains", os.path.join(site.home, "domains"), _give(site.home, site))
    yield _signal(site)


def _signal(site: Info) -> Finding:
    program = os.path.join(site.qmail, "bin/qmail-send")
    running = processes.running(program)
    if not running:
        return Finding("domains", program, "ok", "is not running, so there is nothing to signal")
    for pid in running:
        try:
            os.kill(pid, 0)
        except PermissionError:
            return Finding(
                "domains",
                f"process {pid}",
                "missing",
                f"{program} may not be signalled: it reads new domains at its next start only",
                "run it as root or as the user of qmail-send (qmails)",
            )
    return Finding("domains", program, "ok", "may be signalled")


def _accounts(group: Group, site: Info, chosen: list[Domain]) -> Iterator[Finding]:
    in_cdb, good = site.auth_module == "cdb", 0
    if not in_cdb:
        database = _database(group, site)
        yield database
        if database.state == "missing":
            return
    try:
        domains = chosen or [domain for domain in calls.domains() if not domain.is_alias]
    except VpopmailError as error:
        yield Finding(group, "the domains", "missing", error.text, "chmod o+r QMAIL/users/assign")
        return
    for domain in domains:
        found = _account(group, domain) if in_cdb else _mail(group, domain)
        bad = [finding for finding in found if finding.state != "ok"]
        good += not bad
        yield from bad
    yield Finding(group, f"{good} of {len(domains)} domains", "ok", "nothing is missing")


def _database(group: Group, site: Info) -> Finding:
    """Tell whether the server that has the users can be reached, by a call that asks it nothing."""
    subject = f"the {site.auth_module} database"
    try:
        calls.fetch(lib.vpx_default_domain, subject)
    except VpopmailError as error:
        file = os.path.join(site.home, f"etc/vpopmail.{site.auth_module}")
        cure = f"start the server, and let {file} name it and be read by this user"
        return Finding(group, subject, "missing", error.text, cure)
    return Finding(group, subject, "ok", "answers")


def _mail(group: Group, domain: Domain) -> Iterator[Finding]:
    """Look at what users in a database have on disk."""
    if group in ("users", "quota"):
        yield _directory(group, domain.directory, _as_owner(domain))


def _as_owner(domain: Domain) -> str:
    return f"sudo -u '#{domain.uid}' -g '#{domain.gid}' COMMAND"


def _account(group: Group, domain: Domain) -> Iterator[Finding]:
    where, cure = domain.directory, _as_owner(domain)
    if group == "authentication":
        if os.geteuid() not in (0, domain.uid):
            yield Finding(
                group, domain.name, "missing", f"only root and uid {domain.uid} find users", cure
            )
        yield from _file(group, os.path.join(where, "vpasswd.cdb"), _READ, cure)
        return
    yield _directory(group, where, cure)
    modes = dict.fromkeys(("vpasswd", "vpasswd.cdb", ".qmailadmin-limits"), _READ)
    modes[".vpasswd.lock"] = _READ | _WRITE
    if group == "users":
        modes[".dir-control"] = _READ
    for name, mode in modes.items():
        path = os.path.join(where, name)
        give = f"chown -h {domain.uid}:{domain.gid} {shlex.quote(path)}"
        if os.geteuid() == 0:
            yield from _for_owner(group, path, mode, domain, give)
        else:
            yield from _file(group, path, mode, give if os.geteuid() == domain.uid else cure)


def _for_owner(group: str, path: str, mode: int, domain: Domain, cure: str) -> Iterator[Finding]:
    """Look, as root, whether a domain's owner is kept from a file that another made."""
    try:
        status = os.lstat(path)
    except OSError:
        return
    if status.st_uid != domain.uid:
        shift = 3 if status.st_gid == domain.gid else 0
        if mode & ~(status.st_mode >> shift):
            detail = f"belongs to uid {status.st_uid}, and is closed to the domain's, {domain.uid}"
            yield Finding(group, path, "warning", detail, cure)


def _tools(site: Info) -> Iterator[Finding]:
    for tool in TOOLS:
        # Those that the package brings are not for setuid: they would find their libraries by path.
        as_root: str = getattr(site, tool)
        path = as_root if os.geteuid() == 0 else os.path.join(site.home, "bin", tool)
        quoted = shlex.quote(path)
        try:
            status = os.stat(path)
        except OSError as error:
            cure = f"build_libvpopmail.sh --prefix {shlex.quote(site.home)} --qmail {site.qmail}"
            yield Finding("_ex", path, "missing", str(error.strerror), cure)
            continue
        setuid = status.st_uid == 0 and status.st_mode & stat.S_ISUID
        if not os.access(path, _ENTER, effective_ids=True):
            yield Finding("_ex", path, "missing", "may not be run", f"chmod o+x {quoted}")
        elif os.geteuid() != 0 and not setuid:
            cure = f"chown 0:0 {quoted} && chmod 4755 {quoted}"
            yield Finding("_ex", path, "missing", "is not setuid root, and we are not root", cure)
        else:
            yield Finding("_ex", path, "ok", "runs as root")


def _directory(group: str, path: str, cure: str) -> Finding:
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        return Finding(group, path, "missing", str(error.strerror), cure)
    if not is_directory:
        return Finding(group, path, "missing", "is no directory", cure)
    if not os.access(path, _READ | _WRITE | _ENTER, effective_ids=True):
        return Finding(group, path, "missing", "may not be written to", cure)
    return Finding(group, path, "ok", "may be written to")


def _file(group: str, path: str, mode: int, cure: str) -> Iterator[Finding]:
    """Look at a file that need not be there."""
    words = "read and written" if mode & _WRITE else "read"
    if os.access(path, mode, effective_ids=True):
        yield Finding(group, path, "ok", f"may be {words}")
    elif os.path.lexists(path):
        yield Finding(group, path, "missing", f"may not be {words}", cure)


def _give(path: str, site: Info) -> str:
    domains = shlex.quote(os.path.join(path, "domains"))
    return f"install -d -m 700 -o {site.uid} -g {site.gid} {domains}"


def _ids(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_uid, status.st_gid


# --- what is insecure -----------------------------------------------------------------------------


def _insecure(site: Info) -> Iterator[Finding]:
    tools = os.path.join(site.home, "bin")
    open_to_all = [tool for tool in TOOLS if _is_open(os.path.join(tools, tool))]
    for tool in open_to_all:
        yield Finding(
            "insecure",
            os.path.join(tools, tool),
            "warning",
            "setuid root and anybody may run it: every user of this host can change domains",
            f"chmod 700 {shlex.quote(tools)}",
        )
    people = sorted(
        entry.pw_name
        for entry in pwd.getpwall()
        if _FIRST_USER <= entry.pw_uid < 65534
        and os.path.basename(entry.pw_shell) not in ("", "nologin", "false", "true", "sync")
    )
    if open_to_all and people:
        yield Finding(
            "insecure",
            f"{len(people)} users with a shell",
            "warning",
            f"beside programs that are setuid root: {', '.join(people[:5])}"
            + (", …" if len(people) > 5 else ""),
            f"chmod 700 {shlex.quote(tools)}",
        )
    for server, uids in processes.owners(_SERVERS).items():
        if uids == {0}:
            yield Finding(
                "insecure",
                server,
                "warning",
                "a web server whose processes are all root's: any script is root",
                "let it run as a user of its own, as vpopmail's where it is to manage users",
            )


def _is_open(tool: str) -> bool:
    """Whether a program is setuid root and anybody can reach and run it."""
    try:
        modes = [os.stat(tool).st_mode]
        owner = os.stat(tool).st_uid
        directory = os.path.dirname(tool)
        while directory != "/":
            modes.append(os.stat(directory).st_mode)
            directory = os.path.dirname(directory)
    except OSError:
        return False
    return owner == 0 and bool(modes[0] & stat.S_ISUID) and all(m & stat.S_IXOTH for m in modes)
