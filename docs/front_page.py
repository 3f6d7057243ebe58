"""For mkdocs: the README is the front page, and links out of docs/ work in the site too."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

TOP = Path(__file__).parents[1]
EXAMPLE = re.compile(r"\]\((?:\.\./)*(examples/[\w./-]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the README, and the examples that are linked."""
    documents = [TOP / "README.md", *(TOP / "docs").rglob("*.md")]
    for name in {name for path in documents for name in EXAMPLE.findall(path.read_text())}:
        files.append(File.generated(config, name, content=(TOP / name).read_bytes()))
    readme = (TOP / "README.md").read_text().replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to the README lead to the front page, and those to examples to the site's."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((\.\./)+README\.md", f"]({up}index.md", markdown)
    return EXAMPLE.sub(rf"]({up}\1)", markdown)
