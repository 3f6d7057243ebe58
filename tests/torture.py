"""How far the tests that could go on for ever go: a little in `make test`, far in `make torture`.

They are marked `torture` and are the same tests in both: VPOPMAIL_TEST_TORTURE is a factor on
how far they are to go, 1 in `make torture`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

FACTOR = float(os.environ.get("VPOPMAIL_TEST_TORTURE", "0"))

figures: list[str] = []
"""What is shown at the end of `make torture`."""


def amount(short: float, long: float) -> float:
    """Return how many seconds, rounds or whatever it is to be: `short`, or `long` with torture."""
    return long * FACTOR if FACTOR else short


def tell(figure: str) -> None:
    """Have a line shown at the end of `make torture`."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
    figures.append(f"{test.split('::')[-1]}: {figure}")


DOCUMENT = Path(__file__).parents[1] / "docs/durability.md"


def document(command: str, lines: Iterable[str]) -> None:
    """Write what a command has made in its place in docs/durability.md."""
    start, end = f"<!-- made by {command} -->\n\n", "\n<!-- end -->\n"
    between = re.escape(start) + ".*?" + re.escape(end)
    made = start + "".join(f"{line}\n" for line in lines) + end
    text, count = re.subn(between, lambda _: made, DOCUMENT.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{DOCUMENT} has not once {start.strip()} … {end.strip()}")
    DOCUMENT.write_text(text)
