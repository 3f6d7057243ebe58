"""Print what the project's extras need, one requirement a line, for pip."""

from pathlib import Path

import tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
print("\n".join([*project["dependencies"], *extras["cli"], *extras["test"], *extras["dev"]]))
