"""URI templates of path matching and rewriting: /a/{name}/*/{rest=**}.

Source: envoy.extensions.path.{match,rewrite}.uri_template.v3.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mizzen.proxy.config.errors import ConfigError

SEGMENT = r"[A-Za-z0-9\-._~%!$&'()+,;:@=]+"
VARIABLE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]{0,15})(?:=([^{}]+))?\}")


class Template:
    """A template compiled to a regular expression with a group for each variable."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ConfigError(f"path_match_policy.path_template {text} is invalid: it must start with /")
        self.names: list[str] = []
        out, at = "", 0
        for found in VARIABLE.finditer(text):
            out += self._literal(text[at : found.start()])
            if found[1] in self.names:
                raise ConfigError(f"path_match_policy.path_template {text} is invalid: duplicate variable {found[1]}")
            self.names.append(found[1])
            out += f"(?P<{found[1]}>{self._literal(found[2] or '*')})"
            at = found.end()
        out += self._literal(text[at:])
        if "{" in text[at:] or "}" in text[at:]:
            raise ConfigError(f"path_match_policy.path_template {text} is invalid")
        self._pattern = re.compile(out)

    @staticmethod
    def _literal(text: str) -> str:
        out = ""
        for part in re.split(r"(\*\*|\*)", text):
            out += r"[A-Za-z0-9\-._~%!$&'()+,;:@=/]*" if part == "**" else SEGMENT if part == "*" else re.escape(part)
        return out

    def match(self, path: str) -> dict[str, str] | None:
        found = self._pattern.fullmatch(path)
        return None if found is None else {name: value or "" for name, value in found.groupdict().items()}


def rewriter(template: Template, rewrite: str) -> Callable[[str], str | None]:
    """A function from a matching path to the rewritten one; None for a path that does not match."""
    for found in re.findall(r"\{([^{}]*)\}", rewrite):
        if found not in template.names:
            raise ConfigError(f"path_rewrite_policy: {rewrite} names a variable that the match does not have: {found}")

    def apply(path: str) -> str | None:
        values = template.match(path)
        if values is None:
            return None
        return re.sub(r"\{([^{}]*)\}", lambda found: values[found[1]], rewrite)

    return apply
