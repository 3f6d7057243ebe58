"""From PHP to Python: what a PHP file calls of vpopmail's extension, and how that is written here.

It needs the extra ``migrate``: tree-sitter and its grammar of PHP.
"""

from vpopmail_ext.migrate.findings import Finding, Findings
from vpopmail_ext.migrate.sketch import sketch
from vpopmail_ext.migrate.source import Source

__all__ = ["Finding", "Findings", "Source", "sketch"]
