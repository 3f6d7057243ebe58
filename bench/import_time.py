"""How much longer `import vpopmail_ext` takes than `import cffi`, each in a new process."""

import subprocess
import sys
from collections.abc import Iterator

from bench.common import Bench, Row, main, medians, seconds, valued

ROUNDS = 21


def new_process(code: str) -> float:
    command = [sys.executable, "-c", code]
    return seconds(lambda: subprocess.run(command, check=True))


def rows(bench: Bench) -> Iterator[Row]:
    sides = medians(
        {
            "ours": lambda: new_process("import vpopmail_ext"),
            "cffi": lambda: new_process("import cffi"),
        },
        ROUNDS,
    )
    above = (sides["ours"] - sides["cffi"]) * 1e3
    yield valued("import vpopmail_ext, above import cffi", "ms", above, at_most=25)


if __name__ == "__main__":
    main(rows)
