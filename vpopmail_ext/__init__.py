"""vpopmail's virtual mail domains, users and aliases, by the names of PHP's vpopmail extension.

The ``vpopmail_*`` functions take PHP's parameters, give PHP's results and warn where PHP warned
(`VpopmailWarning`). `configure` tells where vpopmail is; the environment's ``VPOPMAIL_HOME`` and
``QMAIL_HOME`` do the same when the package is imported. `info` tells what is linked. Every function
may be called from any number of threads.
"""

import os

from vpopmail_ext.errors import Code, VpopmailWarning
from vpopmail_ext.info import VERSION as __version__
from vpopmail_ext.info import Info, configure, info
from vpopmail_ext.php import (
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

__all__ = [
    "Code",
    "Info",
    "VpopmailWarning",
    "__version__",
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
