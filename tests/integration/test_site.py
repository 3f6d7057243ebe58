"""The documentation is built without a warning, and nothing in it is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed: run make test-integration")

TOP = Path(__file__).parents[2]
# What an administrator looks for, by the words of a heading of the navigation.
TASKS = """
Install from a wheel
Link the installed vpopmail
Add a domain
Give a domain another name
Delete a domain
Add a user
Move users in from a CSV file
Change a password
Set a quota
Forward mail to other addresses
Sign in over IMAP with Dovecot
Sign in over POP3 with qmail-pop3d
Check many passwords
Find out why a call is not permitted
Change vpopmail's uid and gid
Call it from asyncio
"""


class Page(HTMLParser):
    """What a page loads, and its title."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.title = ""
        self._in_title = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given.get("href") or "")
        self._in_title = tag == "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
            self._in_title = False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Build the site, where there is no network in the container."""
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=TOP,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout
    assert 'not included in the "nav"' not in done.stdout, done.stdout
    return {str(path.relative_to(directory)): Page(path) for path in directory.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere(site: dict[str, Page]) -> None:
    for name, page in site.items():
        assert [url for url in page.loaded if re.match(r"(\w+:)?//", url)] == [], name


def test_each_task_has_a_page_of_its_title(site: dict[str, Page]) -> None:
    titles = {page.title.removesuffix(" - vpopmail_ext") for page in site.values()}
    assert [task for task in TASKS.strip().splitlines() if task not in titles] == []


def test_every_document_is_a_page(site: dict[str, Page]) -> None:
    documents = {path.relative_to(TOP / "docs") for path in (TOP / "docs").rglob("*.md")}
    assert {str(path.with_suffix(".html")) for path in documents} | {"index.html"} <= site.keys()
