"""The commands of the documents are run as they are printed, and their output is as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Home

TOP = Path(__file__).parents[2]
DOCUMENTS = [
    document
    for document in sorted((TOP / "docs").rglob("*.md"))
    if re.search("^```console", document.read_text(), re.M)
]


def examples(document: Path, kind: str) -> list[tuple[str, str]]:
    """Return the commands of a document and what each prints."""
    found: list[tuple[str, str]] = []
    for block in re.findall(rf"^```{kind}\n(.*?)^```", document.read_text(), re.M | re.S):
        for command in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, printed = command.partition("\n")
            found.append((line, printed))
    return found


def session(home: Home, directory: Path, commands: list[str]) -> list[str]:
    """Run the commands in one shell and return what each prints."""
    program = directory / "vpopmail-ext"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vpopmail_ext "$@"\n')
    program.chmod(0o755)
    between = "status=$?; printf '\\x1e'; (exit $status)"
    script = "".join(f"{between}\n{command}\n" for command in commands)
    script = script.replace("/home/vpopmail", str(home.path))
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=directory,
        env=os.environ
        | {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(TOP),
            "VPOPMAIL_HOME": str(home.path),
            "QMAIL_HOME": str(home.qmail),
        },
    )
    return done.stdout.split("\x1e")[1:]


def as_printed(text: str, home: Home) -> str:
    """Return output as it is on a host where vpopmail is where it usually is."""
    text = text.replace(str(home.path), "/home/vpopmail").replace(str(home.qmail), "/var/qmail")
    text = text.replace(f"{home.uid}:{home.gid}", "89:89")
    text = text.replace(f'"uid": {home.uid}, "gid": {home.gid}', '"uid": 89, "gid": 89')
    return text.replace(f"\t{home.uid}\t{home.gid}\t", "\t89\t89\t")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_examples(document: Path, home: Home, tmp_path: Path) -> None:
    (home.path / "etc/vlimits.default").write_text("maxpopaccounts -1\n")
    found = examples(document, "console")
    if os.geteuid() == 0 and home.uid == 89:  # who may give files to others
        found += examples(document, "console root")
    assert found
    printed = session(home, tmp_path, [command for command, _ in found])
    for (command, expected), actual in zip(found, printed, strict=True):
        pattern = re.escape(expected).replace("…", ".*")
        assert re.fullmatch(pattern, as_printed(actual, home)), (command, actual)


def test_each_command_has_a_document() -> None:
    from vpopmail_ext import cli
    from vpopmail_ext.cli import shell

    text = "\n".join(document.read_text() for document in DOCUMENTS)
    commands = "\n".join(command for d in DOCUMENTS for command, _ in examples(d, "console[^\n]*"))
    for leaf in shell.leaves(cli.parser()):
        name = leaf.prog.removeprefix("vpopmail-ext ")
        assert f"vpopmail-ext {name}" in text
        assert f"vpopmail-ext {name}" in commands
