"""setuptools' build backend, with ``-C library=real|bundled|auto`` for pip."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, str | list[str] | None]


def build_wheel(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel, as PEP 517 has it."""
    with _library(config_settings):
        return build_meta.build_wheel(wheel_directory, None, metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build an editable wheel, as PEP 660 has it."""
    with _library(config_settings):
        return build_meta.build_editable(wheel_directory, None, metadata_directory)


@contextmanager
def _library(settings: Settings | None) -> Iterator[None]:
    settings = dict(settings or {})
    library = settings.pop("library", None)
    if settings:
        raise SystemExit(
            f"vpopmail_ext: the setting {', '.join(settings)} is not known; -C takes library=real, "
            "library=bundled or library=auto."
        )
    before = os.environ.get("VPOPMAIL_EXT_LIBRARY")
    if library:
        # Given more than once it is a list, which is no library's name.
        os.environ["VPOPMAIL_EXT_LIBRARY"] = (
            library if isinstance(library, str) else ", ".join(library)
        )
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("VPOPMAIL_EXT_LIBRARY", None)
        else:
            os.environ["VPOPMAIL_EXT_LIBRARY"] = before
