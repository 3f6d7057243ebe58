"""`import vpopmail_ext` takes little: what a sign-in can do without is imported later."""

import os
import subprocess
import sys

import pytest

import vpopmail_ext

SLOW = {"collections", "dataclasses", "enum", "inspect", "logging", "re", "subprocess", "threading"}
PROGRAM = """
import sys
sys.path[:] = {path!r}
before = set(sys.modules)
import vpopmail_ext
assert vpopmail_ext.vpopmail_auth_user("a", "b", "c") is False
print(*sorted(set(sys.modules) - before))
"""


def test_few_modules_are_imported() -> None:
    program = PROGRAM.format(path=[os.getcwd(), *sys.path])
    # Without what an environment's own start imports.
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    imported = set(done.stdout.split())
    assert "vpopmail_ext._binding" in imported
    assert not imported & SLOW


def test_what_is_imported_later() -> None:
    from vpopmail_ext.errors import Code
    from vpopmail_ext.many import auth_many
    from vpopmail_ext.records import Info

    assert vpopmail_ext.Code is Code
    assert vpopmail_ext.Info is Info
    assert vpopmail_ext.auth_many is auth_many
    everything: dict[str, object] = {}
    exec("from vpopmail_ext import *", everything)
    assert everything.keys() >= set(vpopmail_ext.__all__)
    with pytest.raises(AttributeError, match="'vpopmail_ext' has no attribute 'nothing'"):
        vpopmail_ext.nothing  # noqa: B018
