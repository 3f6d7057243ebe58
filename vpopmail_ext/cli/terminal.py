"""What rich (the extra ``cli``) draws on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text


def show(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table."""
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


@contextmanager
def progress(count: int) -> Iterator[Callable[[int], None]]:
    """Draw a bar on standard error; what is given tells it how many of `count` are done."""
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("users", total=count)
        yield lambda done: bar.update(task, completed=done)
