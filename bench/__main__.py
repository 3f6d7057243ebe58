"""Run every script, print one table, write results.json and the README's table.

``VPOPMAIL_HOME`` names an installed original to compare with; domains named bench-*.invalid are
made and removed there. Without it only what needs no reference is told.
"""

import json
import os
import subprocess
import sys

from bench.common import TOP, about, limits_table, opened, table
from bench.readme import write

SCRIPTS = (
    "auth_unknown",
    "auth_known",
    "auth_threads",
    "auth_many",
    "users",
    "add_users",
    "add_domain",
    "aliases",
    "lanes",
    "equal_time",
    "import_time",
)
RESULTS = TOP / "bench/results.json"


def main() -> int:
    with opened() as bench:
        reference = {"libvpopmail": bench.reference.version} if bench.reference else None
        described, found = about(reference), []
        environment = {**os.environ, "VPOPMAIL_BENCH_IN": os.fspath(bench.ours.home.parent)}
        for script in SCRIPTS:
            print(f"bench: {script}", file=sys.stderr, flush=True)
            done = subprocess.run(
                [sys.executable, "-m", f"bench.{script}", "--json"],
                cwd=TOP,
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
            )
            found += json.loads(done.stdout)
            results = {**described, "rows": found}
            RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write(TOP / "README.md", results)
    print("\n".join([*table(found), "", *limits_table(found)]))
    return 1 if any(row["met"] is False for row in found) else 0


sys.exit(main())
