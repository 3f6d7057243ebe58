"""Fuzz the library's parsers: ``python -m tests.fuzz [--seconds N] [TARGET…]``.

Builds the targets (fuzz_TARGET.c) with clang's libFuzzer, AddressSanitizer and
UndefinedBehaviorSanitizer, and runs each for so many seconds of its own CPU time (0: over its
corpus alone) on corpus/TARGET and what earlier runs found, which build/fuzz keeps. All that was run
on the same code is counted up in ledger.json, of which the table in docs/durability.md is made.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from tests import torture

TOP = torture.TOP
HERE = TOP / "tests/fuzz"
SOURCE = TOP / "csrc/libvpopmail"
BUILD = TOP / "build/fuzz"
LEDGER = HERE / "ledger.json"
TARGETS = {
    "adding": "adding.c dir_control.c names.c stream.c file.c buf.c",
    "assign": "assign.c linefile.c cdb.c stream.c buf.c",
    "bulk": "bulk.c vpasswd.c names.c maildir.c buf.c",
    "catchall": "user.c buf.c",
    "control": "control.c linefile.c cdb.c stream.c buf.c",
    "crypt_batch": "crypt_batch.c crypt_kernel.c crypt_kernel_alone.h crypt_kernel_md5.h "
    "crypt_kernel_sha2.h buf.c",
    "dir_control": "dir_control.c buf.c",
    "dot_qmail": "alias.c linefile.c buf.c",
    "journal": "journal.c change.c change_put.c change_sync.c vpasswd.c walk.c file.c buf.c",
    "limits": "limits.c buf.c",
    "maildirsize": "maildir.c buf.c",
    "password_policy": "password.c buf.c",
    "quota": "maildir.c buf.c",
    "users_cdb": "assign.c cdb.c buf.c",
    "vpasswd": "vpasswd.c lookup.c cdb.c stream.c buf.c",
    "vpasswd_cdb": "vpasswd.c cdb.c buf.c",
    "vpasswd_line": "vpasswd.c buf.c",
}
"""And the sources that each tries."""
FLAGS: list[str | Path] = ["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-w", "-iquote", SOURCE]
FLAGS += ["-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
LARGEST = 65536


def build(targets: Iterable[str]) -> None:
    """Compile the library once, and what each target adds; only what is not up to date."""
    (BUILD / "library").mkdir(parents=True, exist_ok=True)
    headers = [*SOURCE.rglob("*.h"), HERE / "fuzz.h", Path(__file__)]
    objects = {BUILD / "library" / f"{path.stem}.o": path for path in SOURCE.glob("*.c")}
    archive = BUILD / "library.a"

    def compile_one(made: Path) -> None:
        command = [*_clang("fuzzer-no-link"), "-c", objects[made], "-o", made]
        _make(made, [objects[made], *headers], command)

    def link(target: str) -> None:
        # The target's own copy of a source is taken before the archive's.
        source = HERE / f"fuzz_{target}.c"
        command = [*_clang("fuzzer"), source, archive, "-lcrypt", "-lpthread"]
        _make(BUILD / target, [source, archive, *headers], [*command, "-o", BUILD / target])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, objects))
        _make(archive, objects, ["ar", "rcs", archive, *objects])
        list(pool.map(link, targets))


def _clang(instrumentation: str) -> list[str | Path]:
    return ["clang", *FLAGS, f"-fsanitize={instrumentation},address,undefined"]


def _make(made: Path, of: Iterable[Path], command: list[str | Path]) -> None:
    if not made.exists() or made.stat().st_mtime < max(path.stat().st_mtime for path in of):
        subprocess.run(command, check=True)


class Done(TypedDict):
    """What was run of a target."""

    executions: int
    cpu_seconds: float
    edges: int
    code: str
    """A digest of the sources that it tries."""


def code_of(target: str) -> str:
    """Return the digest of what is tried."""
    sources = [SOURCE / name for name in TARGETS[target].split()]
    return torture.digest([HERE / f"fuzz_{target}.c", *sources])


def fuzz(target: str, seconds: float) -> Done:
    """Run one target and return what was done; an input that breaks it is a SystemExit."""
    found, seeds = BUILD / "corpus" / target, HERE / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    command = [BUILD / target, f"-max_len={LARGEST}", "-timeout=600", "-rss_limit_mb=4096"]
    command += ["-print_final_stats=1", f"-artifact_prefix={BUILD}/found-{target}-"]
    # Its end should this process be gone by then.
    command += [f"-max_total_time={int(seconds) * 60 + 60}"] if seconds else ["-runs=0"]
    command += [path for path in (found, seeds) if path.is_dir()]
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch, tempfile.TemporaryFile() as told:
        child = subprocess.Popen(command, cwd=scratch, stderr=told, stdout=told)
        while seconds and _cpu_seconds(child.pid) < seconds:
            time.sleep(0.05)
        if seconds:
            os.kill(child.pid, signal.SIGUSR1)  # ends it after the input that it is at
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        text = told.read().decode(errors="replace")
    if child.returncode:
        raise SystemExit(f"{text[-20000:]}\n{target} ended with {child.returncode}")
    executions = int(re.findall(r"^stat::number_of_executed_units: (\d+)", text, re.M)[-1])
    edges = int(re.findall(r" cov: (\d+) ", text)[-1])
    cpu = usage.ru_utime + usage.ru_stime
    return Done(executions=executions, cpu_seconds=round(cpu, 2), edges=edges, code=code_of(target))


def _cpu_seconds(pid: int) -> float:
    """Tell what a child has used; as much as there is where it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def ledger() -> dict[str, Done]:
    """Return what was run of each target, on the code as it is."""
    written: dict[str, Done] = json.loads(LEDGER.read_text()) if LEDGER.exists() else {}
    nothing = Done(executions=0, cpu_seconds=0, edges=0, code="")
    return {
        target: done if done["code"] == code else Done({**nothing, "code": code})
        for target in TARGETS
        for done, code in [(written.get(target, nothing), code_of(target))]
    }


def count_up(target: str, done: Done) -> Done:
    """Enter a run; return all that was run of the target."""
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        all_of_them = ledger()
        before = all_of_them[target]
        all_of_them[target] = together = Done(
            executions=before["executions"] + done["executions"],
            cpu_seconds=round(before["cpu_seconds"] + done["cpu_seconds"], 2),
            edges=max(before["edges"], done["edges"]),
            code=done["code"],
        )
        LEDGER.write_text(json.dumps(all_of_them, indent=1) + "\n")
        torture.document("python -m tests.fuzz", table(all_of_them))
    return together


def table(of: dict[str, Done]) -> list[str]:
    """Return the lines of a Markdown table."""
    rows = ["| target | executions | CPU seconds | edges |", "| --- | ---: | ---: | ---: |"]
    rows += [
        f"| {target} | {done['executions']:,} | {done['cpu_seconds']:,.0f} | {done['edges']} |"
        for target, done in of.items()
    ]
    together = (sum(done[what] for done in of.values()) for what in ("executions", "cpu_seconds"))
    return [*rows, "| all | {:,} | {:,.0f} | |".format(*together)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of CPU time, for each (10)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = options.targets or TARGETS
    build(targets)
    print(f"{'target':16} {'executions':>14} {'CPU s':>9} {'edges':>6}   all that was run so far")
    for target in targets:
        done = count_up(target, fuzz(target, options.seconds))
        print(
            f"{target:16} {done['executions']:14,} {done['cpu_seconds']:9,.1f} {done['edges']:6}",
            flush=True,
        )


if __name__ == "__main__":
    main()
