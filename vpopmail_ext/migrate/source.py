"""A PHP file and its syntax tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tree_sitter_php
from tree_sitter import Language, Node, Parser

_LANGUAGE = Language(tree_sitter_php.language_php())
_SCRIPT = re.compile(
    rb"""(<script\s+language\s*=\s*["']?php["']?\s*>)(.*?)(</script\s*>)""", re.I | re.S
)
# What has variables of its own.
_SCOPES = {"function_definition", "method_declaration", "anonymous_function"}


class Source:
    """A PHP file: its bytes, its tree, and who is whose parent in it."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        # The grammar knows <?php alone; what PHP before 7 also knew is as long here as there.
        self.data = _SCRIPT.sub(_as_tags, data)
        self.root = Parser(_LANGUAGE).parse(_as_utf8(self.data)).root_node
        self.nodes = list(_walk(self.root))
        """All nodes in the order in which they begin, each before those in it."""
        self._parents = {child.id: node for node in self.nodes for child in node.children}

    def text(self, node: Node) -> str:
        """Return a node's PHP; bytes that are no UTF-8 are surrogates."""
        return self.between(node.start_byte, node.end_byte)

    def between(self, start: int, end: int) -> str:
        """Return the PHP between two offsets."""
        return self.data[start:end].decode("utf-8", "surrogateescape")

    def parents(self, node: Node) -> Iterator[Node]:
        """Give a node's parent, that one's parent, and so on up to the root."""
        above = self._parents.get(node.id)
        while above is not None:
            yield above
            above = self._parents.get(above.id)

    def scope(self, node: Node) -> int:
        """Return the id of the function, or the file, whose variables a node sees."""
        above = (above.id for above in self.parents(node) if above.type in _SCOPES)
        return next(above, self.root.id)

    def suppressed(self, node: Node) -> bool:
        """Tell whether an @ stands before an expression or one that it is part of."""
        for above in self.parents(node):
            if above.type == "error_suppression_expression":
                return True
            if above.type.endswith("_statement"):
                break
        return False


def line(node: Node) -> int:
    """Return the line on which a node begins, from 1."""
    return node.start_point.row + 1


def children(node: Node) -> list[Node]:
    """Return the nodes in a node, without signs, keywords and comments."""
    return [child for child in node.named_children if child.type != "comment"]


def field(node: Node, name: str) -> Node | None:
    """Return the child that has this name in the grammar."""
    return node.child_by_field_name(name)


def named(node: Node, name: str) -> Node:
    """Return the child that has this name in the grammar, which such a node always has."""
    child = node.child_by_field_name(name)
    assert child is not None
    return child


def bare(node: Node) -> Node:
    """Return what an expression's value is of: without brackets, @, and what it's assigned to."""
    while (inner := _inner(node)) is not None:
        node = inner
    return node


def _inner(node: Node) -> Node | None:
    if node.type in ("parenthesized_expression", "error_suppression_expression"):
        return next(iter(children(node)), None)
    if node.type in ("assignment_expression", "reference_assignment_expression"):
        return field(node, "right")
    return None


def _as_utf8(data: bytes) -> bytes:
    """Return a text as long, in which a letter stands for each byte that is no UTF-8."""
    return re.sub("[\udc80-\udcff]", "x", data.decode("utf-8", "surrogateescape")).encode()


def _as_tags(found: re.Match[bytes]) -> bytes:
    opening, code, closing = found.groups()
    return b"<?php".ljust(len(opening)) + code + b"?>".rjust(len(closing))


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))
