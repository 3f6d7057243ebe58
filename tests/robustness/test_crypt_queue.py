"""Calls of crypt_joined that wait for a core are hashed together; each gets crypt_r's answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from linking.extension import sanitizers
from tests.crypt_pairs import SOURCE, SOURCES

PROGRAM = Path(__file__).with_name("crypt_queue.c")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("crypt_queue") / "crypt_queue"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    flags += ["-iquote", str(SOURCE), "-Wl,--wrap=crypt_batch", "-o", str(built)]
    sources = [str(PROGRAM), *(str(SOURCE / name) for name in SOURCES)]
    subprocess.run(
        ["gcc", *flags, *sanitizers(os.environ), *sources, "-lcrypt", "-lpthread"],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
    )
    return built


@pytest.mark.parametrize(
    ("work", "simd"), [("alone", ""), ("storm", ""), ("storm", "off"), ("fork", ""), ("cancel", "")]
)
def test_threads_on_one_core(program: Path, work: str, simd: str) -> None:
    cores = os.sched_getaffinity(0)
    try:
        # The program's as well, so that all but one of its calls have to wait.
        os.sched_setaffinity(0, {min(cores)})
        ran = run(program, work, simd)
    finally:
        os.sched_setaffinity(0, cores)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_a_storm_on_all_cores(program: Path) -> None:
    ran = run(program, "storm")
    assert "0 wrong" in ran.stdout, ran.stderr


def run(program: Path, work: str, simd: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), work],
        capture_output=True,
        text=True,
        check=False,
        env={"VPOPMAIL_EXT_SIMD": simd},
    )
