"""The examples of the documents are run as they are printed."""

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home
from vpopmail_ext import api
from vpopmail_ext.errors import NoSuchAlias, NotSupported, ToolFailed, VpopmailError

TOP = Path(__file__).parents[2]
ALSO_RAISED = (NoSuchAlias, NotSupported, ToolFailed, VpopmailError)
ALL = ["README.md", *sorted(str(path.relative_to(TOP)) for path in TOP.glob("docs/**/*.md"))]


def blocks(document: str, kind: str = "python") -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (TOP / document).read_text(), re.M | re.S)


DOCUMENTS = [document for document in ALL if blocks(document)]
# In which names stand for an installation; the others are run as they are printed, by themselves.
STAND_FOR = {"docs/api.md", "docs/migrating.md"}
# What is run elsewhere: console by test_command_documents.py, dovecot by
# tests/integration/test_dovecot.py; what is included from examples/ by test_examples.py there.
INCLUDED = " { .python }"
ELSEWHERE = {"python", "console", "console root", "dovecot", INCLUDED}
# The commands that install, build and serve, by what does the same.
SHELL = {
    "README.md": "Makefile, tests/wheels, tests/unit/test_tools.py, tests/unit/test_backend.py",
    "docs/wheels.md": "tests/wheels",
    "docs/tasks/link-the-installed-vpopmail.md": "tests/wheels",
    "docs/commands/checkpassword.md": "tests/unit/test_checkpassword.py, without qmail",
    "docs/migrating.md": "tests/wheels, tests/integration/test_servers.py",
}
# By tests/integration/test_servers.py.
SERVERS = {"apache", "ini", "nginx", "sudoers"}


@pytest.mark.parametrize("document", ALL)
def test_every_example_is_of_a_kind_that_is_run(document: str) -> None:
    fences = re.findall(r"^```(.+)$", (TOP / document).read_text(), re.M)
    known = ELSEWHERE | ({"sh"} if document in SHELL else set())
    known |= {"php", *SERVERS} if document == "docs/migrating.md" else set()
    assert set(fences) - known == set()
    assert all(text.startswith('--8<-- "examples/') for text in blocks(document, INCLUDED))


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.usefixtures("programs")
def test_examples_run(document: str, home: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    if document in STAND_FOR:
        assert re.search(r"^.*`home`.* stand for ", (TOP / document).read_text(), re.M)
        names = {"home": str(home.path), "qmail": str(home.qmail), "uid": home.uid, "gid": home.gid}
    examples = blocks(document)
    assert examples
    with warnings.catch_warnings():
        for example in examples:
            exec(compile(example, document, "exec"), names)
    printed = capsys.readouterr().out
    told = re.findall(r"  # -> (.+)$", "".join(examples), re.M)
    assert set(told) <= set(printed.splitlines())
    if document == "docs/migrating.md":
        assert printed == ("info: &alice@example.com, &bob@example.com\nwelcome\n")


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


def test_migrating_tells_of_every_function_in_both_languages() -> None:
    from vpopmail_ext.migrate.functions import FUNCTIONS

    text = (TOP / "docs/migrating.md").read_text()
    sections = dict(re.findall(r"^### (vpopmail_\w+)\n(.*?)(?=^##)", text, re.M | re.S))
    assert sections.keys() == FUNCTIONS.keys()
    for name, section in sections.items():
        for language in ("php", "python"):
            assert re.search(rf"^```{language}\n[^`]*\b{name}\(", section, re.M)
        assert name in ("vpopmail_error", "vpopmail_alias_del_domain") or "api." in section


def test_migrating_s_helper_adds_a_domain(home: Home, tmp_path: Path) -> None:
    asked, program = "", tmp_path / "add-domain"
    for block in blocks("docs/migrating.md"):
        if "def answer(" in block:
            program.write_text(block)
        if "def add_domain(" in block:
            asked = block
    names: dict[str, Callable[..., str]] = {}
    exec(asked, names)
    environment = [f"VPOPMAIL_HOME={home.path}", f"QMAIL_HOME={home.qmail}", f"PYTHONPATH={TOP}"]
    helper = ["env", *environment, sys.executable, str(program)]

    def add_domain(*arguments: str) -> str:
        return names["add_domain"](*arguments, helper=helper)

    assert add_domain("example.com", "s3cret-PW") == ""
    assert api.authenticate("postmaster", "example.com", "s3cret-PW")
    assert add_domain("example.com", "s3cret-PW") == "Domain already exists"
    (home.path / "etc/password_strength.conf").write_text("Length >= 9\n")
    assert "requires more characters" in add_domain("example.org", "short")
    assert [domain.name for domain in api.domains()] == ["example.com"]
    assert add_domain("-", "s3cret-PW") == "Invalid domain name"


def test_api_document_names_every_function_and_error() -> None:
    from vpopmail_ext import errors

    text, examples = (TOP / "docs/api.md").read_text(), "".join(blocks("docs/api.md"))
    functions = [name for name in api.__all__ if not name[0].isupper()]
    assert [name for name in functions if f"api.{name}(" not in examples] == []
    names = [kind.__name__ for kind in {*errors.KINDS.values(), *ALSO_RAISED}]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
