"""``vpopmail-ext migrate``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vpopmail_ext.cli.output import UsageError, clean, show_table
from vpopmail_ext.cli.parser import Commands, Options, command

if TYPE_CHECKING:
    from vpopmail_ext.migrate.findings import Finding


def add(commands: Commands) -> None:
    """Add the command."""
    made = command(
        commands,
        "migrate",
        _migrate,
        "list what PHP files call of vpopmail's extension, its Python form, and what changes there",
        example="vpopmail-ext migrate --write --output panel panel/*.php",
    )
    made.add_argument("files", metavar="FILE", nargs="+", help="a PHP file")
    made.add_argument(
        "--write", action="store_true", help="write a Python sketch of each file: FILE.php, FILE.py"
    )
    made.add_argument(
        "--output",
        metavar="DIR",
        help="write the sketches below DIR, as the files are below the directory they share; else "
        "beside them",
    )
    made.add_argument("--force", action="store_true", help="replace files that are there already")


def _migrate(options: Options) -> int:
    try:
        from vpopmail_ext.migrate import Findings, Source, sketch
    except ModuleNotFoundError as error:
        raise UsageError(
            f"migrate needs the package {error.name}: pip install 'vpopmail_ext[migrate]'"
        ) from None
    if (options.output or options.force) and not options.write:
        raise UsageError("--output and --force are for --write")
    files = [Source(name, Path(name).read_bytes()) for name in dict.fromkeys(options.files)]
    found = [Findings(file) for file in files]
    if options.write:
        texts = {
            Path(file.path): sketch(file, told) for file, told in zip(files, found, strict=True)
        }
        _write({path: text for path, text in texts.items() if text}, options)
    listed = [finding for told in found for finding in told.listed()]
    if options.json:
        show_table(listed, (), lambda finding: (), True)
    else:
        show_table(
            (row for finding in listed for row in _rows(finding)),
            ("where", "what", ""),
            lambda row: row,
            False,
        )
    unread = any(change.kind == "unread" for finding in listed for change in finding.changes)
    return 1 if unread else 0


def _rows(finding: Finding) -> Iterator[tuple[str, str, str]]:
    at = f"{finding.file}:{finding.line}"
    if finding.python:
        yield at, "python", finding.python
    if finding.api:
        yield at, "api", finding.api
    for change in finding.changes:
        yield at, change.kind, change.text


def _write(texts: dict[Path, str], options: Options) -> None:
    """Write the sketches, or none where one can't be written under its name."""
    targets = _targets(list(texts), options.output)
    for target in targets.values():
        if target.exists() and not options.force:
            raise FileExistsError(f"{target} is there already; to replace it, add --force")
    for path, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(target, texts[path], replace=options.force)
        print(f"{clean(str(path))} -> {clean(str(target))}", file=sys.stderr)


def _targets(paths: list[Path], output: str | None) -> dict[Path, Path]:
    targets = {path: path.with_suffix(".py") for path in paths}
    if output is not None and paths:
        shared = os.path.commonpath([path.absolute().parent for path in paths])
        for path, target in targets.items():
            targets[path] = Path(output) / target.absolute().relative_to(shared)
    taken: dict[Path, Path] = {}
    for path, target in targets.items():
        if (other := taken.setdefault(target, path)) != path:
            raise UsageError(f"{other} and {path} would both be {target}; give one at a time")
    return targets


def _write_whole(target: Path, text: str, *, replace: bool) -> None:
    """Make a file with a text at once; a link in its place is replaced, not followed."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".migrate-") as directory:
        made = Path(directory) / target.name
        made.write_text(text, encoding="utf-8")
        if replace:
            made.replace(target)
        else:
            os.link(made, target)
