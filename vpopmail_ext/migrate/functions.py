"""The seventeen functions, as calls in PHP are held against them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import vpopmail_ext

PREFIX = "vpopmail_"


@dataclass(frozen=True)
class Function:
    """One of the functions."""

    name: str
    parameters: tuple[str, ...]
    required: int
    """How many arguments must be given."""
    gives: Literal["yes or no", "text", "list", "dict"]

    @property
    def warns(self) -> bool:
        """Whether a failure warns."""
        return self.gives == "yes or no" and self.name != "vpopmail_auth_user"

    def api(self, arguments: Sequence[str]) -> str | None:
        """Return the call of `vpopmail_ext.api` that does the same; None where there is none."""
        if self.name not in _API or not self.required <= len(arguments) <= len(self.parameters):
            return None
        name, keywords, end = _API[self.name]
        given = [
            keyword + argument
            for keyword, argument in zip(keywords, arguments, strict=False)
            if keyword is not None
        ]
        return f"api.{name}({', '.join(given)}){end}"


# The name in vpopmail_ext.api; for each argument its keyword, or None where it is left out; what
# follows the call.
_API: dict[str, tuple[str, tuple[str | None, ...], str]] = {
    "vpopmail_add_domain": ("add_domain", ("", "directory=", "uid=", "gid="), ""),
    "vpopmail_del_domain": ("delete_domain", ("",), ""),
    "vpopmail_add_alias_domain": ("add_alias_domain", ("", ""), ""),
    "vpopmail_add_domain_ex": ("add_domain_ex", ("", "", "quota=", "bounce=", None), ""),
    "vpopmail_del_domain_ex": ("delete_domain_ex", ("",), ""),
    "vpopmail_add_alias_domain_ex": ("add_alias_domain_ex", ("", ""), ""),
    "vpopmail_add_user": ("add_user", ("", "", "", "gecos=", "apop="), ""),
    "vpopmail_del_user": ("delete_user", ("", ""), ""),
    "vpopmail_passwd": ("set_password", ("", "", "", None), ""),
    "vpopmail_set_user_quota": ("set_quota", ("", "", ""), ""),
    "vpopmail_auth_user": ("authenticate", ("", "", "", None), ""),
    "vpopmail_alias_add": ("add_alias", ("", "", ""), ""),
    "vpopmail_alias_del": ("delete_alias", ("", ""), ""),
    "vpopmail_alias_get": ("alias", ("", ""), ".lines"),
    "vpopmail_alias_get_all": ("aliases", ("",), ""),
}
_GIVES: dict[str, Literal["text", "list", "dict"]] = {
    "vpopmail_error": "text",
    "vpopmail_alias_get": "list",
    "vpopmail_alias_get_all": "dict",
}


def _function(name: str) -> Function:
    parameters = inspect.signature(getattr(vpopmail_ext, name)).parameters.values()
    required = sum(parameter.default is parameter.empty for parameter in parameters)
    names = tuple(parameter.name for parameter in parameters)
    return Function(name, names, required, _GIVES.get(name, "yes or no"))


FUNCTIONS = {name: _function(name) for name in vpopmail_ext.__all__ if name.startswith(PREFIX)}
