"""Which library the tests run on, for those that hold with one alone.

tests/system.sh names the files that hold with both.
"""

from __future__ import annotations

import pytest

import vpopmail_ext

REAL = vpopmail_ext.info().library == "real"


def bundled_alone(reason: str) -> pytest.MarkDecorator:
    """Mark a test, or a case of one, that a real library does not pass, with the reason."""
    return pytest.mark.skipif(REAL, reason=f"with a real libvpopmail, {reason}")
