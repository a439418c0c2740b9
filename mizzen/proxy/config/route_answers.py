"""Routes that answer by themselves: redirects and direct responses.

Takes envoy.config.route.v3 RedirectAction and DirectResponseAction, gives what the router answers with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.accesslog.format import data_source_bytes, substitution_format
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import regex
from mizzen.proxy.http.route import (
    DirectResponse,
    Redirect,
)

REDIRECT_CODES = {0: 301, 1: 302, 2: 303, 3: 307, 4: 308}


def substitution(rewrite: Any) -> Callable[[str], str]:
    """A function for a RegexMatchAndSubstitute."""
    pattern = regex(rewrite.pattern.regex)
    replacement = rewrite.substitution
    return lambda text: str(pattern.sub(replacement, text))


def redirect(message: Any, where: str) -> Redirect:
    redirect = Redirect()
    redirect.code = REDIRECT_CODES[message.response_code]
    redirect.host = message.host_redirect
    redirect.port = message.port_redirect
    redirect.strip_query = message.strip_query
    kind = message.WhichOneof("scheme_rewrite_specifier")
    if kind == "https_redirect":
        redirect.https = message.https_redirect
    elif kind == "scheme_redirect":
        redirect.scheme = message.scheme_redirect
    kind = message.WhichOneof("path_rewrite_specifier")
    if kind == "path_redirect":
        redirect.path = message.path_redirect
    elif kind == "prefix_rewrite":
        redirect.prefix_rewrite = message.prefix_rewrite
    elif kind == "regex_rewrite":
        redirect.regex_rewrite = substitution(message.regex_rewrite)
    return redirect


def direct_response(message: Any, most: int) -> DirectResponse:
    """most: bytes of a body. Raises ConfigError."""
    body = data_source_bytes(message.body) if message.HasField("body") and message.body.WhichOneof("specifier") else b""
    if len(body) > most:
        raise ConfigError(f"response body size is {len(body)} bytes; maximum is {most}")
    direct = DirectResponse(message.status, body)
    if message.HasField("body_format"):
        direct.body_format = substitution_format(message.body_format)
        json_body = message.body_format.WhichOneof("format") == "json_format"
        direct.content_type = message.body_format.content_type or ("application/json" if json_body else "text/plain")
    return direct
