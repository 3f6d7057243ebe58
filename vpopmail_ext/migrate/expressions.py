"""PHP's expressions in Python."""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from vpopmail_ext.migrate.functions import FUNCTIONS
from vpopmail_ext.migrate.source import Source, bare, children, field, named

_DEEPEST = 40
"""An expression in more expressions than this is not looked into."""
_OPERATORS = {
    **{sign: sign for sign in ("==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "**")},
    **{sign: sign for sign in ("&", "|", "^", "<<", ">>")},
    **{"<>": "!=", "===": "==", "!==": "!=", "&&": "and", "||": "or", "and": "and", "or": "or"},
}
_BRACKETED = {"parenthesized_expression", "assignment_expression"}
_CLOSED = (
    *(ast.Attribute, ast.Call, ast.Constant, ast.Dict, ast.JoinedStr, ast.List, ast.Name),
    ast.Subscript,
)
_IDENTITY = {"===": "is", "!==": "is not"}
_SINGLETONS = {"True", "False", "None"}
_NOT_TEXT = {
    *("null", "boolean", "integer", "float", "array_creation_expression"),
    *("variadic_unpacking", "variadic_placeholder"),
}
_LOOKED_FOR = {"extension_loaded", "function_exists", "is_callable"}
_OURS = re.compile(r"""["']\\*vpopmail""", re.I)
_AS_FALSE = {"true": True} | dict.fromkeys(
    ("false", "null", "0", "''", '""', "array()", "[]"), False
)
_TEXT = FUNCTIONS["vpopmail_error"]
_ESCAPES = {
    **{"n": "\n", "r": "\r", "t": "\t", "v": "\v", "e": "\x1b", "f": "\f"},
    **{sign: sign for sign in '\\$"`'},
}


@dataclass(frozen=True)
class Call:
    """A call of one of the functions."""

    node: Node
    function: str
    """Its name in lower case, as the extension has it."""
    arguments: tuple[Node, ...]
    through: str = ""
    """The PHP that names it where it is not called by its name."""
    spread: bool = False
    """Whether the one argument is an array of all."""


class Expressions:
    """Writes the expressions of a file in Python."""

    def __init__(self, source: Source, calls: Mapping[int, Call]) -> None:
        self._source = source
        self._calls = calls
        self.written: set[int] = set()
        """The ids of the calls' nodes that stand in what was written."""

    def of(self, node: Node, depth: int = 0) -> str:
        """Return an expression in Python; what has no simple form there is ``php("…")``."""
        before = set(self.written)
        text = self._of(node, depth)
        if text is None or not is_expression(text):
            self.written = before
            return self.php(node)
        return text

    def php(self, node: Node) -> str:
        """Return the stand-in for PHP that is still to be written."""
        return f"php({quoted(self._source.text(node))})"

    def call(self, call: Call, depth: int = 0) -> str:
        """Return a call of one of the functions."""
        self.written.add(call.node.id)
        if any(argument.type == "variadic_placeholder" for argument in call.arguments):
            text = call.function
        else:
            arguments = ", ".join(self.argument(argument, depth) for argument in call.arguments)
            text = f"{call.function}({'*' if call.spread else ''}{arguments})"
        return text if is_expression(text) else self.php(call.node)

    def argument(self, node: Node, depth: int = 0) -> str:
        """Return one argument of a call."""
        if node.type != "argument":
            return self.of(node, depth)
        name = field(node, "name")
        value = children(node)[-1]
        if value.type == "variadic_unpacking":
            return "*" + self.operand(children(value)[0], depth)
        # What the functions are given they convert as PHP did; str() does it in another way.
        while value.type == "cast_expression" and self.cast(value) == "string":
            value = _value(value)
        text = self.of(value, depth)
        return f"{name_of(self._source.text(name))}={text}" if name else text

    def api(self, call: Call) -> str | None:
        """Return the call of `vpopmail_ext.api` that does the same; None where there is none."""
        function = FUNCTIONS.get(call.function)
        if function is None or call.spread:
            return None
        for argument, parameter in zip(call.arguments, function.parameters, strict=False):
            parts = children(argument) if argument.type == "argument" else [argument]
            if len(parts) != 1 or not self._fits(parts[0], parameter):
                return None
        before = set(self.written)
        arguments = [self.argument(argument) for argument in call.arguments]
        self.written = before
        return function.api(arguments)

    def _fits(self, value: Node, parameter: str) -> bool:
        """Tell whether a value may be what the API takes, which converts nothing."""
        if parameter in ("uid", "gid"):
            return value.type not in ("string", "encapsed_string", "float", "variadic_unpacking")
        if value.type == "binary_expression":
            return self.sign(value) == "."
        return parameter == "apop" or value.type not in _NOT_TEXT

    # --- each kind of node --------------------------------------------------------------------

    def _of(self, node: Node, depth: int) -> str | None:
        if node.id in self._calls:
            return self.call(self._calls[node.id], depth + 1)
        write: Callable[[Node, int], str | None] | None = getattr(self, f"_{node.type}", None)
        if write is None or depth >= _DEEPEST or node.has_error:
            return None
        return write(node, depth + 1)

    def operand(self, node: Node, depth: int = 0) -> str:
        """Return an expression with brackets around it where an operator may stand beside it."""
        text = self.of(node, depth)
        if node.type in _BRACKETED or isinstance(ast.parse(text, "", "eval").body, _CLOSED):
            return text
        return f"({text})"

    def _null(self, node: Node, depth: int) -> str:
        return "None"

    def _boolean(self, node: Node, depth: int) -> str:
        return self._source.text(node).capitalize()

    def _integer(self, node: Node, depth: int) -> str:
        text = self._source.text(node).lower()
        octal = re.fullmatch(r"0([0-7_]+)", text)
        return f"0o{octal[1].strip('_')}" if octal and int(octal[1], 8) else text

    def _float(self, node: Node, depth: int) -> str:
        return self._source.text(node)

    def _string(self, node: Node, depth: int) -> str:
        return quoted(re.sub(r"\\([\\'])", r"\1", self._source.text(node).lstrip("bB")[1:-1]))

    def _encapsed_string(self, node: Node, depth: int) -> str | None:
        return self._joined(self._pieces(node), depth)

    def _pieces(self, node: Node) -> list[str | Node]:
        """Return the texts and expressions in a double-quoted string; else the node itself."""
        if node.type != "encapsed_string":
            return [node]
        return [
            self._source.text(child)
            if child.type == "string_content"
            else _unescaped(self._source.text(child))
            if child.type == "escape_sequence"
            else child
            for child in node.named_children
        ]

    def _joined(self, pieces: Sequence[str | Node], depth: int) -> str:
        """Return an f-string of texts and expressions, a plain text where there are only those."""
        parts: list[tuple[str, bool]] = []
        for piece in pieces:
            if isinstance(piece, str):
                parts.append((quoted(piece)[1:-1], False))
            elif piece.type == "string":
                parts.append((self._string(piece, depth)[1:-1], False))
            else:
                key = piece.type == "subscript_expression" and children(piece)[-1].type == "name"
                text = self._key_in_text(piece, depth) if key else self.of(piece, depth)
                parts.append((text, True))
        # Before Python 3.12 what stands in the braces may have neither its quote nor a backslash.
        if any(value and re.search(r"[\"\\{}\n]", text) for text, value in parts):
            return " + ".join(f"str({t})" if value else f'"{t}"' for t, value in parts)
        if not any(value for _, value in parts):
            return '"' + "".join(text for text, _ in parts) + '"'
        inside = (f"{{{t}}}" if value else re.sub("([{}])", r"\1\1", t) for t, value in parts)
        return 'f"' + "".join(inside) + '"'

    def _key_in_text(self, node: Node, depth: int) -> str:
        # In a text $a[key] needs no quotes.
        holder, key = children(node)
        return f"{self.operand(holder, depth)}[{_key(self._source.text(key))}]"

    def _variable_name(self, node: Node, depth: int) -> str:
        text = self._source.text(node)[1:]
        return "self" if text == "this" else name_of(text)

    def _name(self, node: Node, depth: int) -> str:
        text = self._source.text(node)
        return quoted("\n") if text.upper() == "PHP_EOL" else name_of(text)

    def _qualified_name(self, node: Node, depth: int) -> str:
        return name_of(self._source.text(node).lstrip("\\").replace("\\", "."))

    def _parenthesized_expression(self, node: Node, depth: int) -> str | None:
        inside = children(node)
        return f"({self.of(inside[0], depth)})" if len(inside) == 1 else None

    def _error_suppression_expression(self, node: Node, depth: int) -> str:
        return self.of(children(node)[0], depth)

    def _unary_op_expression(self, node: Node, depth: int) -> str | None:
        sign = self._source.text(node.children[0])
        operand = children(node)[0]
        if sign == "!":
            return f"not {self.operand(operand, depth)}"
        return sign + self.operand(operand, depth) if sign in "+-~" else None

    def _binary_expression(self, node: Node, depth: int) -> str | None:
        left, right = named(node, "left"), named(node, "right")
        sign = self.sign(node)
        if sign == ".":
            return self._joined(self._concatenated(node), depth)
        if sign not in _OPERATORS:
            return None
        if truth := self._truth(sign, left, right, depth):
            return truth
        first, second = self.operand(left, depth), self.operand(right, depth)
        operator = _OPERATORS[sign]
        # A literal has no identity that Python warrants.
        if sign in _IDENTITY and second in _SINGLETONS and first not in _SINGLETONS:
            operator = _IDENTITY[sign]
        return f"{first} {operator} {second}"

    def _truth(self, sign: str, left: Node, right: Node, depth: int) -> str | None:
        """Return how a call's result is held against true, or what was == false in PHP."""
        if sign not in ("==", "!=", "<>"):
            return None
        for value, other in ((left, right), (right, left)):
            call = self._calls.get(bare(value).id)
            held = _AS_FALSE.get(self._source.text(other).lower().replace(" ", ""))
            if call and held is not None and FUNCTIONS.get(call.function, _TEXT).gives != "text":
                text = self.operand(value, depth)
                return f"bool({text})" if held == (sign == "==") else f"not {text}"
        return None

    def _concatenated(self, node: Node) -> list[str | Node]:
        pieces: list[str | Node] = []
        while node.type == "binary_expression" and self.sign(node) == ".":
            pieces = self._pieces(named(node, "right")) + pieces
            node = named(node, "left")
        return self._pieces(node) + pieces

    def sign(self, node: Node) -> str:
        """Return the operator between two expressions."""
        return self._source.text(named(node, "operator")).lower()

    def _conditional_expression(self, node: Node, depth: int) -> str | None:
        parts = [field(node, name) for name in ("condition", "body", "alternative")]
        condition, body, alternative = (part and self.operand(part, depth) for part in parts)
        if body is None:  # ?: gives the condition itself
            return f"{condition} or {alternative}"
        return f"{body} if {condition} else {alternative}"

    def _assignment_expression(self, node: Node, depth: int) -> str | None:
        left, right = named(node, "left"), named(node, "right")
        if left.type != "variable_name":
            return None
        return f"({self.of(left, depth)} := {self.of(right, depth)})"

    def _cast_expression(self, node: Node, depth: int) -> str | None:
        made = {"string": "str", "bool": "bool", "boolean": "bool"}.get(self.cast(node))
        # int() and float() refuse what PHP cuts off.
        return f"{made}({self.of(_value(node), depth)})" if made else None

    def cast(self, node: Node) -> str:
        """Return the type that a cast names."""
        return self._source.text(children(node)[0]).strip().lower()

    def _subscript_expression(self, node: Node, depth: int) -> str | None:
        parts = children(node)
        if len(parts) != 2:
            return None
        key = self.of(parts[1], depth)
        if parts[1].type == "string":
            key = _key(key[1:-1])
        return f"{self.operand(parts[0], depth)}[{key}]"

    def _member_access_expression(self, node: Node, depth: int) -> str | None:
        holder, name = named(node, "object"), named(node, "name")
        if name.type != "name":
            return None
        return f"{self.operand(holder, depth)}.{name_of(self._source.text(name))}"

    def _member_call_expression(self, node: Node, depth: int) -> str | None:
        method = self._member_access_expression(node, depth)
        return method and method + self._arguments(node, depth)

    def _scoped_call_expression(self, node: Node, depth: int) -> str | None:
        parts = children(node)
        if [part.type for part in parts[:2]] != ["name", "name"]:
            return None
        return ".".join(name_of(self._source.text(part)) for part in parts[:2]) + self._arguments(
            node, depth
        )

    def _class_constant_access_expression(self, node: Node, depth: int) -> str | None:
        parts = children(node)
        if [part.type for part in parts] != ["name", "name"]:
            return None
        return ".".join(name_of(self._source.text(part)) for part in parts)

    def _object_creation_expression(self, node: Node, depth: int) -> str | None:
        kind = children(node)[0]
        name = self._source.text(kind)
        if kind.type != "name" or name.lower() in ("self", "static", "parent"):
            return None
        return name_of(name) + self._arguments(node, depth)

    def _function_call_expression(self, node: Node, depth: int) -> str | None:
        function = named(node, "function")
        if function.type not in ("name", "qualified_name"):
            return None
        name = self._source.text(function).lstrip("\\")
        given = children(children(node)[-1])
        if name.lower() in ("die", "exit"):
            return "sys.exit" + self._arguments(node, depth)
        if name.lower() in ("count", "sizeof") and len(given) == 1:
            return "len" + self._arguments(node, depth)
        if name.lower() == "empty" and len(given) == 1:
            return f"not {self.operand(children(given[0])[0], depth)}"
        if name.lower() in _LOOKED_FOR and _OURS.search(self._source.text(node)):
            return "True"
        # Python's function of that name does something else, as exec does.
        if hasattr(builtins, name.lower()) or name.lower() == "isset":
            return None
        return name_of(name) + self._arguments(node, depth)

    def _exit_statement(self, node: Node, depth: int) -> str:
        inside = children(node)
        return f"sys.exit({self.of(inside[0], depth) if inside else ''})"

    def _print_intrinsic(self, node: Node, depth: int) -> str:
        return f'print({self.of(children(node)[0], depth)}, end="")'

    def _arguments(self, node: Node, depth: int) -> str:
        inside = next((child for child in node.children if child.type == "arguments"), None)
        given = children(inside) if inside else []
        return f"({', '.join(self.argument(argument, depth) for argument in given)})"

    def _array_creation_expression(self, node: Node, depth: int) -> str | None:
        items = [children(item) for item in children(node)]
        if not items or all(len(item) == 1 for item in items):
            return f"[{', '.join(self.of(item[0], depth) for item in items)}]"
        if any(len(item) != 2 for item in items):
            return None
        return (
            "{"
            + ", ".join(f"{self.of(key, depth)}: {self.of(value, depth)}" for key, value in items)
            + "}"
        )


def name_of(text: str) -> str:
    """Return a name that Python may have."""
    return text + "_" if keyword.iskeyword(text) else text


def quoted(text: str) -> str:
    """Return a text as Python has it, in double quotes and on one line."""
    return visible(json.dumps(text, ensure_ascii=False))


def visible(text: str) -> str:
    """Return a text with what can't be seen, and bytes that are no UTF-8, by their numbers."""
    return re.sub(r"[^ -~]", _shown, text)


def _shown(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else ascii(found[0])[1:-1]


def _key(text: str) -> str:
    """Return a key between single quotes, which may stand in an f-string, if it can have them."""
    return f'"{text}"' if re.search(r"['\\]", text) else f"'{text}'"


def is_expression(text: str) -> bool:
    """Tell whether a text is an expression of Python, on one line."""
    return text.isprintable() and is_python(text, "eval")


def is_python(text: str, mode: str = "exec") -> bool:
    """Tell whether a text can be compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "", mode)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    return True


def _value(cast: Node) -> Node:
    return children(cast)[-1]


def _unescaped(text: str) -> str:
    code = text[1:]
    if found := re.fullmatch(r"[0-7]{1,3}", code):
        return bytes([int(found[0], 8) & 0xFF]).decode("utf-8", "surrogateescape")
    if found := re.fullmatch(r"[xX]([0-9A-Fa-f]{1,2})", code):
        return bytes([int(found[1], 16)]).decode("utf-8", "surrogateescape")
    if (found := re.fullmatch(r"u\{([0-9A-Fa-f]+)\}", code)) and int(found[1], 16) < 0x110000:
        return chr(int(found[1], 16))
    return _ESCAPES.get(code, text)
