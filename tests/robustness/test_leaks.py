"""The library leaks neither memory nor descriptors."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    built = tmp_path / "calls"
    sources = [str(path) for path in (TOP / "csrc/libvpopmail").glob("*.c")]
    include = f"-I{TOP / 'csrc/libvpopmail/include'}"
    subprocess.run(
        [
            "gcc",
            "-std=c11",
            "-D_GNU_SOURCE",
            "-g",
            "-fsanitize=address,undefined",
            include,
            "-fno-sanitize-recover=all",
            "-o",
            str(built),
            str(TOP / "tests/robustness/calls.c"),
            *sources,
            "-lcrypt",
            "-lpthread",
        ],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
    )
    return built


def test_nothing_is_leaked(program: Path, tmp_path: Path) -> None:
    home, qmail = tmp_path / "home", tmp_path / "qmail"
    for directory in (home / "domains", home / "etc", qmail / "users", qmail / "control"):
        directory.mkdir(parents=True)
    (home / "etc/password_strength.conf").write_text("Length >= 1\n")
    ran = subprocess.run(
        [str(program), str(home), str(qmail)],
        capture_output=True,
        text=True,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=1"},
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
