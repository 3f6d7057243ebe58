"""What means something else in Python than in PHP, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from vpopmail_ext.migrate.functions import Function


@dataclass(frozen=True)
class Change:
    """Something that means something else in Python, or looks as if it did."""

    kind: str
    """A word to search for, as ``suppressed``; docs/commands/migrate.md lists them."""
    text: str


SUPPRESSED = Change(
    "suppressed",
    "@ hid the warning: ignore VpopmailWarning once, where the program starts, and look at the "
    "result",
)
SUPPRESSED_IN_VAIN = Change("suppressed", "the @ can go: this function never warns")
REPAIRED = {
    "vpopmail_add_alias_domain": Change(
        "repaired",
        "PHP's made a symlink that nobody could sign in through, and its last release returned "
        "false on success; here the alias works. Delete what PHP made, with vpopmail_del_domain, "
        "and make it anew",
    ),
    "vpopmail_alias_del_domain": Change(
        "repaired",
        "in PHP it was there only with aliases in SQL; here it always is, and deletes what "
        "vpopmail_alias_get_all lists",
    ),
}
NO_CALL_BEFORE = Change(
    "error",
    "the call that it tells of is not in this function, perhaps not in this request: here the "
    "failure belongs to the thread. Keep its text right after the call that failed",
)
AFTER_AUTH = Change(
    "error",
    "vpopmail_auth_user leaves Success whatever comes of it: this tells nothing",
)
AFTER_ALIAS_GET = Change(
    "error",
    "vpopmail_alias_get and _get_all leave it: it tells of a call before them",
)
SHELL = Change(
    "shell",
    "no shell takes part: without the escaping the argument arrives whole, with it backslashes and "
    "quotes become part of it",
)
LOADING = Change("loading", "nothing is to be loaded or looked for: the import works or fails")
ALWAYS_THERE = Change("loading", "the function is always there: the test can go")
SETTINGS = Change(
    "settings",
    "there are no ini settings: configure(), VPOPMAIL_HOME and QMAIL_HOME tell where vpopmail is",
)
WARNINGS = Change(
    "warnings",
    "what becomes of warnings is up to warnings.simplefilter() for VpopmailWarning, and to "
    "logging.captureWarnings(True)",
)
NAMED = Change(
    "variable", "the name as a text: see where it is called; in Python pass on the function itself"
)
PUT_TOGETHER = Change(
    "variable",
    "a function's name that is put together while the program runs: in Python make a dict of the "
    "functions that may be called",
)
OWN = Change(
    "own", "the file defines a function of this name itself: calls may mean that one; rename it"
)
UNKNOWN = Change("unknown", "none of the extension's functions: if it is the panel's own, port it")
ENCODING = Change(
    "encoding",
    "the file is not UTF-8: a byte of it is written \\udcNN, which becomes the same byte again; "
    "other text of the program is UTF-8",
)
UNREAD = Change("unread", "PHP that can't be understood: look here for calls yourself")
IN_ASP_TAGS = Change("unread", "a call between <% and %>, which PHP 7 does not know: look yourself")
INTERPOLATED = Change(
    "converted", "null and false were empty in a PHP text; Python's have None and False there"
)
CAST = Change(
    "converted", "the cast to string is left out: str(None) is 'None', the function knows PHP's way"
)
LITERALS = {
    "null": Change("converted", "null is passed on as None, the empty string, as in PHP"),
    "true": Change("converted", "true is passed on as True, the text 1, as in PHP"),
    "false": Change("converted", "false is passed on as False, the empty string, as in PHP"),
    "integer": Change("converted", "an int is passed on as its decimal text, as in PHP"),
    "float": Change("converted", "a float is passed on as 14 digits, as in PHP 4 and 5"),
    "array_creation_expression": Change(
        "converted", "an array was the text Array in PHP; here it is a TypeError"
    ),
}
_OF_ARRAYS = {
    "array_key_exists": "`name in aliases`",
    "array_keys": "`list(aliases)`",
    "array_values": "`list(aliases.values())`",
    "count": "`len(…)`",
    "current": "`lines[0]`, `next(iter(aliases.values()))`",
    "each": "`for name, lines in aliases.items()`",
    "end": "`lines[-1]`",
    "implode": '`", ".join(lines)`',
    "in_array": "`line in lines`",
    "is_array": "nothing: the result is always one",
    "join": '`", ".join(lines)`',
    "key": "`next(iter(aliases))`",
    "reset": "`lines[0]`, `next(iter(aliases.values()))`, nothing before a loop",
    "sizeof": "`len(…)`",
}
OF_ARRAYS = {
    name: Change("iterated", f"{name}() becomes {new}") for name, new in _OF_ARRAYS.items()
}


def through(name: str) -> Change:
    """Return the change of a call that is not by name."""
    return Change("variable", f"called through {name}: in Python let it hold the function itself")


def wrong_count(function: Function, given: int) -> Change:
    """Return the change of a call with too few or too many arguments."""
    least, most = function.required, len(function.parameters)
    wanted = str(least) if least == most else f"{least} to {most}"
    text = f"given {given}, it takes {wanted}: a warning and null in PHP, a TypeError here"
    return Change("arguments", text)


def compared(function: Function, sign: str, other: str, at: str) -> Change:
    """Return the change of a result that is compared (`other`: with what), or negated."""
    if sign == "!":
        text = "`!` is `not`, and true of False and of an empty result, as in PHP"
    elif function.gives == "text":
        text = f"`{sign}` compares texts; in PHP before 8 any text but a number was == 0"
    elif function.gives == "yes or no" and other in ("true", "false") and len(sign) == 3:
        text = f"`{sign} {other}` is `{'is' if sign == '===' else 'is not'} {other.capitalize()}`"
        text += "; a wrong number of arguments, null in PHP, is a TypeError"
    elif function.gives == "yes or no":
        text = f"`{sign} {other}`: in PHP null, 0, '' and false were ==, in Python not all are. "
        text += "Write `result` or `not result`"
    elif len(sign) == 3:
        text = f"`{sign} {other}`: it is a {function.gives}, never one of these. Write `not result`"
    else:
        text = f"`{sign} {other}`: an empty array was == false and == null in PHP, in Python an "
        text += f"empty {function.gives} is neither. Write `not result`"
    return Change("compared", at + text)


def iterated(function: Function, with_keys: bool) -> Change:
    """Return the change of a result that foreach goes through."""
    if function.gives == "dict":
        what = ".items()" if with_keys else ".values()"
        text = f"foreach becomes `for … in ….{what[1:]}`"
        if with_keys:
            text += "; a name of digits alone was an int in PHP, here names are str"
    else:
        text = "foreach becomes `for … in enumerate(…)`" if with_keys else "foreach becomes `for`"
    return Change("iterated", text)
