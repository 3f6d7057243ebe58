"""The README's table of figures, made from results.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.common import limits_table, table

START, END = "<!-- made by make bench from bench/results.json -->\n", "<!-- end -->\n"


def section(results: Mapping[str, Any]) -> str:
    """Return what stands in the README between the marks."""
    machine, versions, reference = results["machine"], results["versions"], results["reference"]
    against = (
        f"The original is libvpopmail {reference['libvpopmail']}, called from a C loop"
        if reference
        else "No original was there to compare with"
    )
    return "\n".join(
        [
            *table(results["rows"]),
            "",
            f"{against}; ours is called from Python {versions['python']}. {machine['processor']}, "
            f"{machine['cores']} cores, {machine['system']}; commit {results['commit'][:12]}.",
            "",
            "The bare work beside it, measured in the same run (files written, then synced; ours",
            "lets the disk begin while they are made):",
            "",
            *limits_table(results["rows"]),
            "",
        ]
    )


def write(readme: Path, results: Mapping[str, Any]) -> None:
    """Put the table of `results` between the marks in the README."""
    text = readme.read_text()
    between = re.escape(START) + ".*?" + re.escape(END)
    made, count = re.subn(between, lambda _: START + section(results) + END, text, flags=re.S)
    if count != 1:
        raise SystemExit(f"bench: {readme} has not once {START.strip()} … {END.strip()}")
    readme.write_text(made)
