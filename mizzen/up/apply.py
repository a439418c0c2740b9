"""Applies manifests to an API server: server-side apply, in an order in which what others need comes first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mizzen.api.errors import UsageError
from mizzen.api.manifest import Document, load
from mizzen.kube.client import Client
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import Object, Resource

FIELD_MANAGER = "mizzen-up"
# Kinds that others refer to at admission come first; the rest keeps the order of the files.
FIRST = ("CustomResourceDefinition", "Namespace", "ServiceAccount", "ConfigMap", "Secret", "Service")


class Applied(Exception):
    """Some objects were refused. `errors`: (document, why)."""

    def __init__(self, errors: list[tuple[Document, str]]) -> None:
        super().__init__("\n".join(f"{d.file}:{d.line}: {name(d.object)}: {why}" for d, why in errors))
        self.errors = errors


def name(obj: Object) -> str:
    """ "Kind namespace/name" for people."""
    metadata = obj.get("metadata") or {}
    where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{obj.get('kind')} {where}{metadata.get('name')}"


def documents(paths: Sequence[Path]) -> list[Document]:
    """All objects of files and folders (their *.yaml, *.yml, *.json; not below). Raises UsageError when there is none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
            if not found:
                raise UsageError(f"{path}: no YAML or JSON file in it")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file")
    return [document for path in files for document in load(path)]


def objects(items: Iterable[Object]) -> list[Document]:
    """Objects of our own as documents without a file."""
    return [Document(item, "", 0) for item in items]


class Mapper:
    """Kinds to resources, by asking the server once per group and version."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, dict[str, Resource]] = {}

    async def resource(self, obj: Object) -> Resource:
        """The resource of an object. Raises UsageError when the server has no such kind."""
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        for fresh in (False, True):
            if fresh or api_version not in self._known:
                self._known[api_version] = await self._ask(api_version)
            if kind in self._known[api_version]:
                return self._known[api_version][kind]
        raise UsageError(f'no matches for kind "{kind}" in version "{api_version}"')

    async def _ask(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            listed = json.loads(await self._client.raw("GET", path))
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return {
            entry["kind"]: Resource(group, version, entry["name"], entry["namespaced"], entry["kind"])
            for entry in listed["resources"]
            if "/" not in entry["name"]
        }


def _rank(document: Document) -> int:
    kind = document.object.get("kind", "")
    return FIRST.index(kind) if kind in FIRST else len(FIRST)


async def apply(client: Client, items: Iterable[Document]) -> list[Object]:
    """Applies all; those that are refused do not hold up the others. Raises Applied with all refusals at the end."""
    mapper, done = Mapper(client), []
    errors: list[tuple[Document, str]] = []
    for document in sorted(items, key=_rank):
        obj = document.object
        if document.problems:
            errors += [(document, problem.reason) for problem in document.problems]
            continue
        try:
            resource = await mapper.resource(obj)
            if resource.namespaced and not (obj.get("metadata") or {}).get("namespace"):
                obj = {**obj, "metadata": {**(obj.get("metadata") or {}), "namespace": "default"}}
            done.append(await client.apply(resource, obj, field_manager=FIELD_MANAGER))
        except ApiError as error:
            errors.append((document, error.message))
        except UsageError as error:
            errors.append((document, str(error)))
    if errors:
        raise Applied(errors)
    return done
