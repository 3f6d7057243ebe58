"""The examples of the documents are run as they are printed."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from vpopmail_ext.errors import NoSuchAlias, NotSupported, ToolFailed, VpopmailError

TOP = Path(__file__).parents[2]
ALSO_RAISED = (NoSuchAlias, NotSupported, ToolFailed, VpopmailError)
DOCUMENTS = ("README.md", "docs/migrating.md", "docs/api.md")


def blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (TOP / document).read_text(), re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples_run(document: str, home: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"home": str(home.path), "qmail": str(home.qmail), "uid": home.uid, "gid": home.gid}
    examples = blocks(document)
    assert examples
    with warnings.catch_warnings():
        for example in examples:
            exec(compile(example, document, "exec"), names)
    if document == "docs/migrating.md":
        assert capsys.readouterr().out == ("info: &alice@example.com, &bob@example.com\nwelcome\n")


def test_function_table_is_complete() -> None:
    import vpopmail_ext

    text = (TOP / "README.md").read_text()
    functions = {name for name in vpopmail_ext.__all__ if name.startswith("vpopmail_")}
    assert len(functions) == 17
    assert functions == set(re.findall(r"^\| `(vpopmail_\w+)\(", text, re.M))


def test_php_twin_calls_the_same_functions() -> None:
    text = (TOP / "docs/migrating.md").read_text()
    php = re.search(r"```php\n(.*?)```", text, re.S)
    assert php
    called = [
        set(re.findall(r"vpopmail_\w+(?=\()", part))
        for part in (php[1], blocks("docs/migrating.md")[0])
    ]
    assert called[0] == called[1]


def test_api_document_names_every_function_and_error() -> None:
    from vpopmail_ext import api, errors

    text = (TOP / "docs/api.md").read_text()
    names = [name for name in api.__all__ if not name[0].isupper()]
    names += [kind.__name__ for kind in {*errors.KINDS.values(), *ALSO_RAISED}]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
