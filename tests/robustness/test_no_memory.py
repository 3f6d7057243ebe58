"""Where memory runs out in a call, it tells so and nothing has changed, or the change is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vpopmail_ext as v
from tests import clib, torture
from tests.robustness import strike

HERE = Path(__file__).parent
TOP = HERE.parents[1]
# Without what begins to measure coverage in a program.
ENVIRONMENT = {k: x for k, x in os.environ.items() if not k.startswith("COV_CORE")}


@pytest.mark.torture
@pytest.mark.skipif(torture.SANITIZED, reason="a sanitizer allocates by itself")
def test_an_allocation_fails(tmp_path: Path) -> None:
    strike.skip_where_impossible()
    if v.info().library == "real":
        pytest.skip("a real libvpopmail's calls are not made by us, and it keeps no journal")
    shim = tmp_path / "no_memory.so"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", shim, HERE / "no_memory.c"], check=True)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.robustness.no_memory", str(torture.step(41))],
        env={**ENVIRONMENT, "LD_PRELOAD": str(shim), "VPOPMAIL_TEST_CLIB": str(clib.built())},
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )
    assert ran.returncode == 0, ran.stderr
    torture.tell(ran.stdout.strip())


HEAP = """
import ctypes, errno
from tests.robustness import strike

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
refused = []

def allocate():
    for _ in range(10000):
        memory = libc.malloc(4000)
        if not memory:
            return -1
        ctypes.memset(memory, 1, 4000)
    return 0

def refuse(call):
    refused.append(call.name == "brk")
    return errno.ENOMEM if refused[-1] else 0

assert strike.run(allocate, refuse) == strike.Outcome(0, False)
assert any(refused)
"""


@pytest.mark.skipif(torture.SANITIZED, reason="a sanitizer allocates by itself")
def test_a_heap_that_does_not_grow_is_no_end() -> None:
    """Of what is struck: malloc() then takes memory elsewhere, as with a kernel that refuses."""
    strike.skip_where_impossible()
    # A process of its own, whose heap has not much that is free.
    subprocess.run([sys.executable, "-c", HEAP], check=True, cwd=TOP, env=ENVIRONMENT)
