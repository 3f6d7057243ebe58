"""The order of lines in users/assign and qmail's control files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clib import content, ffi, filled, lib, span

TRACES = Path(__file__).parents[1] / "conformance/traces"


def added(text: bytes, line: bytes, assign: bool = False) -> bytes:
    answer, out = filled(lib().linefile_add, span(text), span(line), assign)
    assert answer == 0
    return out


def dropped(text: bytes, *lines: bytes) -> tuple[int, bytes]:
    test = ffi.callback("linefile_test", lambda line, arg: content(line) in lines)
    return filled(lib().linefile_drop, span(text), test, ffi.NULL)


def lines_of(text: bytes) -> list[bytes]:
    return text.removesuffix(b"\n").split(b"\n") if text else []


def text_of(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def key_of(line: bytes, assign: bool) -> bytes:
    """Return the name's labels, the last two of them in front; a name of less than two, itself."""
    name = line.partition(b":")[0]
    if assign:
        name = name[1:].removesuffix(b"-") if name.startswith(b"+") else name[1:]
    labels = [label for label in name.split(b".") if label]
    return b".".join(labels[-2:] + labels[:-2]) if len(labels) > 1 else name


def model(text: bytes, line: bytes, assign: bool) -> bytes:
    """Return what linefile_add is to make of it."""
    lines = lines_of(text)
    if assign and b"." in lines:
        del lines[lines.index(b".") :]
    keys = [key_of(each, assign) for each in lines]
    key = key_of(line, assign)
    if keys == sorted(keys):
        lines.insert(sum(each <= key for each in keys), line)
    else:
        lines = sorted([*lines, line], key=lambda each: key_of(each, assign))
    return text_of([*lines, b"."] if assign else lines)


def test_equal_keys_stay_as_they_came() -> None:
    assert added(b"x.org\n", b".x.org") == b"x.org\n.x.org\n"
    assert added(b".x.org\n", b"x.org") == b".x.org\nx.org\n"


@pytest.mark.parametrize(
    "names",
    [
        "1.com a-b.com a.com z.a.com a.net ab.com b.com mail.b.com www.mail.b.com z.com",
        # The labels before the last two keep their order.
        "b.com a.a.b.com a.b.b.com b.a.b.com c.com",
        # A byte is a byte: capitals and digits first, no locale.
        "-.com 0.com A.com _.com a.com \xe9.com",
        "a.b a.b.c c",
        # An empty label does not count, and less than two are left as they are.
        "com com.a .com.b org x.org y..x.org",
        ". .. .a a a. a.b",
    ],
)
@pytest.mark.parametrize("form", ["{}", "{}:{}", "+{}-:{}:89:89:/d/{}:-::"])
def test_order(names: str, form: str) -> None:
    assign = form.startswith("+")
    in_order = [form.replace("{}", name).encode() for name in names.split()]
    for rotation in range(len(in_order)):
        text = b""
        for line in in_order[rotation:] + in_order[:rotation]:
            text = added(text, line, assign)
        assert text == text_of([*in_order, b"."] if assign else in_order)


def recorded() -> Iterator[Any]:
    """Give each line that a recorded call added: the file before, the line, the file after."""
    for name in ("sort_order", "unsorted_files"):
        trace = json.loads((TRACES / f"{name}.json").read_text())
        files = {path: entry.get("text") for path, entry in trace["start"].items()}
        for number, call in enumerate(trace["calls"]):
            for path, entry in call["changed"].items():
                before, files[path] = files.get(path) or "", entry.get("text")
                kept = {"assign", "rcpthosts", "virtualdomains"} & {Path(path).name}
                if kept and call["fn"] == "vpopmail_add_domain":
                    old, new = before.encode(), files[path].encode()
                    (line,) = {*lines_of(new)} - {*lines_of(old), b"."}
                    about = f"{name}-{number}-{Path(path).name}"
                    yield pytest.param(old, line, "assign" in kept, new, id=about)


@pytest.mark.parametrize(("before", "line", "assign", "after"), list(recorded()))
def test_as_recorded(before: bytes, line: bytes, assign: bool, after: bytes) -> None:
    assert added(before, line, assign) == after


ADDED = [
    # file, line, the file then
    pytest.param(b"", b"b.com", b"b.com\n", id="nothing there"),
    pytest.param(b"a.com\nc.com\n", b"b.com", b"a.com\nb.com\nc.com\n", id="before the greater"),
    pytest.param(b"a.com\nc.com", b"d.com", b"a.com\nc.com\nd.com\n", id="no last newline"),
    pytest.param(b"c.com", b"b.com", b"b.com\nc.com\n", id="no last newline, in front"),
    pytest.param(b"\n", b"b.com", b"\nb.com\n", id="a blank line"),
    pytest.param(b"\n\na.com\n", b"b.com", b"\n\na.com\nb.com\n", id="blank lines in front"),
    pytest.param(b"a.com\n\nc.com\n", b"b.com", b"\na.com\nb.com\nc.com\n", id="one between"),
    pytest.param(b"#x\na.com\n", b"b.com", b"#x\na.com\nb.com\n", id="a comment"),
    pytest.param(b"b.com\nb.com\n", b"b.com", b"b.com\nb.com\nb.com\n", id="duplicates"),
    pytest.param(b"z.com\nb.com\na.com", b"c.com", b"a.com\nb.com\nc.com\nz.com\n", id="unsorted"),
    pytest.param(
        b"z.com:1\na.com:2\nz.com:3\na.com:4\n",
        b"a.com:5",
        b"a.com:2\na.com:4\na.com:5\nz.com:1\nz.com:3\n",
        id="unsorted, equal keys",
    ),
    pytest.param(b"a.com:1\nb.com:2\n", b"a.com:3", b"a.com:1\na.com:3\nb.com:2\n", id="equal"),
    pytest.param(b"a.com\r\nb.com \n", b"c.com", b"a.com\r\nb.com \nc.com\n", id="trailing blanks"),
]


@pytest.mark.parametrize(("text", "line", "then"), ADDED)
def test_control_file(text: bytes, line: bytes, then: bytes) -> None:
    assert added(text, line) == then


B = b"+b.com-:b.com:89:89:/d/b.com:-::"


@pytest.mark.parametrize(
    ("text", "then"),
    [
        (b"", B + b"\n.\n"),
        (b".\n", B + b"\n.\n"),
        (b".", B + b"\n.\n"),
        (b"+a.com-:x\n", b"+a.com-:x\n" + B + b"\n.\n"),
        (b"+a.com-:x\n.\nrest\n", b"+a.com-:x\n" + B + b"\n.\n"),
        # Of a user's line the name is the user's, of a wildcard's the one without its dash.
        (b"=alice:x\n=root:y\n.\n", b"=alice:x\n" + B + b"\n=root:y\n.\n"),
        (b"=b.com-:x\n.\n", B + b"\n=b.com-:x\n.\n"),
        (b"+b.com:x\n.\n", b"+b.com:x\n" + B + b"\n.\n"),
        (b"=root:x\n+a.com-:y\n.\n", b"+a.com-:y\n" + B + b"\n=root:x\n.\n"),
        (b"\n# a comment\n+a.com-:x\n.\n", b"\n# a comment\n+a.com-:x\n" + B + b"\n.\n"),
    ],
)
def test_assign(text: bytes, then: bytes) -> None:
    assert added(text, B, assign=True) == then


NAMES = st.one_of(
    st.sampled_from([b"a.com", b"b.com", b"mail.b.com", b"a-b.com", b"com", b"", b"."]),
    st.text("ab.-:+=#\xe9 \r", max_size=8).map(lambda text: text.encode("latin-1")),
    st.binary(max_size=6).map(lambda data: data.replace(b"\n", b"")),
)
LINES = st.one_of(
    NAMES,
    st.builds(b"%b:%b".__mod__, st.tuples(NAMES, NAMES)),
    st.builds(b"+%b-:x:89".__mod__, NAMES),
    st.builds(b"=%b:y".__mod__, NAMES),
)
FILES = st.builds(
    lambda lines, end: b"\n".join(lines) + end,
    st.lists(LINES, max_size=12),
    st.sampled_from([b"\n", b""]),
)


@settings(deadline=None, max_examples=500)
@given(FILES, LINES, st.booleans())
def test_any_line_in_any_file(text: bytes, line: bytes, assign: bool) -> None:
    assert added(text, line, assign) == model(text, line, assign)


@settings(deadline=None, max_examples=300)
@given(st.lists(LINES, max_size=12), st.booleans())
def test_lines_added_one_by_one_are_in_order(lines: list[bytes], assign: bool) -> None:
    lines = [line for line in lines if line != b"."]
    text = b""
    for line in lines:
        text = added(text, line, assign)
    in_order = sorted(lines, key=lambda line: key_of(line, assign))
    assert text == text_of([*in_order, b"."] if assign and lines else in_order)


@pytest.mark.parametrize(
    ("text", "lines", "count", "left"),
    [
        (b"", [b"a"], 0, b""),
        (b"a\nb\nc\n", [b"b"], 1, b"a\nc\n"),
        (b"z\na\nz\n", [b"z"], 2, b"a\n"),
        (b"a\n", [b"a"], 1, b""),
        (b"a", [b"a"], 1, b""),
        (b"b\na", [b"z"], 0, b"b\na\n"),
        (b"\n# a comment\n\nb\n", [b"b"], 1, b"\n# a comment\n\n"),
        (b"a\n\nb\n", [b""], 1, b"a\nb\n"),
        (b"+a-:x\n.\n", [b"+a-:x"], 1, b".\n"),
    ],
)
def test_drop(text: bytes, lines: list[bytes], count: int, left: bytes) -> None:
    assert dropped(text, *lines) == (count, left)


@settings(deadline=None, max_examples=200)
@given(FILES, st.lists(LINES, max_size=3))
def test_drop_any_lines_of_any_file(text: bytes, unwanted: list[bytes]) -> None:
    # Some of those that are there, so that something goes.
    unwanted += lines_of(text)[::3]
    kept = [line for line in lines_of(text) if line not in unwanted]
    assert dropped(text, *unwanted) == (len(lines_of(text)) - len(kept), text_of(kept))
