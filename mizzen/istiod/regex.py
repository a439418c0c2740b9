"""Regular expressions as RE2 reads them. Not here: matching."""

from __future__ import annotations

import re


def quote_meta(text: str) -> str:
    """The text as a regular expression of RE2 that matches just it."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
