"""What a PHP file calls of vpopmail's extension, and what changes its meaning in Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tree_sitter import Node

from vpopmail_ext.migrate import changes
from vpopmail_ext.migrate.changes import Change
from vpopmail_ext.migrate.expressions import Call, Expressions, visible
from vpopmail_ext.migrate.functions import FUNCTIONS, PREFIX
from vpopmail_ext.migrate.source import Source, bare, children, line, named


@dataclass(frozen=True)
class Finding:
    """A call, or something else that is to do with the extension."""

    file: str
    line: int
    """From 1."""
    function: str
    """What is called; empty where it is no call."""
    php: str
    python: str
    """How it is written in Python; empty where there is nothing to write."""
    api: str | None
    """The call of `vpopmail_ext.api` that does the same; None where there is none."""
    changes: tuple[Change, ...]


_COMPARISONS = {"==", "!=", "<>", "===", "!=="}
_CALLBACKS = {"call_user_func", "call_user_func_array"}
_SETTINGS = {"ini_set", "ini_get", "ini_restore", "ini_alter"}
_WARNINGS = {"error_reporting", "set_error_handler", "error_get_last"}
_SETTINGS_OF_WARNINGS = re.compile(r"(display|html|log|track)_errors$|error_(log|reporting)$")
_ESCAPING = {"escapeshellarg", "escapeshellcmd", "addslashes"}
_NAMES = ("name", "qualified_name", "relative_name")
_IN_ASP_TAGS = re.compile(r"<%.*?%>", re.S)
_CALLED = re.compile(r"\bvpopmail_\w+(?=\s*\()", re.I)


class Findings:
    """Everything that is to be told about a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.calls: dict[int, Call] = {}
        """The calls by their nodes' ids, in the order of the file."""
        self.expressions = Expressions(source, self.calls)
        self._changes: dict[int, list[Change]] = {}
        # What is told once a line, and where it begins.
        self._others: dict[tuple[int, str, Change], tuple[int, Finding]] = {}
        # What `use function … as …` calls a function.
        self._called: dict[str, str] = {}
        # By scope and variable: what the variable was given last.
        self._variables: dict[tuple[int, str], Node] = {}
        # By scope: the call after which vpopmail_error() is asked.
        self._last: dict[int, Call] = {}
        # By node: the node that its value comes from.
        self._origins: dict[int, Node] = {}
        # What results are used for: the node that uses one, the result, what it is held against.
        self._uses: list[tuple[Node, Node, str]] = []
        self._texts: list[Node] = []
        self._explained: set[int] = set()
        for node in source.nodes:
            look = getattr(self, f"_at_{node.type}", None)
            if look:
                look(node)
            if node.is_error or node.is_missing:
                self._other(node, "", "", changes.UNREAD)
        for node, value, other in self._uses:
            if call := self.result(value):
                self._use(node, call, other)
        for node in self._texts:
            self._text(node)

    def listed(self) -> list[Finding]:
        """Return the findings in the order of the file."""
        found = [(call.node.start_byte, self._finding(call)) for call in self.calls.values()]
        found += self._others.values()
        return [finding for _, finding in sorted(found, key=lambda item: item[0])]

    def changes(self, call: Call) -> tuple[Change, ...]:
        """Return what changes the meaning of a call."""
        return tuple(dict.fromkeys(self._changes.get(call.node.id, ())))

    def result(self, node: Node) -> Call | None:
        """Return the call whose result a used value is, through a variable too; else None."""
        origin = self._origins.get(node.id)
        return self.calls.get(origin.id) if origin else None

    def _finding(self, call: Call) -> Finding:
        return Finding(
            self._source.path,
            line(call.node),
            call.function,
            self._source.text(call.node),
            self.expressions.call(call),
            self.expressions.api(call),
            self.changes(call),
        )

    def _other(self, node: Node, function: str, python: str, change: Change) -> None:
        php = self._source.text(node).strip()
        self._tell(node.start_byte, line(node), function, php, python, change)

    def _tell(self, start: int, at: int, function: str, php: str, python: str, c: Change) -> None:
        finding = Finding(self._source.path, at, function, php, python, None, (c,))
        self._others.setdefault((at, function, c), (start, finding))

    def _change(self, call: Call, change: Change) -> None:
        self._changes.setdefault(call.node.id, []).append(change)

    def _origin(self, node: Node) -> Node:
        """Return the node that an expression's value comes from, through a variable too."""
        node = bare(node)
        if node.type == "variable_name":
            node = self._variables.get((self._source.scope(node), self._source.text(node)), node)
        return node

    # --- calls --------------------------------------------------------------------------------

    def _at_namespace_use_clause(self, node: Node) -> None:
        names = [self._source.text(name).lstrip("\\").lower() for name in children(node)]
        if names[0].startswith(PREFIX):
            self._called[names[-1]] = names[0]

    def _at_function_definition(self, node: Node) -> None:
        name = self._source.text(named(node, "name")).lower()
        if name.startswith(PREFIX):
            self._other(named(node, "name"), name, "", changes.OWN)

    def _at_function_call_expression(self, node: Node) -> None:
        function = named(node, "function")
        given = [_value(argument) for argument in children(named(node, "arguments"))]
        if function.type in _NAMES:
            name = _plain(self._source.text(function))
            name = self._called.get(name, name)
            if name.startswith(PREFIX):
                self._add(Call(node, name, tuple(children(named(node, "arguments")))))
            else:
                self._other_function(node, name, given)
        elif name := self._function_named(function):
            arguments = tuple(children(named(node, "arguments")))
            self._add(Call(node, name, arguments, self._source.text(function)))

    def _other_function(self, node: Node, name: str, given: list[Node]) -> None:
        if not given:
            return
        text = self._literal(given[0])
        if name in _CALLBACKS and (function := self._function_named(given[0])):
            self._add(self._called_back(node, name, function, given[1:]))
        elif name in ("function_exists", "is_callable") and self._function_named(given[0]):
            self._other(node, name, "True", changes.ALWAYS_THERE)
        elif (name == "dl" and "vpopmail" in text) or (
            name in ("extension_loaded", "get_extension_funcs") and text == "vpopmail"
        ):
            self._other(node, name, "import vpopmail_ext", changes.LOADING)
        elif name in _SETTINGS and text.startswith("vpopmail"):
            self._other(node, name, "vpopmail_ext.configure()", changes.SETTINGS)
        elif name in _WARNINGS or (name in _SETTINGS and _SETTINGS_OF_WARNINGS.match(text)):
            self._other(node, name, "", changes.WARNINGS)
        elif name in changes.OF_ARRAYS:
            for value in given:
                self._used(node, value)

    def _called_back(self, node: Node, name: str, function: str, given: list[Node]) -> Call:
        if name == "call_user_func" or not given:
            return Call(node, function, tuple(given), name)
        (array, *_) = given
        items = [children(item) for item in children(array)]
        if array.type == "array_creation_expression" and all(len(item) == 1 for item in items):
            return Call(node, function, tuple(item[0] for item in items), name)
        return Call(node, function, (array,), name, spread=True)

    def _function_named(self, node: Node) -> str:
        """Return the function that a text, or a variable with it, names; else an empty text."""
        origin = self._origin(node)
        name = self._literal(origin)
        if not name.startswith(PREFIX):
            return ""
        self._explained.add(origin.id)
        return name

    def _literal(self, node: Node) -> str:
        """Return a text between quotes in lower case, without a leading backslash."""
        if node.type not in ("string", "encapsed_string"):
            return ""
        return self._source.text(node)[1:-1].lstrip("\\").lower()

    def _add(self, call: Call) -> None:
        self.calls[call.node.id] = call
        if call.through:
            self._change(call, changes.through(visible(call.through)))
        function = FUNCTIONS.get(call.function)
        if function is None:
            self._change(call, changes.UNKNOWN)
            return
        if self._source.suppressed(call.node):
            vain = changes.SUPPRESSED_IN_VAIN
            self._change(call, changes.SUPPRESSED if function.warns else vain)
        if call.function in changes.REPAIRED:
            self._change(call, changes.REPAIRED[call.function])
        values = [_value(argument) for argument in call.arguments]
        countable = not call.spread and not any(v.type.startswith("variadic") for v in values)
        if countable and not function.required <= len(values) <= len(function.parameters):
            self._change(call, changes.wrong_count(function, len(values)))
        for value, parameter in zip(values, function.parameters, strict=False):
            self._argument(call, value, parameter)
        scope = self._source.scope(call.node)
        if call.function == "vpopmail_error":
            self._error_state(call, self._last.get(scope))
        else:
            self._last[scope] = call

    def _error_state(self, call: Call, before: Call | None) -> None:
        if before is None:
            self._change(call, changes.NO_CALL_BEFORE)
        elif before.function == "vpopmail_auth_user":
            self._change(call, changes.AFTER_AUTH)
        elif FUNCTIONS[before.function].gives in ("list", "dict"):
            self._change(call, changes.AFTER_ALIAS_GET)

    def _argument(self, call: Call, value: Node, parameter: str) -> None:
        text = self._source.text(value)
        if re.search("[\udc80-\udcff]", text):
            self._change(call, changes.ENCODING)
        parts = [value, *value.named_children]
        if any(self._name_of(part) in _ESCAPING for part in parts):
            self._change(call, changes.SHELL)
        if parameter in ("uid", "gid", "apop"):
            return
        kind = text.lower() if value.type == "boolean" else value.type
        if kind in changes.LITERALS:
            self._change(call, changes.LITERALS[kind])
        elif kind == "cast_expression" and self.expressions.cast(value) == "string":
            self._change(call, changes.CAST)
        elif self._is_text_with_values(value):
            self._change(call, changes.INTERPOLATED)

    def _name_of(self, node: Node) -> str:
        is_call = node.type == "function_call_expression"
        return _plain(self._source.text(named(node, "function"))) if is_call else ""

    def _is_text_with_values(self, node: Node) -> bool:
        if node.type == "binary_expression":
            return self.expressions.sign(node) == "."
        return node.type in ("encapsed_string", "heredoc") and any(
            part.type not in ("string_content", "escape_sequence", "heredoc_start", "heredoc_end")
            for part in node.named_children
        )

    # --- what becomes of results --------------------------------------------------------------

    def _at_reference_assignment_expression(self, node: Node) -> None:
        self._at_assignment_expression(node)

    def _at_assignment_expression(self, node: Node) -> None:
        left, right = named(node, "left"), bare(named(node, "right"))
        if left.type == "variable_name":
            self._variables[(self._source.scope(left), self._source.text(left))] = right

    def _at_binary_expression(self, node: Node) -> None:
        if self.expressions.sign(node) in _COMPARISONS:
            left, right = named(node, "left"), named(node, "right")
            self._used(node, left, right)
            self._used(node, right, left)

    def _at_unary_op_expression(self, node: Node) -> None:
        if self._source.text(node).startswith("!"):
            self._used(node, children(node)[0])

    def _at_foreach_statement(self, node: Node) -> None:
        self._used(node, children(node)[0])

    def _used(self, node: Node, value: Node, other: Node | None = None) -> None:
        self._origins[value.id] = self._origin(value)
        self._uses.append((node, value, self._source.text(other) if other else ""))

    def _use(self, node: Node, call: Call, other: str) -> None:
        function = FUNCTIONS.get(call.function)
        if function is None:
            return
        at = f"line {line(node)}: " if line(node) != line(call.node) else ""
        if node.type == "foreach_statement":
            with_keys = children(node)[1].type == "pair"
            self._change(call, changes.iterated(function, with_keys))
        elif node.type == "unary_op_expression":
            self._change(call, changes.compared(function, "!", "", at))
        elif node.type == "binary_expression":
            text = visible(other.lower())
            self._change(call, changes.compared(function, self.expressions.sign(node), text, at))
        elif function.gives in ("list", "dict"):
            self._change(call, changes.OF_ARRAYS[self._name_of(node)])

    # --- everything else ----------------------------------------------------------------------

    def _at_variable_name(self, node: Node) -> None:
        if self._source.text(node) == "$php_errormsg":
            self._other(node, "", "", changes.WARNINGS)

    def _at_string(self, node: Node) -> None:
        self._texts.append(node)

    def _at_encapsed_string(self, node: Node) -> None:
        self._texts.append(node)

    def _text(self, node: Node) -> None:
        text = self._literal(node)
        if node.id in self._explained or not text.startswith(PREFIX):
            return
        if text in FUNCTIONS:
            self._other(node, text, text, changes.NAMED)
        elif re.fullmatch(r"\w+(\$.*|\{\$.*)?", text):
            self._other(node, "", "", changes.PUT_TOGETHER)

    def _at_text(self, node: Node) -> None:
        text = self._source.text(node)
        for block in _IN_ASP_TAGS.finditer(text):
            for found in _CALLED.finditer(text, block.start(), block.end()):
                at = line(node) + text.count("\n", 0, found.start())
                start = node.start_byte + found.start()
                self._tell(start, at, found[0].lower(), found[0], "", changes.IN_ASP_TAGS)

    def _at_name(self, node: Node) -> None:
        above = next(self._source.parents(node))
        name = self._source.text(node).lower()
        if above.is_error and name.startswith(PREFIX):
            self._other(node, name, "", changes.UNREAD)


def _plain(name: str) -> str:
    """Return a function's name in lower case, without a namespace that can be left out."""
    return re.sub(r"^(namespace)?\\", "", name.lower())


def _value(argument: Node) -> Node:
    """Return what an argument is, without its name."""
    return children(argument)[-1] if argument.type == "argument" else argument
