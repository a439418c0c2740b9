"""An object as YAML, as sigs.k8s.io/yaml writes it: keys sorted, two blanks, lists not indented."""

from __future__ import annotations

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Double quotes for what would be read as something else, literal blocks for several lines, plain otherwise."""
    style = None
    if "\n" in value:
        style = "|"
    elif dumper.resolve(yaml.ScalarNode, value, (True, False)) != _STRING or value in _OLD_BOOLEANS:  # type: ignore[no-untyped-call]
        style = '"'
    return dumper.represent_scalar(_STRING, value, style=style)


_STRING = "tag:yaml.org,2002:str"
_OLD_BOOLEANS = ("y", "Y", "n", "N")
_Dumper.add_representer(str, _text)


def to_yaml(tree: Any) -> bytes:
    return yaml.dump(
        tree, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=2**31, allow_unicode=True
    ).encode()
