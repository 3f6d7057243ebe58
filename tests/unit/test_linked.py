"""What goes with a linked real library: its words are logged, a refused cage is an OSError.

tests/cage shows the rest on a library.
"""

from __future__ import annotations

import atexit
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from vpopmail_ext import linked
from vpopmail_ext._binding import ffi


class Raw:
    """A compiled module that is linked with a real library."""

    VPX_NO_CAGE = -1000

    def __init__(self) -> None:
        self.words = b""
        self.code = 0
        self.freed: list[bytes] = []
        self._kept: Any = None

    def vpx_library(self, out: Any) -> None:
        out.bundled = 0

    def vpx_close(self) -> None:
        pass

    def vpx_has_words(self) -> int:
        return len(self.words)

    def vpx_words(self, out: Any) -> None:
        self._kept = ffi.new("char[]", self.words)  # type: ignore[call-arg]
        out.data, out.size = self._kept, len(self.words)
        self.words = b""

    def vpx_free(self, out: Any) -> None:
        self.freed.append(ffi.unpack(out.data, out.size))

    def vpx_del_domain(self, domain: bytes) -> int:
        """Make a call that says something."""
        self.words = b"no such domain\ngone \xff\n" if domain == b"a.com" else b""
        return self.code


def test_words_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    raw = Raw()
    caplog.set_level(logging.INFO, "vpopmail_ext")
    assert linked.Caged(raw).vpx_del_domain(b"a.com") == 0
    assert linked.Caged(raw).vpx_del_domain(b"b.com") == 0
    assert caplog.messages == ["libvpopmail: no such domain", "libvpopmail: gone \\xff"]
    assert raw.freed == [b"no such domain\ngone \xff\n"]


def test_a_refused_cage_is_an_error() -> None:
    raw = Raw()
    raw.code = raw.VPX_NO_CAGE
    with pytest.raises(PermissionError, match=r"unshare.*VPOPMAIL_EXT_LIBRARY=bundled"):
        linked.Caged(raw).vpx_del_domain(b"b.com")


def test_constants_and_names_are_the_modules() -> None:
    caged = linked.Caged(Raw())
    assert caged.VPX_NO_CAGE == -1000
    assert caged.vpx_del_domain.__name__ == "vpx_del_domain"


def interpreters(monkeypatch: pytest.MonkeyPatch, name: str, main: bool) -> None:
    """Let the interpreter be the main one or not, as the module of that name tells it."""
    for module in ("_interpreters", "_xxsubinterpreters"):
        monkeypatch.setitem(sys.modules, module, None)
    there = SimpleNamespace(get_main=lambda: 0, get_current=lambda: 0 if main else 1)
    monkeypatch.setitem(sys.modules, name, there)


@pytest.mark.parametrize("name", ["_interpreters", "_xxsubinterpreters"])
def test_a_subinterpreter_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    interpreters(monkeypatch, name, main=False)
    with pytest.raises(ImportError, match=r"subinterpreter.*WSGIApplicationGroup"):
        linked._choose(Raw())


@pytest.mark.parametrize("name", ["_interpreters", "_xxsubinterpreters", "_none"])
def test_the_main_interpreter(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    interpreters(monkeypatch, name, main=True)
    raw = Raw()
    assert isinstance(linked._choose(raw), linked.Caged)
    assert registered == [raw.vpx_close]


def test_the_bundled_library_is_called_as_it_is() -> None:
    raw = SimpleNamespace(vpx_library=lambda out: setattr(out, "bundled", 1))
    assert linked._choose(raw) is raw
