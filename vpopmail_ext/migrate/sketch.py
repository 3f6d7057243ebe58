"""A PHP file's calls as a sketch in Python, with the PHP as comments."""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from tree_sitter import Node

from vpopmail_ext.migrate.expressions import Call, is_python, name_of, quoted, visible
from vpopmail_ext.migrate.findings import Findings
from vpopmail_ext.migrate.functions import FUNCTIONS
from vpopmail_ext.migrate.source import Source, children, field, line, named

_HEAD = '''\
"""Sketch of the calls in {name}, with the PHP as comments: not run, to be worked on.

php("…") stands for PHP that is still to be written in Python. After > is what changes in
Python, after "or" the same call of vpopmail_ext.api.
"""
'''
_PHP = '''

def php(code):
    """Stand for PHP that is still to be written."""
    raise NotImplementedError(code)
'''
_IGNORED = 'warnings.simplefilter("ignore", VpopmailWarning)  # what the @ did\n'
_DEFINITIONS = ("function_definition", "class_declaration", "trait_declaration")
_BLOCKS = ("compound_statement", "colon_block", "declaration_list", "switch_block")


def sketch(source: Source, findings: Findings) -> str | None:
    """Return the sketch of a file, which is always valid Python; None where it calls nothing."""
    if not findings.calls:
        return None
    try:
        text = _Sketch(source, findings).text()
    except RecursionError:
        text = ""
    # More loops in loops than Python takes, or a name that it keeps for itself.
    return text if text and is_python(text) else _Sketch(source, findings).flat()


class _Sketch:
    def __init__(self, source: Source, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self._expressions = findings.expressions
        self._expressions.written = set()
        self._calls = list(findings.calls.values())
        # The nodes that calls are in.
        self._holding: set[int] = set()
        for call in findings.calls.values():
            self._holding.add(call.node.id)
            self._holding.update(above.id for above in source.parents(call.node))

    def text(self) -> str:
        """Return the sketch, with the conditions and loops that calls are in."""
        definitions: list[str] = []
        page: list[str] = []
        for node in self._source.root.named_children:
            if node.type in _DEFINITIONS and node.id in self._holding:
                definitions += ["", "", *self._statement(node)]
            else:
                page += self._statement(node)
        if page:
            definitions += ["", "", "def page():", *_indented(_with_code(page))]
        return self._with_head("\n".join([*definitions, ""]))

    def flat(self) -> str:
        """Return the sketch without them: one call after the other, none of them made."""
        calls = [text for call in self._calls for text in self._flat(call)]
        return self._with_head("\n".join(["", "", "def page():", *_indented([*calls, "pass", ""])]))

    def _flat(self, call: Call) -> Iterator[str]:
        yield from self._comment(call.node.start_byte, call.node.end_byte, line(call.node))
        yield from self._notes(call)
        yield "# " + self._expressions.call(call)

    def _with_head(self, body: str) -> str:
        calls = self._calls
        names = {call.function for call in calls if call.function in FUNCTIONS}
        suppressed = any(self._source.suppressed(call.node) for call in calls)
        name = quoted(self._source.path.rpartition("/")[2])[1:-1]
        head = [_HEAD.format(name=name)]
        if modules := ["sys"] * ("sys.exit(" in body) + ["warnings"] * suppressed:
            head.append("".join(f"import {module}\n" for module in modules))
        if imported := ["VpopmailWarning"] * suppressed + sorted(names):
            listed = "".join(f"    {name},\n" for name in imported)
            head.append(f"from vpopmail_ext import (\n{listed})\n")
        if suppressed:
            head.append(_IGNORED)
        return "\n".join(head) + _PHP + body

    # --- comments -----------------------------------------------------------------------------

    def _comment(self, start: int, end: int, at: int) -> Iterator[str]:
        """Give a piece of PHP as comments, the first with the number of its line."""
        lines = re.split(r"\r\n?|\n", self._source.between(start, end).strip())
        for number, text in enumerate(filter(str.strip, lines)):
            shown = visible(text.rstrip().expandtabs(4))
            yield f"# {at}: {shown}" if number == 0 else f"# {shown}"

    def _whole(self, node: Node) -> Iterator[str]:
        if node.type == "text" and self._source.text(node).strip():
            yield f"# {line(node)}: (HTML)"
        elif node.type == "text_interpolation":
            for child in node.named_children:
                yield from self._whole(child)
        elif node.type not in ("php_tag", "php_end_tag", "empty_statement"):
            yield from self._comment(node.start_byte, node.end_byte, line(node))

    def _notes(self, call: Call) -> Iterator[str]:
        for change in self._findings.changes(call):
            wrapped = textwrap.wrap(f"{change.kind}: {change.text}", 88, break_on_hyphens=False)
            yield from (f"# {' ' if number else '>'} {text}" for number, text in enumerate(wrapped))
        if api := self._expressions.api(call):
            yield f"# or {api}"

    def _about(self, node: Node) -> Iterator[str]:
        for call in self._inside(node):
            yield from self._notes(call)

    def _inside(self, node: Node) -> Iterator[Call]:
        first = bisect_left(self._calls, node.start_byte, key=_start)
        end = bisect_left(self._calls, node.end_byte, key=_start)
        return iter(self._calls[first:end])

    def _left_out(self, node: Node) -> Iterator[str]:
        """Give the calls of an expression that did not find their way into its Python."""
        for call in self._inside(node):
            if call.node.id not in self._expressions.written:
                yield self._expressions.call(call)

    # --- statements ---------------------------------------------------------------------------

    def _statement(self, node: Node) -> Iterator[str]:
        write = getattr(self, f"_{node.type}", None)
        if node.type in _BLOCKS:
            for child in node.named_children:
                yield from self._statement(child)
        elif node.id not in self._holding:
            yield from self._whole(node)
        elif write:
            yield from write(node)
        elif any(child.type in _BLOCKS or _is_statement(child) for child in node.named_children):
            yield from self._unwritten_block(node)
        else:
            yield from self._simple(node, node, "")

    def _simple(self, node: Node, value: Node, before: str, after: str = "") -> Iterator[str]:
        yield from self._whole(node)
        yield from self._about(value)
        yield before + self._expressions.of(value) + after
        yield from self._left_out(value)

    def _expression_statement(self, node: Node) -> Iterator[str]:
        (value, *_) = children(node) or [node]
        target = field(value, "left") if value.type == "assignment_expression" else None
        right = field(value, "right")
        if target is not None and right is not None:
            text = self._expressions.of(target)
            if not text.startswith("php(") and not text.startswith("("):
                yield from self._simple(node, right, f"{text} = ")
                return
        if self._source.data[: node.start_byte].rstrip().endswith(b"<?="):
            yield from self._simple(node, value, "print(", ', end="")')
        else:
            yield from self._simple(node, value, "")

    def _echo_statement(self, node: Node) -> Iterator[str]:
        (value, *_) = children(node)
        values = children(value) if value.type == "sequence_expression" else [value]
        yield from self._whole(node)
        yield from self._about(node)
        texts = ", ".join(self._expressions.of(value) for value in values)
        yield f'print({texts}, sep="", end="")'
        yield from self._left_out(node)

    def _return_statement(self, node: Node) -> Iterator[str]:
        yield from self._simple(node, children(node)[0], "return ")

    def _if_statement(self, node: Node) -> Iterator[str]:
        yield from self._branch(node, "if")

    def _while_statement(self, node: Node) -> Iterator[str]:
        yield from self._branch(node, "while")

    def _branch(self, node: Node, word: str) -> Iterator[str]:
        condition, body = field(node, "condition"), field(node, "body")
        yield from self._header(node, body)
        if condition is None:
            yield "else:"
            yield from self._below(None, [body])
        else:
            yield from self._about(condition)
            yield f"{word} {self._expressions.of(_unwrapped(condition))}:"
            yield from self._below(condition, [body])
        for alternative in node.children_by_field_name("alternative"):
            yield from self._branch(alternative, "elif")

    def _foreach_statement(self, node: Node) -> Iterator[str]:
        subject, target = children(node)[:2]
        yield from self._header(node, field(node, "body"))
        yield from self._about(subject)
        names = [self._expressions.of(name) for name in _targets(target)]
        call = self._findings.result(subject)
        gives = FUNCTIONS[call.function].gives if call and call.function in FUNCTIONS else ""
        through = self._expressions.of(subject)
        if len(names) == 2:
            through = f"enumerate({through})" if gives == "list" else f"{through}.items()"
        elif gives == "dict":
            through += ".values()"
        text = f"for {', '.join(names)} in {through}:"
        yield text if is_python(text + " pass") else f"for _ in {through}:"
        yield from self._below(subject, [field(node, "body")])

    def _switch_statement(self, node: Node) -> Iterator[str]:
        condition, body = named(node, "condition"), named(node, "body")
        yield from self._header(node, body)
        yield from self._about(condition)
        subject = self._expressions.operand(_unwrapped(condition))
        if condition.id in self._holding:
            yield f"switch = {subject}"
            yield from self._left_out(condition)
            subject = "switch"
        for case in children(body):
            value, statements = field(case, "value"), children(case)
            if value is not None:
                statements = statements[1:]
                test = f"{subject} == {self._expressions.operand(value)}"
            else:
                test = f"php({quoted('default:')})"
            yield from self._header(case, statements[0] if statements else None)
            yield f"if {test}:"
            yield from self._below(value, statements)

    def _unwritten_block(self, node: Node) -> Iterator[str]:
        """Give the calls of a block that has no simple form in Python, as for, try, do."""
        inner = [
            child
            for child in children(node)
            if child.type in _BLOCKS or _is_statement(child) or child.type.endswith("_clause")
        ]
        end = inner[0].start_byte if inner else node.end_byte
        text = self._source.between(node.start_byte, end)
        yield from self._header(node, inner[0] if inner else None)
        heads = [child for child in children(node) if child not in inner]
        for head in heads:
            yield from self._about(head)
        yield f"if php({quoted(' '.join(text.split()))}):"
        lines = [text for head in heads for text in self._left_out(head)]
        lines += [text for child in inner for text in self._statement(child)]
        yield from _indented(_with_code(lines))

    def _namespace_definition(self, node: Node) -> Iterator[str]:
        for child in children(node):
            yield from self._statement(child)

    def _function_definition(self, node: Node) -> Iterator[str]:
        yield from self._definition(node, [])

    def _method_declaration(self, node: Node) -> Iterator[str]:
        yield ""
        if any(child.type == "static_modifier" for child in node.children):
            yield "@staticmethod"
            yield from self._definition(node, [])
        else:
            yield from self._definition(node, ["self"])

    def _definition(self, node: Node, parameters: list[str]) -> Iterator[str]:
        name, taken, body = (field(node, part) for part in ("name", "parameters", "body"))
        for parameter in children(taken) if taken else ():
            variable, default = field(parameter, "name"), field(parameter, "default_value")
            text = self._expressions.of(variable) if variable else "php()"
            text = "*" + text if parameter.type == "variadic_parameter" else text
            parameters.append(f"{text}={self._expressions.of(default)}" if default else text)
        yield from self._header(node, body)
        text = name_of(self._source.text(name)) if name else "_"
        whole = f"def {text}({', '.join(parameters)}):"
        yield whole if is_python(whole + " pass") else "def _(*arguments):"
        yield from self._below(None, [body])

    def _class_declaration(self, node: Node) -> Iterator[str]:
        name, body = field(node, "name"), field(node, "body")
        yield from self._header(node, body)
        text = f"class {name_of(self._source.text(name)) if name else '_'}:"
        yield text if is_python(text + " pass") else "class _:"
        yield from self._below(None, [body])

    def _header(self, node: Node, body: Node | None) -> Iterator[str]:
        end = body.start_byte if body else node.end_byte
        yield from self._comment(node.start_byte, end, line(node))

    def _below(self, head: Node | None, bodies: Iterable[Node | None]) -> Iterator[str]:
        lines = list(self._left_out(head)) if head else []
        lines += [text for body in bodies if body for text in self._statement(body)]
        return _indented(_with_code(lines))


def _start(call: Call) -> int:
    return call.node.start_byte


def _is_statement(node: Node) -> bool:
    return node.type.endswith("_statement")


def _unwrapped(condition: Node) -> Node:
    """Return a condition without the brackets that PHP wants around it."""
    inner = children(condition)
    return inner[0] if condition.type == "parenthesized_expression" and inner else condition


def _targets(node: Node) -> list[Node]:
    return children(node) if node.type == "pair" else [node]


def _with_code(lines: list[str]) -> list[str]:
    return lines if any(re.match(" *[^ #]", text) for text in lines) else [*lines, "pass"]


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {text}" if text else "" for text in lines)
