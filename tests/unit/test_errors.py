"""The one table from codes to exceptions."""

from __future__ import annotations

import pickle

import pytest

import vpopmail_ext as v
from vpopmail_ext import errors

# What a Python programmer would catch.
BUILTINS: list[tuple[int, type[Exception]]] = [
    (-13, FileExistsError),
    (-2, FileExistsError),
    (-7, FileExistsError),
    (-11, LookupError),
    (-10, LookupError),
    (-1, ValueError),
    (-12, ValueError),
    (-20, ValueError),
    (-25, ValueError),
    (-32, ValueError),
    (-70, ValueError),
    (-22, PermissionError),
    (-55, PermissionError),
    (-17, OSError),
    (-37, OSError),
    (-23, ConnectionError),
    (-40, RuntimeError),
    (-45, RuntimeError),
    (-18, RuntimeError),
    (-24, MemoryError),
]


@pytest.mark.parametrize(("code", "builtin"), BUILTINS)
def test_each_kind_is_also_the_builtin(code: int, builtin: type[Exception]) -> None:
    error = errors.error_of(code, "Text of it", "example.com")
    assert isinstance(error, builtin)
    assert isinstance(error, errors.VpopmailError)
    assert type(error) is not errors.VpopmailError
    assert (error.code, error.name, error.text) == (code, v.Code(code).name, "Text of it")
    assert error.about == "example.com"
    assert str(error) == "Text of it: example.com"


def test_without_a_subject_the_text_stands_alone() -> None:
    assert str(errors.error_of(-13, "Domain already exists")) == "Domain already exists"


def test_every_code_but_success_has_a_kind() -> None:
    assert set(errors.KINDS) == {code.value for code in v.Code} - {0}


def test_an_unknown_code_is_a_plain_error() -> None:
    error = errors.error_of(-99, "Unknown error")
    assert type(error) is errors.VpopmailError
    assert (error.code, error.name, str(error)) == (-99, "", "Unknown error")


@pytest.mark.parametrize("code", [-13, -10, -17, -99])
def test_errors_cross_processes(code: int) -> None:
    error = errors.error_of(code, "Text", "about it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)
