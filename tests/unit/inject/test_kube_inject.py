"""Manifests: what is refused, with file, line and object; flags and files of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mizzen.api.errors import Invalid, UsageError
from mizzen.cli.main import app
from mizzen.istiod.inject import Settings
from mizzen.istiod.inject.commands import inject_text, settings, source

DEPLOYMENT = """
apiVersion: v1
kind: Service
metadata: {name: s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  template:
    metadata:
      annotations: {%s}
    spec:
      containers: [{name: a, image: i}]
"""


def test_a_refusal_names_file_line_and_object() -> None:
    with pytest.raises(Invalid) as caught:
        inject_text(DEPLOYMENT % "sidecar.istio.io/proxyCPU: lots", "shop.yaml", Settings())
    assert str(caught.value).startswith("shop.yaml:6: Deployment/d: sidecar.istio.io/proxyCPU: ")


def test_annotations_are_texts() -> None:
    with pytest.raises(Invalid, match=r"prometheus\.io/scrape"):
        inject_text(DEPLOYMENT % "prometheus.io/scrape: true", "shop.yaml", Settings())


def test_files(tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"global": {"hub": "here", "tag": "7", "istioNamespace": "mesh"}, "other": 1}))
    config = tmp_path / "config.yaml"
    config.write_text("policy: enabled\ntemplates:\n  extra: |\n    spec: {priorityClassName: high}\n")
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text("trustDomain: other.example\n")
    read = settings(str(mesh), str(config), str(values), "canary", "istio-system")
    text = inject_text(DEPLOYMENT % 'inject.istio.io/templates: "sidecar,extra"', "shop.yaml", read)
    spec = list(yaml.safe_load_all(text))[1]["spec"]["template"]["spec"]
    assert spec["priorityClassName"] == "high"
    proxy = spec["containers"][-1]
    assert proxy["image"] == "here/proxyv2:7"
    variables = {entry["name"]: entry.get("value") for entry in proxy["env"]}
    assert variables["CA_ADDR"] == "istiod-canary.mesh.svc:15012"
    assert variables["TRUST_DOMAIN"] == "other.example"


def test_a_file_is_needed() -> None:
    with pytest.raises(UsageError, match="--filename"):
        source("")


def test_output_and_standard_input(tmp_path: Path) -> None:
    out = tmp_path / "out.yaml"
    text = DEPLOYMENT % ""
    done = CliRunner().invoke(app, ["kube-inject", "-f", "-", "-o", str(out)], input=text)
    assert done.exit_code == 0, done.output
    assert "istio-proxy" in out.read_text()
    gone = CliRunner().invoke(app, ["kube-inject", "-f", str(tmp_path / "none.yaml")])
    assert gone.exit_code == 1
