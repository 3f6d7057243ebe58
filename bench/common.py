"""What the scripts have in common: rows and their targets, installations, the reference, medians.

A script has a function `rows(bench)` that yields a `Row` for each claim; `python -m bench.NAME`
prints them, `python -m bench` (make bench) runs every script and writes results.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import vpopmail_ext
from tests import cdb

TOP = Path(__file__).parents[1]
ROUNDS = 5
USERS = 50_000
NO_HASHES: Mapping[str, str] = {}

# --- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One claim. `ours` and `reference` are in `unit`."""

    work: str
    unit: str
    ours: float
    reference: float | None
    of: str  # "ratio": the target is for ours / reference; "value": for ours itself
    at_most: float | None = None
    at_least: float | None = None
    limit: float | None = None
    """What nothing that does this work can be below, measured in the same run."""
    limit_is: str = ""

    def above(self, limit: float, limit_is: str) -> Row:
        """Return the same with a physical limit, in the row's unit."""
        return replace(self, limit=limit, limit_is=limit_is)

    @property
    def ratio(self) -> float | None:
        return None if self.reference is None else self.ours / self.reference

    @property
    def met(self) -> bool | None:
        """Tell whether the target is met; None where there is nothing to compare with."""
        number = self.ratio if self.of == "ratio" else self.ours
        if number is None:
            return None
        if self.at_most is not None and number > self.at_most:
            return False
        return self.at_least is None or number >= self.at_least

    def as_json(self) -> dict[str, object]:
        """Return what results.json has of it."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def compared(
    work: str,
    unit: str,
    sides: Mapping[str, float],
    *,
    scale: float = 1.0,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """Make a row whose target is for the ratio of ours to the reference's; see `medians`."""
    reference = sides.get("reference")
    return Row(
        work,
        unit,
        sides["ours"] * scale,
        None if reference is None else reference * scale,
        "ratio",
        at_most,
        at_least,
    )


def valued(
    work: str,
    unit: str,
    ours: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """Make a row whose target is for the number itself, so that it needs no reference."""
    return Row(work, unit, ours, None, "value", at_most, at_least)


def median_difference(one: Callable[[], float], other: Callable[[], float], rounds: int) -> float:
    """Run two sides in turn and return the median of how much more the first one gave.

    What slows both down for a while does not show in it.
    """
    return median(one() - other() for _ in range(rounds))


def medians(
    sides: Mapping[str, Callable[[], float] | None], rounds: int = ROUNDS
) -> dict[str, float]:
    """Run each side in turn, `rounds` times over, and return the median of what each returns.

    A side that is None (a reference that is not there) is left out.
    """
    there = {name: side for name, side in sides.items() if side is not None}
    found: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(rounds):
        for name, side in there.items():
            found[name].append(side())
    return {name: median(values) for name, values in found.items()}


def seconds(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


# --- installations -------------------------------------------------------------------------------

Line = bytes
"""A line of vpasswd without its newline."""


def user_lines(directory: Path, count: int, hashes: Mapping[str, str]) -> list[Line]:
    """Return the lines of a domain of `count` users, those with the hashes given among them."""
    filler = "$6$aaaaaaaa$" + "." * 86
    named = {f"user{number:06}": filler for number in range(count - len(hashes))} | dict(hashes)
    return [
        f"{name}:{hashed}:1:0:{name}:{directory}/{name}:NOQUOTA".encode()
        for name, hashed in sorted(named.items())
    ]


class Installation:
    """A vpopmail and a qmail on disk, of which the bench makes and removes domains."""

    def __init__(self, home: Path, qmail: Path, uid: int, gid: int) -> None:
        self.home, self.qmail, self.uid, self.gid = home, qmail, uid, gid

    def add_domain(self, name: str) -> None:
        raise NotImplementedError

    def del_domain(self, name: str) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def domain(self, name: str, hashes: Mapping[str, str], users: int) -> Iterator[Path]:
        """Make a domain that has its users in vpasswd and vpasswd.cdb, without directories."""
        self.add_domain(name)
        try:
            # Below 100 domains; the bench never has that many.
            directory = self.home / "domains" / name
            text = b"".join(line + b"\n" for line in user_lines(directory, users, hashes))
            for file, data in (("vpasswd", text), ("vpasswd.cdb", cdb.of("vpasswd", text))):
                path = directory / file
                path.write_bytes(data)
                path.chmod(0o600)
                os.chown(path, self.uid, self.gid)
            yield directory
        finally:
            self.del_domain(name)


class Ours(Installation):
    """A scratch installation that the bundled library, linked into this process, uses."""

    def add_domain(self, name: str) -> None:
        added = vpopmail_ext.vpopmail_add_domain(name, os.fspath(self.home), self.uid, self.gid)
        if not added:
            raise SystemExit(f"bench: {name} could not be added: {vpopmail_ext.vpopmail_error()}")

    def del_domain(self, name: str) -> None:
        vpopmail_ext.vpopmail_del_domain(name)


class Reference(Installation):
    """An installed original, driven by bench/reference.c; its domains are bench-*.invalid."""

    def __init__(self, home: Path, program: Path) -> None:
        self.program = program
        told = self.run("where").split("\n")
        self.version = told[0]
        super().__init__(Path(told[1]), Path(told[2]), int(told[3]), int(told[4]))
        if self.home != home:
            raise SystemExit(f"bench: {home} has a libvpopmail that was built for {self.home}")

    def run(self, *arguments: str | int) -> str:
        """Run the program for one piece of work and return what it prints, without a newline."""
        command = [os.fspath(self.program), *map(str, arguments)]
        # What the library itself says there goes to stderr, with ours or without.
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: {shlex.join(command)} failed with {done.returncode}")
        return done.stdout.rstrip("\n").rpartition("\x1e")[2]

    def seconds(self, *arguments: str | int) -> float:
        """Return how long the work took, in its own C loop."""
        return int(self.run(*arguments)) / 1e9

    def add_domain(self, name: str) -> None:
        self.run("add_domain", name)

    def del_domain(self, name: str) -> None:
        self.run("del_domain", name)


def _compiled_reference(home: Path, program: Path) -> None:
    include, link = (
        shlex.split((home / "etc" / name).read_text()) for name in ("inc_deps", "lib_deps")
    )
    command = ["gcc", "-O2", "-o", os.fspath(program), *include, f"{TOP}/bench/reference.c", *link]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"bench: {shlex.join(command)} failed; its messages are above")


@dataclass(frozen=True)
class Bench:
    ours: Ours
    reference: Reference | None

    @property
    def sides(self) -> list[Installation]:
        return [self.ours, *([self.reference] if self.reference else [])]

    @contextlib.contextmanager
    def domain(
        self, name: str, hashes: Mapping[str, str] = NO_HASHES, users: int = USERS
    ) -> Iterator[None]:
        """Make the same domain in our installation and, where there is one, in the reference's."""
        with contextlib.ExitStack() as stack:
            for side in self.sides:
                stack.enter_context(side.domain(name, hashes, users))
            yield

    def against(self, *arguments: str | int, per: int = 1) -> Callable[[], float] | None:
        """Return the reference's side of a comparison: seconds of its work, divided by `per`."""
        reference = self.reference
        if reference is None:
            return None
        return lambda: reference.seconds(*arguments) / per


@contextlib.contextmanager
def opened() -> Iterator[Bench]:
    """Make the scratch installation, and the reference's program where VPOPMAIL_HOME names one."""
    if vpopmail_ext.info().library != "bundled":
        raise SystemExit("bench: the module must have the bundled library: make bench builds it so")
    named = os.environ.get("VPOPMAIL_HOME")
    # On the file system of the original, where there is one: both are to write to the same disk.
    # `python -m bench` removes what its scripts leave once all have run: ext4 looks at every inode
    # that was freed in the last minutes before it takes one.
    kept = os.environ.get("VPOPMAIL_BENCH_IN")
    place = Path(kept or named or TOP / "build")
    place.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench.", dir=place))
    try:
        reference = None
        if named:
            _compiled_reference(Path(named), scratch / "reference")
            reference = Reference(Path(named), scratch / "reference")
        ids = (reference.uid, reference.gid) if reference else _ids()
        ours = Ours(scratch / "vpopmail", scratch / "qmail", *ids)
        for directory in ("vpopmail/domains", "vpopmail/etc", "qmail/users", "qmail/control"):
            (scratch / directory).mkdir(parents=True)
        os.chown(ours.home / "domains", *ids)
        (ours.home / "etc/vlimits.default").write_text("maxpopaccounts -1\n")
        (ours.home / "etc/password_strength.conf").write_text("Length >= 1\n")
        scratch.chmod(0o755)
        vpopmail_ext.configure(ours.home, ours.qmail)
        yield Bench(ours, reference)
    finally:
        if not kept:
            shutil.rmtree(scratch)


def _ids() -> tuple[int, int]:
    return (89, 89) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


# --- what is printed and written -----------------------------------------------------------------


def main(rows: Callable[[Bench], Iterable[Row]]) -> None:
    """Measure one script's rows and print them; as JSON for `python -m bench`."""
    with opened() as bench:
        found = [replace(row, ours=float(row.ours)) for row in rows(bench)]
    if "--json" in sys.argv[1:]:
        json.dump([row.as_json() for row in found], sys.stdout)
    else:
        told = [row.as_json() for row in found]
        print("\n".join([*table(told), "", *limits_table(told)]))


def _number(value: object) -> str:
    assert isinstance(value, (int, float))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def table(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the lines of a Markdown table of rows as results.json has them."""
    lines = [
        "| work | ours | original | ratio | target | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        unit, ratio = row["unit"], row["ratio"]
        sign, bound = (
            ("≤", row["at_most"]) if row["at_most"] is not None else ("≥", row["at_least"])
        )
        of_ratio = row["of"] == "ratio"
        cells = [
            str(row["work"]),
            f"{_number(row['ours'])} {unit}",
            "" if row["reference"] is None else f"{_number(row['reference'])} {unit}",
            "" if ratio is None else _number(ratio),
            f"{sign} {_number(bound)}" + (" of the original" if of_ratio else f" {unit}"),
            {True: "yes", False: "no", None: "not measured"}[row["met"]],  # type: ignore[index]
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def limits_table(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the lines of a table of each row beside the bare work that it can't do without."""
    lines = ["| work | ours | the bare work | times that |", "| --- | --- | --- | --- |"]
    for row in rows:
        ours, limit, unit = row["ours"], row["limit"], row["unit"]
        if limit is None:
            continue
        assert isinstance(ours, float)
        assert isinstance(limit, float)
        cells = [
            str(row["work"]),
            f"{_number(ours)} {unit}",
            f"{_number(limit)} {unit}: {row['limit_is']}",
            _number(ours / limit),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def write_through(directory: Path, sizes: Iterable[int]) -> None:
    """Write files of these sizes as a change is written: synced, renamed, the directory synced."""
    made = []
    for number, size in enumerate(sizes):
        made.append(os.open(directory / f".tmp:{number}", os.O_WRONLY | os.O_CREAT, 0o600))
        os.write(made[-1], bytes(size))
    for fd in made:
        os.fsync(fd)
        os.close(fd)
    for number in range(len(made)):
        os.rename(directory / f".tmp:{number}", directory / f".limit:{number}")
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def about(reference: Mapping[str, object] | None) -> dict[str, object]:
    """Tell machine, versions and commit."""
    import cffi

    def git(*command: str) -> str:
        done = subprocess.run(
            ["git", *command], cwd=TOP, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "machine": {
            "processor": processor,
            "cores": len(os.sched_getaffinity(0)),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {
            "python": platform.python_version(),
            "cffi": cffi.__version__,
            "vpopmail_ext": vpopmail_ext.__version__,
            "libc": " ".join(platform.libc_ver()),
        },
        "reference": reference,
        "commit": git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else ""),
    }
