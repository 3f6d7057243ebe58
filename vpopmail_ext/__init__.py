"""vpopmail's virtual mail domains, users and aliases, by the names of PHP's vpopmail extension.

The ``vpopmail_*`` functions take PHP's parameters, give PHP's results and warn where PHP warned
(`VpopmailWarning`). `auth_many` answers many sign-ins, on all cores. `configure` tells where
vpopmail is; the environment's ``VPOPMAIL_HOME`` and ``QMAIL_HOME`` do the same when the package is
imported. `info` tells what is linked. Every function may be called from any number of threads.
"""

import os

from vpopmail_ext.info import VERSION as __version__
from vpopmail_ext.info import configure, info
from vpopmail_ext.php import (
    VpopmailWarning,
    vpopmail_add_alias_domain,
    vpopmail_add_alias_domain_ex,
    vpopmail_add_domain,
    vpopmail_add_domain_ex,
    vpopmail_add_user,
    vpopmail_alias_add,
    vpopmail_alias_del,
    vpopmail_alias_del_domain,
    vpopmail_alias_get,
    vpopmail_alias_get_all,
    vpopmail_auth_user,
    vpopmail_del_domain,
    vpopmail_del_domain_ex,
    vpopmail_del_user,
    vpopmail_error,
    vpopmail_passwd,
    vpopmail_set_user_quota,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vpopmail_ext.errors import Code
    from vpopmail_ext.many import auth_many
    from vpopmail_ext.records import Info

__all__ = [
    "Code",
    "Info",
    "VpopmailWarning",
    "__version__",
    "auth_many",
    "configure",
    "info",
    "vpopmail_add_alias_domain",
    "vpopmail_add_alias_domain_ex",
    "vpopmail_add_domain",
    "vpopmail_add_domain_ex",
    "vpopmail_add_user",
    "vpopmail_alias_add",
    "vpopmail_alias_del",
    "vpopmail_alias_del_domain",
    "vpopmail_alias_get",
    "vpopmail_alias_get_all",
    "vpopmail_auth_user",
    "vpopmail_del_domain",
    "vpopmail_del_domain_ex",
    "vpopmail_del_user",
    "vpopmail_error",
    "vpopmail_passwd",
    "vpopmail_set_user_quota",
]

configure(os.environ.get("VPOPMAIL_HOME") or None, os.environ.get("QMAIL_HOME") or None)


def __getattr__(name: str) -> object:
    # What takes longer to import than a sign-in takes is imported when it is first used.
    module = {"Code": "errors", "Info": "records", "auth_many": "many"}.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value
