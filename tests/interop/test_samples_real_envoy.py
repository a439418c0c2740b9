"""A real Envoy takes, and warns of nothing in, what our istiod serves it for every manifest under samples/.

Each folder of samples is a mesh; each file of its `demo` is that mesh with one thing more. Pods stand for the Deployments'
ones, as their controllers would make them: one for each, ready.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.interop.test_istiod_real_envoy import complaints

SAMPLES = Path(__file__).parents[2] / "samples"
MESHES = sorted({path.parent for path in SAMPLES.rglob("*.yaml") if path.parent.name != "demo"})
DEMOS = sorted(SAMPLES.glob("*/demo/*.yaml"))
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare"),
]


def objects(*files: Path) -> list[dict[str, Any]]:
    return [one for file in files for one in yaml.safe_load_all(file.read_text()) if one]


def pod_of(deployment: dict[str, Any], number: int) -> dict[str, Any]:
    template, meta = deployment["spec"]["template"], deployment["metadata"]
    labels = {**template["metadata"]["labels"], "security.istio.io/tlsMode": "istio"}
    name, ip = f"{meta['name']}-0", f"10.244.9.{number + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": meta["namespace"], "labels": labels},
        "spec": template["spec"],
        "status": READY | {"podIP": ip, "podIPs": [{"ip": ip}]},
    }


def slice_of(service: dict[str, Any], pods: list[dict[str, Any]]) -> dict[str, Any]:
    meta, spec = service["metadata"], service["spec"]
    chosen = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == meta["namespace"]
        and spec["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    ports = [{"name": port["name"], "port": port.get("targetPort", port["port"])} for port in spec["ports"]]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name']}-0",
            "namespace": meta["namespace"],
            "labels": {"kubernetes.io/service-name": meta["name"]},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [pod["status"]["podIP"]], "conditions": {"ready": True}} for pod in chosen],
    }


def proxy_of(deployment: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    templates = deployment["spec"]["template"]["metadata"].get("annotations", {}).get("inject.istio.io/templates")
    meta = pod["metadata"]
    return {
        "name": deployment["metadata"]["name"],
        "type": "router" if templates == "gateway" else "sidecar",
        "namespace": meta["namespace"],
        "pod": meta["name"],
        "ip": pod["status"]["podIP"],
        "labels": meta["labels"],
        "serviceAccount": pod["spec"].get("serviceAccountName", "default"),
    }


def mesh(folder: Path, *more: Path) -> tuple[str, list[dict[str, Any]]]:
    """The manifests of a mesh with its pods and endpoints as one text, and its proxies."""
    found = objects(*sorted(folder.glob("*.yaml")), *more)
    for number, service in enumerate(one for one in found if one["kind"] == "Service"):
        service["spec"].setdefault("clusterIP", f"10.96.9.{number + 1}")
    deployments = [one for one in found if one["kind"] == "Deployment"]
    pods = [pod_of(one, number) for number, one in enumerate(deployments)]
    slices = [slice_of(one, pods) for one in found if one["kind"] == "Service" and one["spec"].get("selector")]
    every = list(map(proxy_of, deployments, pods))
    return yaml.safe_dump_all([*found, *pods, *slices]), every


async def check(text: str, proxies: list[dict[str, Any]], folder: Path) -> None:
    config = folder / "config"
    config.mkdir()
    (config / "mesh.yaml").write_text(text)
    refused = await complaints(config, None, proxies, folder, delta=True)
    assert not refused, "\n".join(f"{where}: {error}" for where, error in refused.items())


@pytest.mark.parametrize("folder", MESHES, ids=lambda path: path.name)
async def test_every_proxy_of_a_sample_takes_everything(folder: Path, tmp_path: Path) -> None:
    text, proxies = mesh(folder)
    assert {proxy["type"] for proxy in proxies} == {"sidecar", "router"}
    await check(text, proxies, tmp_path)


@pytest.mark.parametrize("demo", DEMOS, ids=lambda path: path.stem)
async def test_a_demo_is_taken_by_a_sidecar_and_the_gateway(demo: Path, tmp_path: Path) -> None:
    text, proxies = mesh(demo.parents[1], demo)
    chosen = {proxy["type"]: proxy for proxy in reversed(proxies)}
    await check(text, list(chosen.values()), tmp_path)
