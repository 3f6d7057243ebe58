"""All traces once more, with the package in valgrind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import tree
from tests.conformance.replay import Replay, load, names, place_of_tests
from tests.conformance.server import Elsewhere
from tests.linked import bundled_alone

TOP = Path(__file__).parents[2]
PLACE = place_of_tests()
COMMAND = [
    *("valgrind", "--quiet", "--error-exitcode=99"),
    f"--suppressions={Path(__file__).with_name('python.supp')}",
    *(sys.executable, "-m", "tests.conformance.server"),
]


@bundled_alone("what valgrind sees is not all ours")
@pytest.mark.skipif(PLACE is None, reason="neither in tests/container.sh nor in a scratch home")
@pytest.mark.skipif("VPOPMAIL_TEST_SANITIZED" in os.environ, reason="sanitizers and valgrind")
def test_traces(tmp_path: Path) -> None:
    assert PLACE is not None
    cwd, umask = os.getcwd(), os.umask(0o022)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    differences = []
    log = (tmp_path / "log").open("w+")
    with log, subprocess.Popen(COMMAND, stderr=log, cwd=TOP, env=environment, **pipes) as server:
        elsewhere = Elsewhere(server.stdin, server.stdout)
        for name in names():
            trace = load(name, PLACE)
            elsewhere.begin(PLACE.path(tree.HOME), PLACE.path(tree.QMAIL))
            replay = Replay(trace, PLACE, elsewhere.perform)
            replay.lay_out()
            differences += [
                (name, str(call), texts) for call in trace.calls if (texts := replay.step(call))
            ]
        server.stdin.close()
        status = server.wait()
        os.chdir(cwd)
        os.umask(umask)
        log.seek(0)
        # Its own troubles, as system calls that it does not know, begin otherwise.
        complaints = [line for line in log if line.startswith("==")]
        assert (status, complaints, differences) == (0, [], [])
