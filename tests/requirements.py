"""Print what extras of the project need, one requirement a line, for pip.

Without arguments: what `make check` and `make test` need.
"""

import sys
from pathlib import Path

import tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
needed = [extras[name] for name in sys.argv[1:]] or [
    project["dependencies"],
    *(extras[name] for name in ("cli", "migrate", "test", "dev")),
]
print("\n".join(requirement for extra in needed for requirement in extra))
