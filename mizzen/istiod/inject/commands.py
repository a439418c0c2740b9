"""`mizzen kube-inject`: istioctl's flags, manifests from a file to standard output or a file.

Needs no cluster unless the configuration is asked of one. Not here: injection itself (kube_inject.py).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from mizzen.api.booleans import TRUE
from mizzen.api.errors import MizzenError, UsageError
from mizzen.api.manifest import loads
from mizzen.api.mesh_config import default, read
from mizzen.istiod.inject.config import InjectionConfig, Settings, Values, read_config, read_values
from mizzen.istiod.inject.kube_inject import inject_documents


def kube_inject(
    filename: Annotated[
        str, typer.Option("--filename", "-f", help="Manifests to inject; - reads standard input.")
    ] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="File to write to instead of standard output.")] = "",
    mesh_config_file: Annotated[str, typer.Option("--meshConfigFile", help="MeshConfig file.")] = "",
    inject_config_file: Annotated[
        str, typer.Option("--injectConfigFile", help="Injection configuration file (templates as plain patches).")
    ] = "",
    values_file: Annotated[str, typer.Option("--valuesFile", help="Helm values of the injection configuration.")] = "",
    revision: Annotated[str, typer.Option("--revision", "-r", help="Control plane revision.")] = "default",
    istio_namespace: Annotated[
        str, typer.Option("--istioNamespace", "-i", help="Namespace of the control plane.")
    ] = "istio-system",
) -> None:
    """Inject the proxy into workloads of a manifest, without a cluster."""
    try:
        text = inject_text(
            source(filename),
            filename,
            settings(mesh_config_file, inject_config_file, values_file, revision, istio_namespace),
        )
        if output:
            Path(output).write_text(text)
        else:
            sys.stdout.write(text)
    except (MizzenError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def source(filename: str) -> str:
    if not filename:
        raise UsageError("--filename: a file with manifests is needed (- reads standard input)")
    return sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8-sig")


def settings(mesh: str, config: str, values: str, revision: str, namespace: str) -> Settings:
    """Settings from files, the defaults where none is named."""
    given = mapping(values)
    if "istioNamespace" not in given.get("global", {}):
        given["global"] = given.get("global", {}) | {"istioNamespace": namespace}
    return Settings(
        mesh=read(Path(mesh).read_text()) if mesh else default(),
        config=read_config(mapping(config)) if config else InjectionConfig(),
        values=read_values(given) if given else Values(),
        given=given,
        revision=revision,
        native_sidecars=os.environ.get("ENABLE_NATIVE_SIDECARS", "false") in TRUE,
    )


def mapping(path: str) -> dict[str, Any]:
    """A YAML or JSON file's object; {} without a file."""
    if not path:
        return {}
    try:
        value = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: an object is expected")
    return value


def inject_text(text: str, name: str, with_settings: Settings) -> str:
    """A manifest's text, injected: one YAML document an object."""
    objects = list(inject_documents(loads(text, name), with_settings))
    return "".join(f"{dumped(thing)}---\n" for thing in objects)


def dumped(thing: dict[str, Any]) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(thing, Dumper=dumper, sort_keys=False, default_flow_style=False, allow_unicode=True))
