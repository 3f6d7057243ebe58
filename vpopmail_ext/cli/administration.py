"""``vpopmail-ext rebuild``, ``info``, ``doctor``, ``chown``, ``completion``."""

from __future__ import annotations

import sys

from vpopmail_ext import api, doctor
from vpopmail_ext.chown import Report, chown
from vpopmail_ext.cli.output import UsageError, show_json, show_table
from vpopmail_ext.cli.parser import Commands, Options, command
from vpopmail_ext.info import info


def add(commands: Commands) -> None:
    """Add the commands."""
    made = command(
        commands,
        "rebuild",
        _rebuild,
        "make vpasswd.cdb of domains anew from vpasswd",
        example="vpopmail-ext rebuild example.com",
    )
    made.add_argument("domains", metavar="DOMAIN", nargs="+")
    command(
        commands,
        "info",
        _info,
        "print what is linked and where it works, as phpinfo() did",
        example="vpopmail-ext info",
    )
    made = command(
        commands,
        "doctor",
        _doctor,
        "tell what this user lacks for which functions, and the cure",
        example="vpopmail-ext doctor domains _ex",
    )
    made.add_argument(
        "groups", metavar="GROUP", nargs="*", help=f"some of {', '.join(doctor.GROUPS)}; else all"
    )
    made.add_argument(
        "--domain",
        metavar="DOMAIN",
        action="append",
        default=[],
        help="look at this one's users alone (may be given again)",
    )
    made = command(
        commands,
        "chown",
        _chown,
        "give vpopmail's domains and files to another uid and gid, while qmail-send is stopped",
        example="vpopmail-ext chown --uid 8089 --gid 8089 --dry-run",
    )
    made.add_argument("--uid", type=int, required=True)
    made.add_argument("--gid", type=int, required=True)
    made.add_argument("--dry-run", action="store_true", help="tell what would be done")


def _rebuild(options: Options) -> None:
    for domain in options.domains:
        api.rebuild(domain)


def _info(options: Options) -> None:
    if options.json:
        show_json(info())
    else:
        for name, value in info().rows():
            print(f"{name} => {value}")


def _doctor(options: Options) -> int:
    for group in options.groups:
        if group not in doctor.GROUPS:
            raise UsageError(f"{group!r} is none of {', '.join(doctor.GROUPS)}")
    found = doctor.examine(options.groups or doctor.GROUPS, options.domain)
    show_table(
        found,
        ("for", "", "state", "", "cure"),
        lambda f: (f.group, f.subject, f.state, f.detail, f.cure or None),
        options.json,
    )
    return 1 if any(finding.state == "missing" for finding in found) else 0


def _chown(options: Options) -> None:
    done = chown(options.uid, options.gid, dry_run=options.dry_run)
    if options.json:
        ids = {"old": done.old._asdict(), "new": done.new._asdict()}
        show_json({**done._asdict(), **ids, "dry_run": options.dry_run})
    else:
        _show_chown(done, options)
    print(
        f"Left to you: vpopmail's entries in /etc/passwd and /etc/group ({done.new}), the uid and "
        "gid of tcpserver\nin the scripts that start POP3 and IMAP servers, and vpopmail itself "
        "where it was compiled for\nthe old ones (configure it again, make clean all install).",
        file=sys.stderr,
    )


def _show_chown(done: Report, options: Options) -> None:
    verb = "would be" if options.dry_run else "were"
    print(f"{done.domains} lines of assign and {done.files} files {verb} given to {done.new}")
    print(f"from {done.old}")
    if not options.dry_run:
        print(f"before: {done.backup}")
