"""Columns as istioctl prints them: each as wide as its widest cell and five spaces, the last one unpadded.

Takes rows of strings, gives text. Not here: colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PADDING = 5


def table(header: Sequence[str], rows: Iterable[Sequence[str]], padding: int = PADDING) -> str:
    """A header and rows, aligned; every line ends with a newline."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[n]) for line in lines) + padding for n in range(len(header) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )
