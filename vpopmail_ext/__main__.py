"""``python -m vpopmail_ext info`` prints what phpinfo() printed for the extension."""

import argparse
from collections.abc import Sequence

from vpopmail_ext.info import info


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default the process's) name; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vpopmail_ext")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("info", help="print what is linked and where it works, as phpinfo() did")
    parser.parse_args(arguments)
    for name, value in info().rows():
        print(f"{name} => {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
