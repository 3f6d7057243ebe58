"""Which library the tests run on, for those that hold with one alone.

tests/system.sh names the files that hold with both.
"""

from __future__ import annotations

import pytest

import vpopmail_ext
from tests.conformance.forms import form_of

INFO = vpopmail_ext.info()
REAL = INFO.library == "real"
FORM = form_of(INFO.vpopmail_version)


def error_text(recorded: str) -> str:
    """Return an error's text, told as 5.6.13 tells it, as the linked release does."""
    return FORM.text(recorded)


def bundled_alone(reason: str) -> pytest.MarkDecorator:
    """Mark a test, or a case of one, that a real library does not pass, with the reason."""
    return pytest.mark.skipif(REAL, reason=f"with a real libvpopmail, {reason}")
