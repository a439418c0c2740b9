"""`$(NAME)` references in commands, arguments and values of variables.

Source: Kubernetes' third_party/forked/golang/expansion rules: `$$` is a dollar, an unknown name stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """text with every known reference replaced."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(replaced, text)
