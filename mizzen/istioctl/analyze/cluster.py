"""The objects of a cluster that analysis looks at.

Takes a kubeconfig, gives JSON objects. Kinds that the cluster does not have are left out. Not here: any check.
"""

from __future__ import annotations

import asyncio

from mizzen.api.errors import UsageError
from mizzen.api.kinds import GATEWAY_API_KINDS, ISTIO_KINDS, KINDS, Kind
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client, Object, Resource, load

SLICES = ("discovery.k8s.io", "EndpointSlice")
BUILT_IN = frozenset(
    [
        ("", "ConfigMap"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "Pod"),
        ("", "Secret"),
        ("", "Service"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apps", "Deployment"),
    ]
)


def objects(kubeconfig: str = "", *, slices: bool = False) -> list[Object]:
    """All objects of the kinds that analyzers know, with EndpointSlices when they are asked for. Raises UsageError when
    there is no cluster to ask.
    """
    return asyncio.run(_objects(kubeconfig, BUILT_IN | {SLICES} if slices else BUILT_IN))


async def _objects(kubeconfig: str, wanted: frozenset[tuple[str, str]]) -> list[Object]:
    kinds = [kind for kind in KINDS if (kind.group, kind.kind) in wanted]
    try:
        async with Client(load(kubeconfig or None)) as client:
            lists = await asyncio.gather(*(_list(client, kind) for kind in (*kinds, *ISTIO_KINDS, *GATEWAY_API_KINDS)))
    except CONNECTION_ERRORS as error:
        raise UsageError(f"the cluster does not answer: {error}") from error
    except ApiError as error:
        raise UsageError(f"the cluster refuses: {error}") from error
    return [obj for found in lists for obj in found]


async def _list(client: Client, kind: Kind) -> list[Object]:
    """The objects of a kind in the first version that the cluster serves."""
    for version in kind.versions:
        resource = Resource(kind.group, version, kind.plural, kind.namespaced, kind.kind)
        try:
            return (await client.list(resource)).items
        except ApiError as error:
            if not error.not_found:
                raise
    return []
