"""`mizzen validate` and `mizzen analyze` as processes would see them: output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mizzen.istioctl.analyze.command import analyze
from mizzen.istioctl.validate import validate

GOOD = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: one, namespace: shop}
spec: {host: "*.example.com"}
"""
BAD = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: two
  namespace: shop
spec:
  hots: a.com
"""
TWICE = """apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: two, namespace: shop}
spec: {egress: [{hosts: ["./*"]}]}
"""
UNKNOWN_HOST = GOOD.replace("*.example.com", "nobody.example.com")


def run(command: object, *arguments: str, input_: str | None = None) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, arguments, input=input_)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("good", GOOD), ("bad", BAD), ("twice", TWICE), ("unknown", UNKNOWN_HOST), ("broken", "a: [\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_valid(folder: Path) -> None:
    code, out, _ = run(validate, "-f", str(folder / "good.yaml"))
    assert code == 0
    assert out == "1 objects: 1 valid (0 with warnings), 0 invalid\n"


def test_invalid(folder: Path) -> None:
    code, out, _ = run(validate, "-f", str(folder / "bad.yaml"))
    assert code == 1
    first = out.splitlines()[0]
    assert f"{folder / 'bad.yaml'}:7: error: DestinationRule shop/two: spec.hots:" in first
    assert "host" in first.partition("spec.hots")[2]


def test_invalid_as_json(folder: Path) -> None:
    code, out, _ = run(validate, "-o", "json", "-f", str(folder / "good.yaml"), "-f", str(folder / "bad.yaml"))
    assert code == 1
    good, bad = json.loads(out)
    assert good == {"object": "DestinationRule shop/one", "valid": True, "errors": []}
    assert not bad["valid"]
    assert {error["path"] for error in bad["errors"]} == {"spec.hots", "spec.host"}


@pytest.mark.parametrize("name", ["broken.yaml", "missing.yaml"])
def test_unreadable(folder: Path, name: str) -> None:
    code, _, err = run(validate, "-f", str(folder / name))
    assert code in (1, 2)
    assert name == "broken.yaml" or "missing.yaml" in err


def test_standard_input() -> None:
    assert run(validate, "-f", "-", input_=BAD)[0] == 1
    assert run(validate, "-f", "-", input_=GOOD)[0] == 0


def test_nothing_found(folder: Path) -> None:
    (folder / "none.yaml").write_text("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n")
    code, out, err = run(analyze, "--use-kube=false", str(folder / "none.yaml"))
    assert (code, out) == (0, "")
    assert "No validation issues" in err


def test_found(folder: Path) -> None:
    path = str(folder / "twice.yaml")
    code, out, err = run(analyze, "--use-kube=false", path)
    assert code == 79
    assert out.startswith(f"Error [IST0111] (Sidecar shop/one {path}:1) ")
    assert len(out.splitlines()) == 2
    assert "at or above Error" in err


def test_found_as_json(folder: Path) -> None:
    code, out, _ = run(analyze, "--use-kube=false", "-o", "json", str(folder / "twice.yaml"))
    assert code == 0
    first, second = json.loads(out)
    assert first["code"] == second["code"] == "IST0111"
    assert set(first) == {"code", "documentationUrl", "level", "message", "origin", "reference"}


@pytest.mark.parametrize(("threshold", "expected"), [("Error", 0), ("Warning", 79), ("info", 79)])
def test_failure_threshold(folder: Path, threshold: str, expected: int) -> None:
    code, out, _ = run(
        analyze, "--use-kube=false", "--failure-threshold", threshold, str(folder / "unknown.yaml"), "--no-color"
    )
    assert code == expected
    assert "Warning [IST0174]" in out


def test_output_threshold_and_suppress(folder: Path) -> None:
    path = str(folder / "unknown.yaml")
    assert run(analyze, "--use-kube=false", "--output-threshold", "Error", path)[1] == ""
    assert run(analyze, "--use-kube=false", "-S", "IST0174=DestinationRule one.shop", path)[1] == ""
    assert run(analyze, "--use-kube=false", "-S", "IST0174=DestinationRule *.other", path)[1] != ""


def test_unreadable_file(folder: Path) -> None:
    assert run(analyze, "--use-kube=false", str(folder / "broken.yaml"))[0] == 65
    assert run(analyze, "--use-kube=false", "--ignore-unknown", str(folder / "broken.yaml"))[0] == 0


def test_needs_something() -> None:
    assert run(analyze, "--use-kube=false")[0] == 2
    assert run(analyze, "--use-kube=false", "-o", "xml", "x")[0] == 2


def test_list_analyzers() -> None:
    code, out, _ = run(analyze, "-L")
    assert code == 0
    assert "* virtualservice.GatewayAnalyzer:" in out
