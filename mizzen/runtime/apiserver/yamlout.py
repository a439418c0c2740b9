"""An object as YAML, as sigs.k8s.io/yaml writes it: keys sorted, two blanks, lists not indented."""

from __future__ import annotations

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(tree: Any) -> bytes:
    return yaml.dump(
        tree, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=2**31, allow_unicode=True
    ).encode()
