"""Nobody gives what they do not have: roles and bindings are refused when they grant more than their maker holds.

Source: kube-apiserver's RBAC registries (escalate and bind verbs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..auth.rbac import GROUP, uncovered
from .base import Base, Write

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]


def _shown(rule: Object) -> str:
    names = (
        ("apiGroups", "APIGroups"),
        ("resources", "Resources"),
        ("resourceNames", "ResourceNames"),
        ("nonResourceURLs", "NonResourceURLs"),
        ("verbs", "Verbs"),
    )
    parts = [
        f"{label}:[{' '.join(f'{chr(34)}{one}{chr(34)}' for one in rule[key])}]"
        for key, label in names
        if rule.get(key)
    ]
    return "{" + ", ".join(parts) + "}"


class Escalation(Base):
    async def validate(self, write: Write, parts: Parts) -> None:
        if write.resource.group != GROUP or write.new is None or write.ask.user.is_master:
            return
        if write.resource.plural in ("roles", "clusterroles"):
            self._role(write, parts)
        else:
            self._binding(write, parts)

    def _role(self, write: Write, parts: Parts) -> None:
        new, old = write.new or {}, write.old or {}
        if new.get("rules") == old.get("rules") and new.get("aggregationRule") == old.get("aggregationRule"):
            return
        user, namespace = write.ask.user, write.namespace
        if parts.rbac.allowed(user, "escalate", GROUP, write.resource.plural, namespace, write.name):
            return
        self._covered(write, parts, list(new.get("rules") or ()), namespace)

    def _binding(self, write: Write, parts: Parts) -> None:
        new, old = write.new or {}, write.old or {}
        if (
            write.old is not None
            and new.get("roleRef") == old.get("roleRef")
            and new.get("subjects") == old.get("subjects")
        ):
            return
        reference, user, namespace = new.get("roleRef") or {}, write.ask.user, write.namespace
        plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
        if parts.rbac.allowed(user, "bind", GROUP, plural, namespace, reference.get("name", "")):
            return
        from ..errors import not_found

        roles = parts.registry.get(plural, GROUP).collection
        key = f"{namespace}/{reference.get('name')}" if plural == "roles" else reference.get("name", "")
        if key not in roles.items:
            raise not_found(GROUP, plural, reference.get("name", ""))
        self._covered(write, parts, list(parts.rbac.rules_of(reference, namespace)), namespace)

    def _covered(self, write: Write, parts: Parts, asked: list[Object], namespace: str) -> None:
        user = write.ask.user
        missing = uncovered(asked, list(parts.rbac.rules(user, namespace)))
        if not missing:
            return
        groups = " ".join(f'"{one}"' for one in user.groups)
        lines = "\n".join(sorted(_shown(one) for one in missing))
        raise write.refuse(
            f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{lines}'
        )
