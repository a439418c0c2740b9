"""`mizzen validate`: what Kubernetes with Istio's CRDs, or Istio's admission, would refuse in some manifests.

Takes files and folders, prints a verdict for each object. Needs no cluster. Not here: the rules (mizzen.api.validation);
checks of objects against each other (`mizzen analyze`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from mizzen.api import manifest
from mizzen.api.errors import UsageError
from mizzen.api.manifest import Document
from mizzen.api.validation import inspect

SUFFIXES = (".yaml", ".yml", ".json")


class Verdict(NamedTuple):
    """What was found in one object: errors and warnings as (path, reason, line)."""

    document: Document
    errors: list[tuple[str, str, int]]
    warnings: list[tuple[str, str, int]]


def validate(
    filename: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", help="A file, a folder, or - for standard input; repeatable."),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="json or yaml: a list with one entry for each object.")
    ] = "",
    files: Annotated[list[str] | None, typer.Argument(help="Files and folders, as with -f.")] = None,
) -> None:
    """Check manifests by Istio's schemas and admission rules, without a cluster.

    Exits with 1 when an object is invalid, with 2 when a file cannot be read.
    """
    if output not in ("", "json", "yaml"):
        raise typer.BadParameter(f"{output} is neither json nor yaml", param_hint="--output")
    sources = [*(filename or ()), *(files or ())]
    if not sources:
        raise typer.BadParameter("a file is needed", param_hint="--filename")
    try:
        verdicts = [verdict(document) for source in sources for document in documents(source)]
    except UsageError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    if output:
        print_entries([entry(found) for found in verdicts], "json" if output == "json" else "yaml")
    else:
        print_lines(verdicts)
    raise typer.Exit(1 if any(found.errors for found in verdicts) else 0)


def documents(source: str) -> Iterable[Document]:
    """The objects of a file, of all manifests below a folder (by name), or of standard input."""
    if source == "-":
        return manifest.loads(sys.stdin.read(), "-")
    if Path(source).is_dir():
        found = sorted(path for path in Path(source).rglob("*") if path.suffix in SUFFIXES)
        return [document for path in found for document in manifest.load(path)]
    return manifest.load(Path(source))


def verdict(document: Document) -> Verdict:
    """What is wrong with one object."""
    errors = [(problem.path, problem.reason, problem.line) for problem in document.problems]
    report = inspect(document.object)
    known = {path for path, _, _ in errors}
    if not any(not problem.path for problem in document.problems):  # else it could not be read at all
        found = [error for error in report.errors if error.path not in known]
        errors += [(error.path, error.reason, document.line_of(error.path)) for error in found]
    warnings = [(warned.path, warned.reason, document.line_of(warned.path)) for warned in report.warnings]
    return Verdict(document, errors, warnings)


def name_of(obj: Mapping[str, Any]) -> str:
    """ "Kind namespace/name"; an object without a namespace is in `default`."""
    meta = obj.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    name = meta.get("name")
    shown = name if isinstance(name, str) else json.dumps(name) if name is not None else ""
    return f"{obj.get('kind', '')} {meta.get('namespace') or 'default'}/{shown}"


def entry(found: Verdict) -> dict[str, Any]:
    """The machine-readable form of a verdict."""
    errors = [{"path": path, "reason": reason, "line": line} for path, reason, line in found.errors]
    return {"object": name_of(found.document.object), "valid": not errors, "errors": errors}


def print_entries(entries: list[dict[str, Any]], form: Literal["json", "yaml"]) -> None:
    """Prints entries as JSON or YAML."""
    if form == "json":
        typer.echo(json.dumps(entries, indent=1, ensure_ascii=False))
    else:
        import yaml

        typer.echo(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), nl=False)


def print_lines(verdicts: list[Verdict]) -> None:
    """Prints file:line, object, field and reason of each finding, then a summary."""
    for found in verdicts:
        name = name_of(found.document.object)
        for word, findings in (("error", found.errors), ("warning", found.warnings)):
            for path, reason, line in findings:
                field = f" {path}:" if path else ""
                typer.echo(f"{found.document.file}:{line}: {word}: {name}:{field} {reason}")
    invalid = sum(1 for found in verdicts if found.errors)
    warned = sum(1 for found in verdicts if found.warnings and not found.errors)
    typer.echo(f"{len(verdicts)} objects: {len(verdicts) - invalid} valid ({warned} with warnings), {invalid} invalid")
