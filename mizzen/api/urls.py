"""URLs as Go's net/url reads them, as far as fields of ours hold some.

Not here: fetching anything.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*(?=:)")
PLUGIN_SCHEMES = ("", "http", "https", "oci", "file")


def plugin_url(value: str) -> str:
    """Where a plugin is fetched from: a URL, or an image without a scheme. "" or what is wrong."""
    scheme = _scheme(value)
    if scheme is None:
        return "" if _is_url("http://" + value) else f"{value!r} is not a URL"
    return "" if scheme in PLUGIN_SCHEMES else f"the scheme {scheme} is none of http, https, oci and file"


def _scheme(value: str) -> str | None:
    """The scheme of an absolute URL or path ("" for a path), None for what is neither."""
    match = _SCHEME.match(value)
    if match is None:
        return "" if value.startswith("/") and _is_url(value) else None
    rest = value[match.end() + 1 :]
    # What follows the scheme is a path or opaque; Go takes both, but for a colon in a first segment without scheme.
    return match[0].lower() if rest == "" or _is_url(value) else None


def _is_url(value: str) -> bool:
    if re.search(r"[\x00-\x20\x7f]", value) or re.search(r"%(?![0-9a-fA-F]{2})", value):
        return False
    try:
        parts = urlsplit(value)
        return parts.port is None or parts.port >= 0
    except ValueError:
        return False
