"""The generated CRDs in an API server, kubectl as the client: it takes and refuses what `mizzen validate`'s schema part does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizzen.api import manifest
from mizzen.api.crds import FOLDER
from mizzen.api.errors import Invalid
from mizzen.api.kinds import kind_of
from mizzen.api.validation import schema_errors

ANSWERS = Path(__file__).parents[1] / "answers/validate"
SIDECARS = """apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: %s, namespace: pier}
spec: {egress: [{hosts: ["./*"]}]}
"""
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


def kubectl(kubeconfig: Path, *arguments: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, input=input_, capture_output=True, text=True, timeout=120, check=False)


def documents(name: str) -> list[manifest.Document]:
    return manifest.load(ANSWERS / f"{name}.yaml")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an API server that has the CRDs and the namespaces of the answers."""
    home = tmp_path_factory.mktemp("apiserver")
    kubeconfig = home / "kubeconfig"
    command = [sys.executable, "-m", "mizzen", "apiserver", "--data-dir", str(home), "--store", "memory:"]
    server = subprocess.Popen([*command, "--secure-port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert "ready" in server.stdout.readline()
        done = kubectl(kubeconfig, "create", "-f", str(FOLDER))
        assert done.returncode == 0, done.stderr
        done = kubectl(kubeconfig, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        assert done.returncode == 0, done.stderr
        objects = [document.object for name in ("accepted", "refused") for document in documents(name)]
        metas = [obj["metadata"] for obj in objects if isinstance(obj.get("metadata"), dict)]
        names = sorted({meta["namespace"] for meta in metas if isinstance(meta.get("namespace"), str)} | {"pier"})
        wanted = [f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n" for name in names]
        kubectl(kubeconfig, "create", "-f", "-", input_="---\n".join(wanted))
        yield kubeconfig
    finally:
        server.terminate()
        server.wait(30)


def test_accepted(cluster: Path) -> None:
    done = kubectl(cluster, "create", "--dry-run=server", "-f", str(ANSWERS / "accepted.yaml"))
    assert done.stderr == ""
    assert len(re.findall(r" created \(server dry run\)$", done.stdout, re.M)) == len(documents("accepted"))


def test_refused(cluster: Path) -> None:
    expected: dict[tuple[str, str], bool] = {}
    stream = []
    for document in documents("refused"):
        found = verdict(document)
        if found is not None:
            expected[found[0]] = found[1]
            stream.append(json.dumps(document.object))
    done = kubectl(cluster, "create", "--dry-run=server", "-f", "-", input_="\n".join(stream))
    created = set(re.findall(r"^(\S+)/(\S+) created", done.stdout, re.M))
    assert created == {name for name, passes in expected.items() if passes}
    assert len(expected) > 140


def verdict(document: manifest.Document) -> tuple[tuple[str, str], bool] | None:
    """How kubectl names an object, and whether the schema lets it through; None where kubectl itself stops reading."""
    try:
        kind = kind_of(document.object)
    except Invalid:
        return None
    errors = schema_errors(kind, document.object)
    if document.problems or any(error.path.startswith("metadata") for error in errors):
        return None
    return (f"{kind.kind.lower()}.{kind.group}", document.object["metadata"]["name"]), not errors


def test_analyze_reads_the_cluster(cluster: Path) -> None:
    done = kubectl(cluster, "create", "-f", "-", input_=SIDECARS % "one" + "---\n" + SIDECARS % "two")
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "mizzen", "analyze", "-A", "--kubeconfig", str(cluster)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 79
    assert "Error [IST0111] (Sidecar pier/one) " in found.stdout
    assert "Info [IST0102] (Namespace pier) " in found.stdout


def test_short_names_and_columns(cluster: Path) -> None:
    done = kubectl(cluster, "get", "vs,dr,gw,se,we,wg,ap,pa,ra,telemetry", "-A")
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 10
    columns = ""
    while "HOSTS" not in columns and time.monotonic() < deadline:
        made = SIDECARS.replace("Sidecar", "VirtualService") % "web"
        spec = "spec: {hosts: [a.com], http: [{route: [{destination: {host: a}}]}]}\n"
        kubectl(cluster, "apply", "-f", "-", input_=made[: made.index("spec:")] + spec)
        columns = kubectl(cluster, "get", "vs", "-n", "pier").stdout
    assert columns.splitlines()[0].split() == ["NAME", "GATEWAYS", "HOSTS", "AGE"]
    assert columns.splitlines()[1].split()[:2] == ["web", '["a.com"]']
