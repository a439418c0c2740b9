"""Booleans in annotations and environment variables, as Go's strconv.ParseBool reads them."""

from __future__ import annotations

TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
