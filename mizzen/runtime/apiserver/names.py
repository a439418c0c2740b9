"""Forms of names, labels and annotations: what is well formed, and Kubernetes' words for what is not. Pure.

Each function answers None for what is fine, else the message.
Source: apimachinery's util/validation.
"""

from __future__ import annotations

import ipaddress
import re

DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL = re.compile(rf"^{DNS_LABEL}\Z")
_SUBDOMAIN = re.compile(rf"^{DNS_LABEL}(\.{DNS_LABEL})*\Z")
_QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_DNS_1035 = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_SEGMENT_BAD = ("/", "%")

SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with "
    "an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
NAME_PART_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _sized(name: str, most: int) -> list[str]:
    return [f"must be no more than {most} bytes"] if len(name.encode()) > most else []


def subdomain(name: str) -> list[str]:
    return _sized(name, 253) + ([] if _SUBDOMAIN.match(name) else [SUBDOMAIN_TEXT])


def dotless_label(name: str) -> list[str]:
    """A DNS label as name of an object: dots have a refusal of their own."""
    return ["must not contain dots"] if "." in name and _SUBDOMAIN.match(name) else dns_label(name)


def dns_label(name: str) -> list[str]:
    return _sized(name, 63) + ([] if _LABEL.match(name) else [LABEL_TEXT])


def dns_1035(name: str) -> list[str]:
    return _sized(name, 63) + ([] if _DNS_1035.match(name) else [DNS_1035_TEXT])


def path_segment(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{bad}'" for bad in _SEGMENT_BAD if bad in name]


def qualified_name(key: str) -> list[str]:
    """Problems of a label's or annotation's key: an optional DNS prefix, a slash, a name of 63 letters."""
    parts = key.split("/")
    found: list[str] = []
    if len(parts) == 1:
        name = parts[0]
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {one}" for one in subdomain(prefix)]
    else:
        return [
            "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
            "character with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.match(name):
        found.append(NAME_PART_TEXT)
    return found


def label_value(value: str) -> list[str]:
    found = _sized(value, 63)
    return found if value == "" or _QUALIFIED.match(value) else [*found, VALUE_TEXT]


def label_key_problem(key: str) -> str | None:
    return "; ".join(qualified_name(key)) or None


def label_value_problem(value: str) -> str | None:
    return "; ".join(label_value(value)) or None


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
