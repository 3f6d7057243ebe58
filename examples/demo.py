"""Manage mail domains on a scratch home: each call is printed with its result.

Usage: demo.py HOME QMAIL, two directories of which HOME was made by build_libvpopmail.sh.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import vpopmail_ext
from vpopmail_ext import (
    vpopmail_add_alias_domain,
    vpopmail_add_domain,
    vpopmail_add_domain_ex,
    vpopmail_add_user,
    vpopmail_alias_add,
    vpopmail_alias_get,
    vpopmail_alias_get_all,
    vpopmail_auth_user,
    vpopmail_del_user,
    vpopmail_error,
    vpopmail_passwd,
    vpopmail_set_user_quota,
)


def call(function: Any, *arguments: Any) -> None:
    """Make one call and print it with what came of it."""
    shown = ", ".join(map(repr, arguments))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(f"{function.__name__}({shown}) -> {function(*arguments)!r}")
    for warning in caught:
        print(f"    warning: {warning.message}")


def heading(text: str) -> None:
    """Print what comes next."""
    print(f"\n--- {text}")


def show(path: Path) -> None:
    """Print a file's first lines."""
    lines = path.read_text().splitlines()
    print(f"\n{path}:")
    for line in lines[:4]:
        print("    " + (line if len(line) < 100 else line[:97] + "..."))
    if len(lines) > 4:
        print(f"    ... and {len(lines) - 4} more")


def main() -> None:
    """Run the demonstration in the directories that the command line names."""
    home, qmail = (Path(argument).resolve() for argument in sys.argv[1:])
    uid, gid = (home / "domains").stat().st_uid, (home / "domains").stat().st_gid
    if os.geteuid() != 0:
        uid, gid = os.getuid(), os.getgid()
    vpopmail_ext.configure(home=home, qmail=qmail)

    heading("two domains and an alias domain")
    call(vpopmail_add_domain, "example.com", str(home), uid, gid)
    call(vpopmail_add_domain_ex, "example.org", "post-master1", "10M")
    call(vpopmail_add_alias_domain, "example.com", "example.net")
    call(vpopmail_add_domain, "example.com", str(home), uid, gid)
    print(f"vpopmail_error() -> {vpopmail_error()!r}")

    heading("twenty users")
    for number in range(1, 21):
        user = f"user{number:02}"
        call(vpopmail_add_user, user, "example.com", f"pw-{user}", f"User No. {number}")
    call(vpopmail_del_user, "user20", "example.com")
    call(vpopmail_del_user, "user20", "example.com")

    heading("quotas and passwords")
    call(vpopmail_set_user_quota, "user01", "example.com", "5M")
    call(vpopmail_set_user_quota, "user02", "example.com", "100MB,1000C")
    call(vpopmail_set_user_quota, "nobody", "example.com", "5M")
    call(vpopmail_passwd, "user01", "example.com", "another-pw")

    heading("signing in")
    call(vpopmail_auth_user, "user01", "example.com", "another-pw")
    call(vpopmail_auth_user, "user01", "example.com", "pw-user01")
    call(vpopmail_auth_user, "USER02", "example.net", "pw-user02")
    call(vpopmail_auth_user, "nobody", "example.com", "pw")
    call(vpopmail_auth_user, "postmaster", "example.org", "post-master1")

    heading("aliases")
    call(vpopmail_alias_add, "info", "example.com", "&user01@example.com")
    call(vpopmail_alias_add, "info", "example.com", "&user02@example.com")
    call(vpopmail_alias_add, "sales.eu", "example.com", "&user03@example.com")
    call(vpopmail_alias_get, "info", "example.com")
    call(vpopmail_alias_get_all, "example.com")

    heading("the files that this made")
    for name in ("users/assign", "control/rcpthosts", "control/virtualdomains"):
        show(qmail / name)
    domain = home / "domains/example.com"
    for name in ("vpasswd", ".qmail-default", ".qmail-info", "user01/Maildir/maildirsize"):
        show(domain / name)


if __name__ == "__main__":
    main()
