"""How a release of vpopmail writes what every release writes.

The traces are of 5.6.13. What another release writes otherwise in every call is told here once; in
what else single calls differ is in differences.py.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from tests.conformance import hashes
from tests.conformance.tree import Tree

_RECORDED = b"'' delete\n"
_SIZE = re.compile(r" \(max=\d+\)$")


@dataclass(frozen=True)
class Form:
    """A release's hashes, the end of a new domain's .qmail-default, and its lines of vpasswd."""

    hash: re.Pattern[bytes]
    mail_to_nobody: bytes
    clear_passwords: bool
    """A line has one more field: the password as it was given; empty where it was not changed."""
    tells_sizes: bool
    """A text about what is too long has the size in it."""
    longest_new_password: int
    """What vadduser takes; vpasswd takes 128 bytes."""
    keeps_catch_all: bool
    """The user that .qmail-default names can't be deleted."""
    names_directory: bool = False
    """A text about the directory of domains has its path."""
    policy_first: bool = False
    """vadduser looks at the password policy before it looks for the domain."""

    def text(self, recorded: str) -> str:
        """Return an error's text."""
        if self.names_directory:
            recorded = recorded.replace(
                " vpopmail/domains/domain", " /home/vpopmail/domains domain"
            )
            recorded = recorded.replace(" vpopmail/domains directory", " /home/vpopmail/domains")
        return recorded if self.tells_sizes else _SIZE.sub("", recorded)

    def is_hash(self, hashed: bytes, password: bytes) -> bool:
        """Tell whether a hash looks as it should; an empty password may have none."""
        return bool(self.hash.fullmatch(hashed)) or (
            self.clear_passwords and not password and not hashed
        )

    def verify(self, password: bytes, hashed: bytes) -> bool:
        """Tell whether a hash is the password's."""
        return hashes.verify(password, hashed) if hashed else not password

    def written(self, changed: Tree, before: Tree, password: bytes) -> Tree:
        """Return what a call of this release writes where 5.6.13's writes `changed`.

        `before` are the files before the call, and `password` what it makes a hash of.
        """
        made = dict(changed)
        for path, file in changed.items():
            name = os.path.basename(path)
            if name == ".qmail-default":
                own = b"'' %b\n" % self.mail_to_nobody
                if path not in before or own in before[path].data:
                    made[path] = replace(file, data=file.data.replace(_RECORDED, own, 1))
            elif name == "vpasswd" and self.clear_passwords:
                old = before[path].data if path in before else b""
                made[path] = replace(file, data=_with_passwords(file.data, old, password))
        return made


def _with_passwords(text: bytes, before: bytes, password: bytes) -> bytes:
    """Put the field with the password to the lines that a call has made or changed."""
    old = {line.split(b":", 1)[0]: line for line in before.split(b"\n")}
    return b"\n".join(
        _line(line, old.get(line.split(b":", 1)[0]), password) for line in text.split(b"\n")
    )


def _line(line: bytes, old: bytes | None, password: bytes) -> bytes:
    if not line or old is None:
        return line and b"%b:%b" % (line, password)
    *fields, clear = old.split(b":", 7) if old.count(b":") > 6 else [*old.split(b":"), None]
    if b":".join(fields) == line:
        return old
    same_hash = line.split(b":")[1] == fields[1]
    return b"%b:%b" % (line, (clear or b"") if same_hash else password)


FORM_5_6 = Form(
    hashes.FORM,
    b"delete",
    clear_passwords=False,
    tells_sizes=True,
    longest_new_password=511,
    keeps_catch_all=True,
)
FORM_5_4 = Form(
    re.compile(rb"\$1\$[./0-9A-Za-z]{8}\$[./0-9A-Za-z]{22}"),
    b"bounce-no-mailbox",
    clear_passwords=True,
    tells_sizes=False,
    longest_new_password=128,
    keeps_catch_all=False,
)
FORM_5_5 = replace(FORM_5_4, names_directory=True, policy_first=True)


def form_of(version: str) -> Form:
    """Return the form of a release."""
    return {"5.4": FORM_5_4, "5.5": FORM_5_5}.get(version[:3], FORM_5_6)
