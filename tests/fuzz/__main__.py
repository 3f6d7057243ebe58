"""Fuzz the library's parsers: ``python -m tests.fuzz [--seconds N] [TARGET…]``.

Builds the targets (fuzz_TARGET.c) with clang's libFuzzer, AddressSanitizer and
UndefinedBehaviorSanitizer, and runs each for so many seconds of its own CPU time (0: over its
corpus alone) on corpus/TARGET and what earlier runs found, which build/fuzz keeps. All that was run
is counted up in build/fuzz/results.json.
"""

from __future__ import annotations

import argparse
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

TOP = Path(__file__).parents[2]
HERE = TOP / "tests/fuzz"
SOURCE = TOP / "csrc/libvpopmail"
BUILD = TOP / "build/fuzz"
RESULTS = BUILD / "results.json"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
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


def fuzz(target: str, seconds: float) -> dict[str, float]:
    """Run one target and return what was done; an input that breaks it is a SystemExit."""
    found, seeds = BUILD / "corpus" / target, HERE / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    command = [BUILD / target, f"-max_len={LARGEST}", "-timeout=20", "-rss_limit_mb=4096"]
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
    return {"executions": executions, "cpu_seconds": round(cpu, 2), "edges": edges}


def _cpu_seconds(pid: int) -> float:
    """Tell what a child has used; as much as there is where it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def count_up(target: str, done: dict[str, float]) -> dict[str, float]:
    """Add a run to all that was run of the target."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = results.get(target, {"executions": 0, "cpu_seconds": 0, "edges": 0})
    results[target] = {
        "executions": before["executions"] + done["executions"],
        "cpu_seconds": round(before["cpu_seconds"] + done["cpu_seconds"], 2),
        "edges": max(before["edges"], done["edges"]),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    together: dict[str, float] = results[target]
    return together


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of CPU time, for each (10)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = options.targets or TARGETS
    build(targets)
    print(f"{'target':16} {'executions':>12} {'CPU s':>9} {'edges':>6}   all that was run so far")
    for target in targets:
        done = count_up(target, fuzz(target, options.seconds))
        print(
            f"{target:16} {done['executions']:12,.0f} {done['cpu_seconds']:9,.1f} "
            f"{done['edges']:6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
