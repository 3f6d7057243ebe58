"""For mkdocs: the README is the front page, links out of docs/ work, the reference is complete.

Beside the README, SECURITY.md is in the project's own directory, where others look for it.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

TOP = Path(__file__).parents[1]
EXAMPLE = re.compile(r"\]\((?:\.\./)*(examples/[\w./-]+)\)")


def on_config(config: Any) -> Any:
    """Add to the reference, the navigation's last section, what is nowhere in it."""
    text = (TOP / "mkdocs.yml").read_text()
    documents = [*(TOP / "docs").glob("*.md"), *(TOP / "docs/commands").glob("*.md")]
    names = sorted(str(path.relative_to(TOP / "docs")) for path in documents)
    (reference,) = config.nav[-1].values()
    reference += [name for name in names if f" {name}\n" not in text] + ["SECURITY.md"]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the README, SECURITY.md, and the examples that are linked."""
    documents = [TOP / "README.md", TOP / "SECURITY.md", *(TOP / "docs").rglob("*.md")]
    for name in {name for path in documents for name in EXAMPLE.findall(path.read_text())}:
        files.append(File.generated(config, name, content=(TOP / name).read_bytes()))
    for name, here in (("README.md", "index.md"), ("SECURITY.md", "SECURITY.md")):
        text = (TOP / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, here, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to what is beside the README, and to examples, lead to the site's pages."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((\.\./)+README\.md", f"]({up}index.md", markdown)
    markdown = re.sub(r"\]\((\.\./)+SECURITY\.md", f"]({up}SECURITY.md", markdown)
    return EXAMPLE.sub(rf"]({up}\1)", markdown)
