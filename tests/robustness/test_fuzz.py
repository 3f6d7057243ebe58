"""The library's parsers under libFuzzer, on what the recordings hold and what it makes of that."""

from __future__ import annotations

import os
import shutil

import pytest

from tests import torture
from tests.fuzz import __main__ as fuzz

if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
    pytest.skip("the targets have sanitizers of their own", allow_module_level=True)
if not shutil.which("clang"):
    pytest.skip("needs the Debian packages clang and libclang-rt-dev", allow_module_level=True)


@pytest.fixture(scope="module")
def built() -> None:
    fuzz.build(fuzz.TARGETS)


@pytest.mark.torture
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_no_input_breaks_a_parser(built: None, target: str) -> None:
    """For half an hour of CPU time in all on the same code, of which a part may have been had."""
    had = fuzz.ledger()[target]["cpu_seconds"] if torture.FACTOR else 0
    done = fuzz.fuzz(target, torture.amount(0.5, max(60, 1800 - had)))
    assert done["executions"] > 0
    if torture.FACTOR:
        done = fuzz.count_up(target, done)
    torture.tell(
        f"{target}: {done['executions']:,} executions in {done['cpu_seconds']:,.0f} s of CPU"
    )
