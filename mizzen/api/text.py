"""Checks of single values that many kinds share: names, hosts, addresses, ports, durations, headers, expressions.

Each check takes a value and answers "" or what is wrong with it. Source: RFC 1123, RFC 9110, Go's net/netip, and what
Istio's admission makes of them. Not here: which field has to pass which check.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import re2

from mizzen.api.types import Duration

LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?"
_LABEL = re.compile(LABEL)
_WILDCARD_LABEL = re.compile(rf"(?:\*|(?:\*|\*-)?(?:{LABEL}))")
_HEADER = re.compile(r"[-_A-Za-z0-9!#$%&'*+.^`|~]+")
_LABEL_KEY = re.compile(r"(?:[a-zA-Z0-9][-a-zA-Z0-9_.]*)?[a-zA-Z0-9]")
_LABEL_VALUE = re.compile(r"(?:(?:[a-zA-Z0-9][-a-zA-Z0-9_.]*)?[a-zA-Z0-9])?")
_VALUE_BYTES = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
UNIX = "unix://"
MILLISECOND = 1_000_000


def label(value: str) -> bool:
    """Whether value is a DNS label of RFC 1123, capitals allowed."""
    return len(value) <= 63 and _LABEL.fullmatch(value) is not None


def fqdn(value: str) -> str:
    """A host name: labels with dots between them, the last one not a number; a trailing dot is fine."""
    return _length(value) or _labels(value, value)


def wildcard_domain(value: str) -> str:
    """A host name whose first label may be "*" or start with it."""
    wrong = _length(value)
    if wrong:
        return wrong
    first, dot, rest = value.partition(".")
    if len(first) > 63 or not _WILDCARD_LABEL.fullmatch(first):
        return f"{value!r} is not a host name ({first!r} is no label)"
    return _labels(rest, value) if dot else ""


def _length(value: str) -> str:
    if not value:
        return "a host name must not be empty"
    return "a host name has at most 255 characters" if len(value) > 255 else ""


def _labels(value: str, whole: str) -> str:
    parts = value.split(".")
    if re.fullmatch(r"[+-]?[0-9]+", parts[-1]):
        return f"{whole!r} is not a host name (its last label is a number)"
    for at, part in enumerate(parts):
        if at == len(parts) - 1 and not part:
            return ""
        if not label(part):
            return f"{whole!r} is not a host name ({part!r} is no label)"
    return ""


def partial_wildcard(value: str) -> str:
    """A wildcard has to be the whole first label."""
    if "*" in value and value != "*" and not value.startswith("*."):
        return f"the wildcard in {value!r} is not a whole label"
    return ""


def matches(one: str, other: str) -> bool:
    """Whether two hosts, each perhaps with a leading wildcard, overlap."""
    if one.startswith("*") and other.startswith("*"):
        shorter, longer = sorted((one, other), key=len)
        return longer[1:].endswith(shorter[1:])
    if one.startswith("*"):
        return other.endswith(one[1:])
    return one.endswith(other[1:]) if other.startswith("*") else one == other


def subset_of(one: str, other: str) -> bool:
    """Whether every host that one means is meant by the other."""
    if one.startswith("*"):
        return other.startswith("*") and len(one) >= len(other) and one[1:].endswith(other[1:])
    return one.endswith(other[1:]) if other.startswith("*") else one == other


@lru_cache(maxsize=4096)
def is_address(value: str) -> bool:
    """Whether value is an IPv4 or IPv6 address, perhaps with a zone."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return not value.endswith("%")


def address(value: str) -> str:
    """An IP address."""
    return "" if is_address(value) else f"{value!r} is not an IP address"


def is_prefix(value: str) -> bool:
    """Whether value is an address with the length of its network's prefix; host bits may be set."""
    host, _, bits = value.partition("/")
    if "%" in host or not is_address(host) or not re.fullmatch(r"0|[1-9][0-9]{0,2}", bits):
        return False
    return int(bits) <= (128 if ":" in host else 32)


def subnet(value: str) -> str:
    """An IP address or a range of them."""
    if value.count("/") == 1:
        return "" if is_prefix(value) else f"{value!r} is not a range of addresses (CIDR)"
    return address(value)


def address_or_range(value: str) -> str:
    """An IP address or, if it has a slash, a range."""
    if "/" in value:
        return "" if is_prefix(value) else f"{value!r} is not a range of addresses (CIDR)"
    return address(value)


def unix_path(value: str) -> str:
    """What follows unix:// in an address: an absolute path to a file, or @ and a name."""
    if not value:
        return "the path of a socket must not be empty"
    if value.startswith("@") or (value.startswith("/") and not value.endswith("/")):
        return ""
    return f"{value!r} is neither an absolute path to a socket nor an abstract one (@name)"


def port(number: int) -> str:
    """A port number."""
    return "" if 1 <= number <= 65535 else f"port {number} is not in 1 to 65535"


def duration(value: Duration) -> str:
    """At least a millisecond, and whole ones."""
    if value.nanos < MILLISECOND:
        return f"{value} is less than a millisecond"
    return f"{value} is not a whole number of milliseconds" if value.nanos % MILLISECOND else ""


def percent(value: float) -> str:
    """0 to 100."""
    return "" if 0 <= value <= 100 else f"{value:g} is not in 0 to 100"


def regex(value: str) -> str:
    """An expression of RE2 with at most 1024 characters, as Go's library takes it."""
    if len(value.encode()) > 1024:
        return "the expression is longer than 1024 bytes"
    return compiles(value)


@lru_cache(maxsize=1024)
def compiles(value: str) -> str:
    """An expression of RE2, of any length."""
    if re.search(r"(?<!\\)(?:\\\\)*\\C", value):
        return "invalid escape sequence: \\C"
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 256 << 20
    try:
        re2.compile(value, options)
    except re2.error as error:
        cause = error.args[0] if error.args else error
        return f"not an RE2 expression: {cause.decode() if isinstance(cause, bytes) else cause}"
    return ""


def header_match_name(value: str) -> str:
    """The name of a header to match: a token, a pseudo header, or a claim."""
    if not value:
        return "a header's name must not be empty"
    if claim_route(value) or value in (":method", ":scheme", ":authority", ":path", ":status"):
        return ""
    return "" if _HEADER.fullmatch(value) else f"{value!r} is not a header's name"


def cors_header(value: str) -> str:
    """The name of a header, or "*"."""
    if not value:
        return "a header's name must not be empty"
    return "" if value == "*" or _HEADER.fullmatch(value) else f"{value!r} is not a header's name"


def claim_route(value: str) -> bool:
    """Whether a header to match means a claim: "@request.auth.claims.a.b" or "@request.auth.claims[a][b]"."""
    prefix = "@request.auth.claims"
    if not value.lower().startswith(prefix):
        return False
    rest = value[len(prefix) :]
    return (rest.startswith(".") and len(rest) > 1) or (rest.startswith("[") and rest.endswith("]") and len(rest) > 2)


def is_authority(value: str) -> bool:
    """Whether a header's name means the authority."""
    return value.lower() in (":authority", "host")


def request_header(value: str) -> str:
    """The name of a header to set or add in a request: no pseudo header but the authority."""
    if not value:
        return "a header's name must not be empty"
    if value.startswith(":") and not is_authority(value):
        return "no pseudo header but :authority can be written"
    return ""


def other_header(value: str) -> str:
    """The name of a header to remove, or to write into a response: neither Host nor a pseudo header."""
    if not value:
        return "a header's name must not be empty"
    return "Host and pseudo headers cannot be changed here" if value.startswith(":") or is_authority(value) else ""


def header_value(value: str) -> str:
    """A header's value: no control characters but the tab, and Envoy's %VARIABLES% well formed."""
    if not _VALUE_BYTES.fullmatch(value):
        return "control characters in a header's value"
    return _format(value)


def _format(value: str) -> str:
    """Walks over %NAME%, %NAME(argument)% and %NAME(["a", "b"])%; "" or what is wrong."""
    at, state = 0, "text"
    while at < len(value):
        char, following = value[at], value[at + 1 : at + 2]
        if state == "text":
            if char == "%":
                if not following:
                    return "a lone % (write %% for a percent sign)"
                if following == "%":
                    at += 1
                else:
                    state = "name"
        elif state == "name":
            state = "text" if char == "%" else "arguments" if char == "(" else state
        elif state == "string":
            if char == "\\":
                if not following:
                    return "a backslash at the end"
                at += 1
            elif char in ')"':
                state = "end" if char == ")" else "list"
        elif char != " ":
            state = _next_state(state, char)
            if not state:
                return f"{char!r} is not expected in the %variable% at {at + 1}"
        at += 1
    return "" if state == "text" else "a %variable% has no end (write %% for a percent sign)"


def _next_state(state: str, char: str) -> str:
    """The state after a character that is no blank; "" when it may not stand there."""
    if state == "arguments":
        return "quote" if char == "[" else "string"
    table = {
        "quote": {'"': "string"},
        "list": {",": "quote", "]": "close"},
        "close": {")": "end"},
        "end": {"%": "text"},
    }
    return table[state].get(char, "")


def labels(values: dict[str, str]) -> dict[str, str]:
    """What is wrong with labels as Istio takes them (values of any length), by key."""
    wrong = {}
    for key, value in values.items():
        if reason := label_key(key):
            wrong[key] = reason
        elif not _LABEL_VALUE.fullmatch(value):
            wrong[key] = f"{value!r} is not a label's value"
    return wrong


def label_key(key: str) -> str:
    """A qualified name: [dns.prefix/]name."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (prefix and "/" not in prefix and len(prefix) <= 253 and all(map(label, prefix.split(".")))):
        return f"{prefix!r} is not the prefix of a label's key"
    return "" if len(name) <= 63 and _LABEL_KEY.fullmatch(name) else f"{key!r} is not a label's key"


PROTOCOLS_HTTP = frozenset({"http", "http2", "http_proxy", "grpc", "grpc-web"})
PROTOCOLS_TLS = frozenset({"https", "tls"})
PROTOCOLS = PROTOCOLS_HTTP | PROTOCOLS_TLS | {"tcp", "udp", "mongo", "redis", "mysql", "hbone", "doublehbone"}


def protocol(value: str) -> str:
    """A protocol's name in any case, or nothing."""
    return "" if not value or value.lower() in PROTOCOLS else f"unknown protocol {value!r}"


def is_http(value: str) -> bool:
    """Whether a protocol's name means HTTP in the clear."""
    return value.lower() in PROTOCOLS_HTTP


def is_tls(value: str) -> bool:
    """Whether a protocol's name means TLS."""
    return value.lower() in PROTOCOLS_TLS


def port_name(value: str) -> str:
    """A port's name: a DNS label."""
    return "" if label(value) else f"{value!r} is not a port's name (a DNS label)"
