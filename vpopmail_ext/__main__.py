"""``python -m vpopmail_ext`` is ``vpopmail-ext``."""

from vpopmail_ext.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
