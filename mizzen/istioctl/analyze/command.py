"""`mizzen analyze`: the command line. Options, output and exit codes are istioctl's.

Takes files, folders and, with --use-kube, the objects of a cluster; prints messages. Not here: the checks (analyzers/).
"""

from __future__ import annotations

import fnmatch
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mizzen.api import manifest, mesh_config
from mizzen.api.errors import Invalid, UsageError
from mizzen.api.manifest import Document
from mizzen.istiod.analysis.analyzers import ANALYZERS
from mizzen.istiod.analysis.messages import LEVELS
from mizzen.istiod.analysis.model import Mesh, Message, Resource

FOUND, UNREADABLE = 79, 65  # exit codes: messages at or above the threshold; a file that cannot be read
SUFFIXES = (".json", ".yaml", ".yml")
COLOURS = {"Error": "\033[1;31m", "Warning": "\033[33m"}


def analyze(
    files: Annotated[list[str] | None, typer.Argument(help="Files, folders, or - for standard input.")] = None,
    use_kube: Annotated[
        str, typer.Option("--use-kube", "-k", help="Whether the objects of the cluster count too (true, false).")
    ] = "true",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")] = False,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only messages of this namespace.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="log, json or yaml.")] = "log",
    failure_threshold: Annotated[str, typer.Option(help="The level at which to fail: Info, Warning, Error.")] = "Error",
    output_threshold: Annotated[str, typer.Option(help="The least level to print: Info, Warning, Error.")] = "Info",
    suppress: Annotated[
        list[str] | None, typer.Option("--suppress", "-S", help="CODE=Kind name.namespace, with wildcards; repeatable.")
    ] = None,
    analyzer: Annotated[list[str] | None, typer.Option(help="Only these analyzers, by name; repeatable.")] = None,
    list_analyzers: Annotated[bool, typer.Option("--list-analyzers", "-L", help="List the analyzers.")] = False,
    mesh_config_file: Annotated[str, typer.Option("--meshConfigFile", help="A file with the MeshConfig.")] = "",
    ignore_unknown: Annotated[bool, typer.Option(help="Do not fail because of files that cannot be read.")] = False,
    kubeconfig: Annotated[str, typer.Option(help="The kubeconfig of the cluster.")] = "",
    color: Annotated[bool | None, typer.Option("--color/--no-color", help="Colours; by default on a terminal.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say which analyzers ran.")] = False,
) -> None:
    """Check the objects of a mesh against each other.

    Exits with 79 when something at or above the failure threshold was found (log output only), 65 when a file could not
    be read.
    """
    if list_analyzers:
        for entry in ANALYZERS:
            typer.echo(f"* {entry.name}:\n    {entry.help}")
        return
    least = _level(output_threshold, "--output-threshold")
    fatal = _level(failure_threshold, "--failure-threshold")
    if output not in ("log", "json", "yaml"):
        raise typer.BadParameter(f"{output} is none of log, json, yaml", param_hint="--output")
    unreadable: list[str] = []
    documents = _documents(files or [], unreadable)
    if use_kube.lower() in ("true", "1", "t"):
        own = {Resource(document).key for document in documents}
        cluster = _cluster(kubeconfig, needed=not files)
        documents += [document for document in cluster if Resource(document).key not in own]
    elif not files:
        raise typer.BadParameter("no files and no cluster: there is nothing to analyze", param_hint="FILE")
    mesh = _mesh(documents, mesh_config_file)
    chosen = [entry for entry in ANALYZERS if not analyzer or entry.name in analyzer]
    for entry in chosen:
        entry.analyze(mesh)
    if verbose:
        typer.echo("Analyzed with " + ", ".join(entry.name for entry in chosen), err=True)
    found = [message for message in mesh.results() if not _suppressed(message, suppress or [])]
    if namespace and not all_namespaces and not files:
        found = [message for message in found if message.resource.namespace in ("", namespace)]
    _print([m for m in found if LEVELS.index(m.type.level) <= least], output, color, files or [])
    for problem in unreadable:
        typer.echo(f"Error: {problem}", err=True)
    if output == "log" and any(LEVELS.index(message.type.level) <= fatal for message in found):
        typer.echo(f"Error: analyzers found issues at or above {failure_threshold}", err=True)
        raise typer.Exit(FOUND)
    if unreadable and not ignore_unknown:
        raise typer.Exit(UNREADABLE)


def _level(name: str, option: str) -> int:
    for at, level in enumerate(LEVELS):
        if level.lower() == name.lower():
            return at
    raise typer.BadParameter(f"{name} is none of {', '.join(LEVELS)}", param_hint=option)


def _documents(sources: list[str], unreadable: list[str]) -> list[Document]:
    found: list[Document] = []
    for source in sources:
        paths = [source]
        if source != "-" and Path(source).is_dir():
            paths = [str(path) for path in sorted(Path(source).rglob("*")) if path.suffix in SUFFIXES]
        for path in paths:
            try:
                read = manifest.loads(sys.stdin.read(), "-") if path == "-" else manifest.load(Path(path))
            except UsageError as error:
                unreadable.append(str(error))
                continue
            for document in read:
                unreadable += [f"{path}:{p.line}: {p.path} {p.reason}" for p in document.problems if not p.path]
            found += [document for document in read if not any(not p.path for p in document.problems)]
    return found


def _cluster(kubeconfig: str, *, needed: bool) -> list[Document]:
    """The objects of the cluster. needed: whether it is an error that there is no cluster."""
    from mizzen.istioctl.analyze.cluster import objects

    try:
        return [Document(obj, "", 0) for obj in objects(kubeconfig)]
    except UsageError as error:
        if needed:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(f"Warning: {error}; only files are analyzed", err=True)
        return []


def _mesh(documents: list[Document], mesh_config_file: str) -> Mesh:
    if not mesh_config_file:
        return Mesh(documents)
    try:
        return Mesh(documents, mesh_config.read(Path(mesh_config_file).read_text(encoding="utf-8")))
    except (OSError, Invalid) as error:
        typer.echo(f"Error: {mesh_config_file}: {error}", err=True)
        raise typer.Exit(1) from error


def _suppressed(message: Message, patterns: list[str]) -> bool:
    resource = message.resource
    name = f"{resource.kind} {resource.name}" + (f".{resource.namespace}" if resource.namespace else "")
    for pattern in patterns:
        code, _, target = pattern.partition("=")
        if code == message.type.code and fnmatch.fnmatchcase(name, target):
            return True
    return False


def entry(message: Message) -> dict[str, Any]:
    """The machine-readable form of a message."""
    return {
        "code": message.type.code,
        "documentationUrl": message.type.url,
        "level": message.type.level,
        "message": message.text,
        "origin": message.resource.origin,
        "reference": message.reference,
    }


def _print(messages: list[Message], output: str, color: bool | None, sources: list[str]) -> None:
    if output == "json":
        typer.echo(json.dumps([entry(message) for message in messages], indent=1, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        typer.echo(yaml.safe_dump([entry(message) for message in messages], allow_unicode=True), nl=False)
    elif not messages:
        what = ", ".join(sources) or "the cluster"
        typer.echo(f"\u2714 No validation issues found when analyzing {what}.", err=True)
    else:
        coloured = sys.stdout.isatty() if color is None else color
        for message in messages:
            typer.echo(line(message, coloured), color=coloured)


def line(message: Message, coloured: bool) -> str:
    """One message as a line of the log."""
    level = message.type.level
    start, end = (COLOURS[level], "\033[0m") if coloured and level in COLOURS else ("", "")
    place = f" {message.reference}" if message.reference else ""
    return f"{start}{level}{end} [{message.type.code}] ({message.resource.origin}{place}) {message.text}"
