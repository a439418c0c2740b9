"""Two control planes of two revisions on one API server: whose objects are whose, tags, and webhooks that heal. No root needed."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from mizzen.istiod.server.istiod import Istiod
from mizzen.up import install
from tests.support.api_server import KUBECTL, Kubectl, api_server, istiod_on
from tests.support.poll import until

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")

RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}
spec: {{host: web}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{containers: [{{name: web, image: host}}]}}
"""


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(tmp_path_factory.mktemp("apiserver")) as path:
        yield path


@pytest.fixture
async def kubectl(kubeconfig: Path) -> AsyncIterator[Kubectl]:
    run = Kubectl(kubeconfig)
    await run.apply_crds()
    for name in ("istio-system", "old", "new", "outside"):
        await run.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{mesh: member}}}}\n")
        await run.apply(f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: default, namespace: {name}}}\n")
    yield run
    await run("delete", "destinationrules", "-A", "--all")
    await run("delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "--all")
    await run("delete", "pods", "-n", "new", "--all", "--force")


def mizzen(kubeconfig: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mizzen", *arguments, "-c", str(kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rules(istiod: Istiod) -> set[str]:
    snapshot = istiod.hub.snapshot
    return {name for _, name in snapshot.objects.table("DestinationRule")} if snapshot is not None else set()


def webhook(istiod: Istiod, revision: str) -> str:
    """The injector of a revision, led to where its istiod listens."""
    made = install.injector(install.Plan(host="127.0.0.1", revision=revision))
    made["metadata"]["name"] = f"istio-sidecar-injector-{revision}"
    url = f"https://localhost:{istiod.ports['https']}/inject"
    for hook in made["webhooks"]:
        hook["clientConfig"] = {"url": url}
    return str(yaml.safe_dump(made))


async def trusted(kubectl: Kubectl, istiod: Istiod, kind: str, name: str) -> None:
    """Until a webhook configuration trusts the istiod."""
    expected = base64.b64encode(istiod.authority.roots.encode()).decode()

    async def bundles() -> set[str]:
        found = await kubectl.get(kind, name)
        return {hook["clientConfig"].get("caBundle", "") for hook in found["webhooks"]}

    async with asyncio.timeout(15):
        while await bundles() != {expected}:
            await asyncio.sleep(0.1)


async def test_each_revision_has_its_own_objects_and_tags_move_them(kubectl: Kubectl, kubeconfig: Path) -> None:
    async with (
        istiod_on(kubeconfig, identity="a", revision="stable") as stable,
        istiod_on(kubeconfig, identity="b", revision="canary") as canary,
    ):
        for istiod, revision in ((stable, "stable"), (canary, "canary")):
            await kubectl.apply(webhook(istiod, revision))
            await trusted(kubectl, istiod, "mutatingwebhookconfiguration", f"istio-sidecar-injector-{revision}")
        for name, labels in (("all", "{}"), ("s", "{istio.io/rev: stable}"), ("t", "{istio.io/rev: prod}")):
            await kubectl.apply(RULE.format(name=name, namespace="new", labels=labels))
        await until(lambda: rules(stable) == {"all", "s"} and rules(canary) == {"all"})

        mizzen(kubeconfig, "tag", "set", "prod", "-r", "stable")
        await until(lambda: rules(stable) == {"all", "s", "t"} and rules(canary) == {"all"})
        mizzen(kubeconfig, "tag", "set", "prod", "-r", "canary", "--overwrite")
        await until(lambda: rules(stable) == {"all", "s"} and rules(canary) == {"all", "t"})

        await trusted(kubectl, canary, "mutatingwebhookconfiguration", "istio-revision-tag-prod")
        await kubectl("label", "namespace", "new", "istio.io/rev=prod")
        await kubectl.apply(POD.format(name="by-tag", namespace="new"))
        pod = await kubectl.get("pod", "by-tag", "-n", "new")
        assert pod["metadata"]["annotations"]["istio.io/rev"] == "canary"
        listed = mizzen(kubeconfig, "tag", "list").split()
        assert listed == ["TAG", "REVISION", "NAMESPACES", "prod", "canary", "new"]
        await kubectl("wait", "--for=condition=Reconciled", "destinationrule/t", "-n", "new", "--timeout=15s")
        await kubectl("wait", "--for=condition=Reconciled", "destinationrule/s", "-n", "new", "--timeout=15s")
        mizzen(kubeconfig, "tag", "remove", "prod", "-y")
        await until(lambda: rules(canary) == {"all"})
        await kubectl("label", "namespace", "new", "istio.io/rev-")


async def test_a_webhook_that_drifts_is_healed(kubectl: Kubectl, kubeconfig: Path) -> None:
    async with istiod_on(kubeconfig, revision="stable") as istiod:
        name = "istio-sidecar-injector-stable"
        await kubectl.apply(webhook(istiod, "stable"))
        await trusted(kubectl, istiod, "mutatingwebhookconfiguration", name)
        drift = '[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]'
        await kubectl("patch", "mutatingwebhookconfiguration", name, "--type=json", "-p", drift)
        await trusted(kubectl, istiod, "mutatingwebhookconfiguration", name)


async def test_validation_is_enforced_once_it_works(kubectl: Kubectl, kubeconfig: Path) -> None:
    async with istiod_on(kubeconfig, revision="stable") as istiod:
        made = install.validator(install.Plan(host="127.0.0.1", revision="stable"))
        made["webhooks"][0] |= {
            "clientConfig": {"url": f"https://localhost:{istiod.ports['https']}/validate"},
            "failurePolicy": "Ignore",
        }
        await kubectl.apply(yaml.safe_dump(made))

        async def policy() -> str:
            found = await kubectl.get("validatingwebhookconfiguration", made["metadata"]["name"])
            return str(found["webhooks"][0]["failurePolicy"])

        async with asyncio.timeout(15):
            while await policy() != "Fail":
                await asyncio.sleep(0.1)
        bad = RULE.format(name="bad", namespace="new", labels="{}") + "  exportTo: ['~', '*']\n"
        bad = bad.replace("spec: {host: web}\n", "spec:\n  host: web\n")
        said = await kubectl("apply", "-f", "-", text=bad, fails=True)
        assert "configuration is invalid" in said


async def test_namespaces_that_are_not_selected(kubectl: Kubectl, kubeconfig: Path) -> None:
    mesh = "discoverySelectors: [{matchLabels: {mesh: member}}]"
    await kubectl.apply(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "istio", "namespace": "istio-system"},
                "data": {"mesh": mesh},
            }
        )
    )
    await kubectl("label", "namespace", "outside", "mesh-")
    for namespace in ("new", "outside"):
        await kubectl.apply(RULE.format(name=f"in-{namespace}", namespace=namespace, labels="{}"))
    async with istiod_on(kubeconfig) as istiod:
        await until(lambda: rules(istiod) == {"in-new"})
        await kubectl("label", "namespace", "outside", "mesh=member")
        await until(lambda: rules(istiod) == {"in-new", "in-outside"})
        await kubectl("label", "namespace", "outside", "mesh-")
        await until(lambda: rules(istiod) == {"in-new"})
        await kubectl("patch", "configmap", "istio", "-n", "istio-system", "-p", '{"data": {"mesh": "{}"}}')
        await until(lambda: rules(istiod) == {"in-new", "in-outside"})
