"""Running vpopmail's programs: how they are called, and what their end means."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vpopmail_ext import exec_tools, vpopmail_add_domain_ex, vpopmail_error

Tool = Callable[[str], None]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Writes a shell script as the program ``tool`` of a scratch installation."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(exec_tools, "tool_path", lambda name: f"{tmp_path}/bin/{name}")
    monkeypatch.setattr(exec_tools, "home_dir", lambda: str(tmp_path))
    monkeypatch.setattr(exec_tools, "qmail_dir", lambda: f"{tmp_path}/qmail")

    def write(script: str) -> None:
        program = tmp_path / "bin/tool"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return write


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 243", 243), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
def test_the_status_is_a_shell_s(tool: Tool, script: str, status: int) -> None:
    tool(script)
    assert exec_tools.run("tool") == status


def test_faults_13_arguments_arrive_whole(tool: Tool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vpopmail_ext")
    tool('for each; do echo "[$each]"; done')
    assert exec_tools.run("tool", b"-q", b"", b"--", b"a b", b"$(id); *", b"\xe9") == 0
    assert logged(caplog, logging.INFO) == [
        "tool: [-q]",
        "tool: []",
        "tool: [--]",
        "tool: [a b]",
        "tool: [$(id); *]",
        "tool: [\\xe9]",
    ]


@pytest.mark.parametrize(("kept", "status"), [(True, 236), (False, 0)])
def test_faults_6_a_newline_where_passwords_are_kept(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, kept: bool, status: int
) -> None:
    linked = replace(exec_tools.info(), clear_passwords=kept, auth_module="cdb")
    monkeypatch.setattr(exec_tools, "info", lambda: linked)
    tool("exit 0")
    assert exec_tools.run("tool", b"--", b"example.com", b"one\ntwo") == status
    assert exec_tools.run("tool", b"--", b"example.com", b"one") == 0


@pytest.mark.parametrize(("longest_name", "status"), [(32, 229), (64, 0)])
def test_faults_11_a_postmaster_s_line_that_is_not_read_whole(
    tool: Tool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    longest_name: int,
    status: int,
) -> None:
    caplog.set_level(logging.ERROR, "vpopmail_ext")
    linked = replace(
        exec_tools.info(), clear_passwords=True, auth_module="cdb", user_name_max=longest_name
    )
    monkeypatch.setattr(exec_tools, "info", lambda: linked)
    monkeypatch.setattr(exec_tools, "home_dir", lambda: "/home/vpopmail")
    tool("exit 0")
    (tmp_path / "bin/tool").rename(tmp_path / "bin/vadddomain")
    rest = 254 - len(
        f"postmaster:{'h' * 34}:1:0:Postmaster:/home/vpopmail/domains/0/example.com/postmaster:"
        f"{'q' * 20}:"
    )
    assert exec_tools.run("vadddomain", b"-q", b"1M", b"--", b"example.com", b"p" * rest) == 0
    assert not caplog.messages
    assert exec_tools.run("vadddomain", b"--", b"example.com", b"p" * (rest + 1)) == status
    assert len(caplog.messages) == (status == 229)


def test_faults_2_a_program_writes_no_wide_file(
    tool: Tool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vpopmail_ext")
    before = os.umask(0o002)
    try:
        tool("umask")
        assert exec_tools.run("tool") == 0
        assert os.umask(0o002) == 0o002
    finally:
        os.umask(before)
    assert logged(caplog, logging.INFO) == ["tool: 0077"]


def test_faults_22_what_a_program_wrote_is_looked_after(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(exec_tools, "lib", SimpleNamespace(vpx_settle=lambda: done.append("done")))
    tool("exit 3")
    assert (exec_tools.run("tool"), done) == (3, ["done"])


def test_faults_4_what_a_program_prints_is_logged(
    tool: Tool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "vpopmail_ext")
    tool("echo out; echo err >&2; exit 3")
    assert exec_tools.run("tool", b"secret") == 3
    assert logged(caplog, logging.INFO) == ["tool: out", "tool: err"]
    assert [line.rpartition("/")[2] for line in logged(caplog, logging.DEBUG)] == [
        "tool: exit status 3"
    ]
    assert "secret" not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_a_program_gets_the_directories_and_no_input(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vpopmail_ext")
    monkeypatch.setenv("VPOPMAIL_HOME", "/elsewhere")
    monkeypatch.setenv("KEPT", "as it is")
    tool('read line; echo "$? $line"; echo "$VPOPMAIL_HOME $QMAIL_HOME $KEPT"')
    assert exec_tools.run("tool") == 0
    assert logged(caplog, logging.INFO) == [
        "tool: 1 ",
        f"tool: {tmp_path} {tmp_path}/qmail as it is",
    ]
    assert os.environ["VPOPMAIL_HOME"] == "/elsewhere"


def test_a_program_that_is_not_there(
    tool: Tool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.warns(UserWarning, match=r"^vpopmail_add_domain_ex error: 127$"):
        assert vpopmail_add_domain_ex("example.com", "secret") is False
    assert vpopmail_error() == "Unknown error"
    (line,) = logged(caplog, logging.ERROR)
    assert line.startswith(f"{tmp_path}/bin/vadddomain is not there; install")
    assert "VPOPMAIL_HOME" in line
    assert "secret" not in caplog.text


def test_a_program_that_cannot_be_run(
    tool: Tool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tool("exit 0")
    (tmp_path / "bin/tool").chmod(0o644)
    assert exec_tools.run("tool") == 126
    assert logged(caplog, logging.ERROR) == [f"{tmp_path}/bin/tool can't be run: Permission denied"]


def test_an_argument_that_the_system_refuses(tool: Tool) -> None:
    tool("exit 0")
    assert exec_tools.run("tool", b"x" * 200_000) == 126
