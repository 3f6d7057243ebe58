"""The seventeen functions of PHP's vpopmail extension: its names, conversions and warnings.

Arguments are str, bytes, int, float, bool or None; another type is a TypeError. They are converted
as PHP does it: an int and a float to their decimal text, True to ``1``, False and None to the
empty string. A str goes in as UTF-8 with surrogateescape and texts come out the same way. A NUL
byte (in PHP it silently ended the text) and a surrogate that stands for no byte are a ValueError.
`apop` is true or false as in PHP, where the texts ``""`` and ``"0"`` are false.

Where a docstring says no more, a function returns True, or it fails: it keeps the library's error
text for `vpopmail_error`, warns `VpopmailWarning` with ``vpopmail error: TEXT`` at the caller's
line, and returns False. What failed is kept before the warning is given, so it is there also where
warnings are made exceptions. A TypeError or ValueError changes nothing, nor what is kept.
"""

from __future__ import annotations

from _thread import _local

from vpopmail_ext.info import copy_out
from vpopmail_ext.linked import lib

# Modules that a sign-in can do without are imported where they are needed.

Value = str | bytes | int | float | bool | None

# The code that PHP's extension kept for a failed program; it has no text of its own.
_FAILED_TOOL = 1
# The highest value of an unsigned 32-bit id, 4294967295, means "no id" to the system.
_LAST_ID = 2**32 - 2


class VpopmailWarning(UserWarning):
    """A call failed. Its text is that of the warning of PHP's extension, to the letter."""


class _Kept(_local):  # threading.local
    failure: str | None = None
    """The text of this thread's last failure; None where its last call succeeded."""


_kept = _Kept()

_auth_user = lib.vpx_auth_user


def vpopmail_add_domain(domain: Value, dir: Value, uid: Value, gid: Value) -> bool:
    """Add a virtual domain, kept under the directory `dir`/domains.

    `uid` and `gid`, its owner's numeric ids, are numbers, or texts whose leading digits count (none
    are 0); a fraction is dropped. An id that is not 0 to 4294967294 is a ValueError (in PHP it
    wrapped round). libvpopmail's vadddomain().
    """
    name = "vpopmail_add_domain"
    domain, dir = _texts(name, domain=domain, dir=dir)
    uid, gid = _id(name, "uid", uid), _id(name, "gid", gid)
    return _outcome(lib.vpx_add_domain(domain, dir, uid, gid))


def vpopmail_del_domain(domain: Value) -> bool:
    """Delete a virtual domain with its users, or an alias domain alone.

    libvpopmail's vdeldomain().
    """
    return _outcome(lib.vpx_del_domain(*_texts("vpopmail_del_domain", domain=domain)))


def vpopmail_add_alias_domain(domain: Value, aliasdomain: Value) -> bool:
    """Make `aliasdomain` another name of the virtual domain `domain`.

    libvpopmail's vaddaliasdomain(), where PHP's extension made a symlink that nobody could log in
    through.
    """
    domain, aliasdomain = _texts(
        "vpopmail_add_alias_domain", domain=domain, aliasdomain=aliasdomain
    )
    return _outcome(lib.vpx_add_alias_domain(aliasdomain, domain))


def vpopmail_add_domain_ex(
    domain: Value, passwd: Value, quota: Value = "", bounce: Value = "", apop: Value = None
) -> bool:
    """Add a virtual domain and its postmaster, by running ``HOME/bin/vadddomain``.

    `passwd` is the postmaster's password; local users can see it in the process list while the
    program runs. `quota` is the postmaster's quota as `vpopmail_set_user_quota` takes it (``-q``).
    A `bounce` that holds ``@`` is the address for mail to unknown users (``-e``), any other is
    ``-b``; an empty `quota` or `bounce` is no option. `apop` is ignored: PHP's ``-a`` for it is no
    option of vadddomain's, which complained and went on.

    A failure warns ``vpopmail_add_domain_ex error: STATUS`` with the program's exit status (256
    plus vpopmail's code; 126 or 127: it can't be run or is not there) and keeps ``Unknown error``.
    """
    name = "vpopmail_add_domain_ex"
    domain, passwd, quota, bounce = _texts(
        name, domain=domain, passwd=passwd, quota=quota, bounce=bounce
    )
    options = [b"-q", quota] if quota else []
    if bounce:
        options += [b"-e", bounce] if b"@" in bounce else [b"-b"]
    if apop is not None:
        _text(name, "apop", apop)
    return _tool_outcome(name, _run("vadddomain", *options, b"--", domain, passwd))


def vpopmail_del_domain_ex(domain: Value) -> bool:
    """Delete a virtual domain, unless it has alias domains, by running ``HOME/bin/vdeldomain``.

    A domain that has alias domains stays, and the result is True, as in PHP. A failure warns
    ``vpopmail_del_domain_ex error: STATUS`` and keeps ``Unknown error``; `vpopmail_add_domain_ex`
    tells about STATUS.
    """
    name = "vpopmail_del_domain_ex"
    return _tool_outcome(name, _run("vdeldomain", b"--", *_texts(name, domain=domain)))


def vpopmail_add_alias_domain_ex(olddomain: Value, newdomain: Value) -> bool:
    """Make one domain an alias of the other, by running ``HOME/bin/vaddaliasdomain``.

    The one that is there already becomes the real one, whichever that is. A failure warns
    ``vpopmail_addaliasdomain error: STATUS`` (the name it has in PHP) and keeps ``Unknown error``;
    `vpopmail_add_domain_ex` tells about STATUS.
    """
    arguments = _texts("vpopmail_add_alias_domain_ex", olddomain=olddomain, newdomain=newdomain)
    return _tool_outcome("vpopmail_addaliasdomain", _run("vaddaliasdomain", b"--", *arguments))


def vpopmail_add_user(
    user: Value, domain: Value, password: Value, gecos: Value = "", apop: Value = False
) -> bool:
    """Add a user to a virtual domain.

    `gecos` is the full name; an empty one becomes the user's name. `apop` marks the user for APOP.
    libvpopmail's vadduser().
    """
    name = "vpopmail_add_user"
    user, domain, password, gecos = _texts(
        name, user=user, domain=domain, password=password, gecos=gecos
    )
    apop = _truth(name, "apop", apop)
    return _outcome(lib.vpx_add_user(user, domain, password, gecos, apop))


def vpopmail_del_user(user: Value, domain: Value) -> bool:
    """Delete a user, with the mail, from a virtual domain. libvpopmail's vdeluser()."""
    return _outcome(lib.vpx_del_user(*_texts("vpopmail_del_user", user=user, domain=domain)))


def vpopmail_passwd(user: Value, domain: Value, password: Value, apop: Value = False) -> bool:
    """Change a user's password. `apop` is passed on. libvpopmail's vpasswd()."""
    name = "vpopmail_passwd"
    user, domain, password = _texts(name, user=user, domain=domain, password=password)
    return _outcome(lib.vpx_passwd(user, domain, password, _truth(name, "apop", apop)))


def vpopmail_set_user_quota(user: Value, domain: Value, quota: Value) -> bool:
    """Set a user's quota.

    `quota` is in bytes, or with ``K`` or ``M`` in kibibytes or mebibytes; with ``C`` a number of
    messages; both, with a comma between; or ``NOQUOTA``. libvpopmail's vsetuserquota().
    """
    return _outcome(
        lib.vpx_set_user_quota(
            *_texts("vpopmail_set_user_quota", user=user, domain=domain, quota=quota)
        )
    )


def vpopmail_auth_user(
    user: Value, domain: Value, password: Value, apop: Value = "", *, equal_time: bool = False
) -> bool:
    """Tell whether `password` is the user's. `apop` is ignored, as in PHP.

    With `equal_time`, a user who is not there (or has no hash that a password could match) takes as
    long as a wrong password does where the account's hash is of the kind that new ones are:
    SHA-512 with 5000 rounds. Without it the answer comes at once, as vpopmail's does, and its time
    tells who is there.

    It never warns, and `vpopmail_error` tells ``Success`` after it. libvpopmail's vauth_user().
    """
    code = None
    # Sign-ins come by the thousand: no helper where all is plain text.
    if (
        type(user) is type(domain) is type(password) is str
        and apop == ""
        and "\0" not in f"{user}{domain}{password}"
    ):
        try:
            code = _auth_user(user.encode(), domain.encode(), password.encode(), equal_time)
        except UnicodeEncodeError:  # a byte that came in as a surrogate
            code = None
    if code is None:
        texts = _credentials(user, domain, password)
        _text("vpopmail_auth_user", "apop", apop)
        code = _auth_user(*texts, equal_time)
    _kept.failure = None
    return code == 1


def vpopmail_alias_add(user: Value, domain: Value, alias: Value) -> bool:
    """Append the line `alias`, as ``&someone@example.com``, to the alias named `user`.

    libvpopmail's valias_insert(), into ``.qmail-USER`` in the domain's directory.
    """
    return _outcome(
        lib.vpx_alias_add(*_texts("vpopmail_alias_add", user=user, domain=domain, alias=alias))
    )


def vpopmail_alias_del(user: Value, domain: Value) -> bool:
    """Delete the alias named `user` with all its lines. libvpopmail's valias_delete()."""
    return _outcome(lib.vpx_alias_del(*_texts("vpopmail_alias_del", user=user, domain=domain)))


def vpopmail_alias_del_domain(domain: Value) -> bool:
    """Delete every alias that `vpopmail_alias_get_all` lists, and nothing else.

    libvpopmail's valias_delete_domain(), which in PHP was there only with aliases in SQL.
    """
    return _outcome(lib.vpx_alias_del_domain(*_texts("vpopmail_alias_del_domain", domain=domain)))


def vpopmail_alias_get(alias: Value, domain: Value) -> list[str]:
    """Return the lines of the alias named `alias`; none where there is no such alias or domain.

    It never warns and leaves what `vpopmail_error` tells. libvpopmail's valias_select().
    """
    name, of = _texts("vpopmail_alias_get", alias=alias, domain=domain)
    return [_decoded(line) for line in _parts(copy_out(lib.vpx_alias_get, name, of)[1])]


def vpopmail_alias_get_all(domain: Value) -> dict[str, list[str]]:
    """Return the lines of every alias of a domain, by the alias's name; none without the domain.

    Names are in order, upper and lower case of ASCII letters being the same. It never warns and
    leaves what `vpopmail_error` tells. libvpopmail's valias_select_all().
    """
    (of,) = _texts("vpopmail_alias_get_all", domain=domain)
    return aliases_of(copy_out(lib.vpx_alias_get_all, of)[1])


def vpopmail_error() -> str:
    """Return the text for the last call of this thread: ``Success`` or why it failed.

    The alias_get functions do not count as calls. libvpopmail's verror().
    """
    return _error_text(0) if _kept.failure is None else _kept.failure


def _run(tool: str, *arguments: bytes) -> int:
    from vpopmail_ext import exec_tools

    return exec_tools.run(tool, *arguments)


def _outcome(code: int) -> bool:
    # Called by the public function itself, as _warn counts on.
    if code == 0:
        _kept.failure = None
        return True
    failure = _kept.failure = _error_text(code)
    _warn(f"vpopmail error: {failure}")
    return False


def _tool_outcome(name: str, status: int) -> bool:
    # Called by the public function itself, like _outcome.
    if status == 0:
        _kept.failure = None
        return True
    _kept.failure = _error_text(_FAILED_TOOL)
    _warn(f"{name} error: {status}")
    return False


def _warn(text: str) -> None:
    import warnings

    # For the line that called the public function, which called _outcome or _tool_outcome.
    warnings.warn(text, VpopmailWarning, stacklevel=4)


def _error_text(code: int) -> str:
    # The text of a password-policy code is the calling thread's: ask right after the call.
    return _decoded(copy_out(lib.vpx_error, code)[1])


def _texts(function: str, **values: Value) -> list[bytes]:
    return [_text(function, parameter, value) for parameter, value in values.items()]


def _credentials(user: Value, domain: Value, password: Value) -> tuple[bytes, bytes, bytes]:
    name = "vpopmail_auth_user"
    return (
        _text(name, "user", user),
        _text(name, "domain", domain),
        _text(name, "password", password),
    )


def _text(function: str, parameter: str, value: Value) -> bytes:
    if isinstance(value, str):
        data = _encoded(f"{function}(): {parameter}", value)
    elif isinstance(value, bytes):
        data = value
    elif isinstance(value, bool):
        data = b"1" if value else b""
    elif isinstance(value, int):
        data = b"%d" % value
    elif isinstance(value, float):
        data = _decimal(value)
    elif value is None:
        data = b""
    else:
        raise TypeError(
            f"{function}(): {parameter} must be str, bytes, int, float, bool or None, "
            f"not {type(value).__name__}"
        )
    if b"\0" in data:
        raise ValueError(f"{function}(): {parameter} must not contain a NUL byte")
    return data


def _encoded(what: str, value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        at = error.start
    # Another exception, and not from that one, which holds what may be a password.
    raise ValueError(f"{what} must not contain a surrogate that stands for no byte (at {at})")


def _decimal(value: float) -> bytes:
    # PHP's echo: 14 digits, and 1.0E+25 for what has more.
    text = f"{value:.14G}"
    mantissa, exponent, power = text.partition("E")
    if not exponent:
        return text.encode()
    point = "" if "." in mantissa else ".0"
    return f"{mantissa}{point}E{int(power):+d}".encode()


def _id(function: str, parameter: str, value: Value) -> int:
    number: int | float
    if isinstance(value, (int, float)):
        number = value
    else:
        import re

        digits = re.match(rb"\s*([+-]?[0-9]+)", _text(function, parameter, value))
        number = int(digits[1]) if digits else 0
    # A NaN compares false with everything.
    if not -1 < number < _LAST_ID + 1:
        raise ValueError(
            f"{function}(): {parameter} must be an id from 0 to {_LAST_ID}, not {value!r}"
        )
    return int(number)


def _truth(function: str, parameter: str, value: Value) -> bool:
    return _text(function, parameter, value) != b"0" and bool(value)


def aliases_of(data: bytes) -> dict[str, list[str]]:
    """Return aliases in their order: "A" and a name, then "L" and each line; a NUL after each."""
    text = _decoded(data)
    key = str.lower if text.isascii() else _bytes_lower
    aliases = {}
    for part in sorted(text[1:-1].split("\0A"), key=key) if text else ():
        name, *lines = part.split("\0L")
        aliases[name] = lines
    return aliases


def _bytes_lower(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").lower()


def _parts(data: bytes) -> list[bytes]:
    return data.split(b"\0")[:-1]


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
