"""Options of writes: dryRun, fieldManager, fieldValidation, and DeleteOptions; read from query and body, and refused when wrong.

Source: apimachinery's meta/v1 validation of CreateOptions, UpdateOptions, PatchOptions, DeleteOptions.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from .context import Ask
from .errors import Problem, bad_request, forbidden_field, invalid, refused, required, too_long, unsupported
from .requestinfo import truth
from .schema import protobuf
from .schema.decode import Decoder, Mistyped
from .schema.facts import struct

Object = dict[str, Any]


def write_options(ask: Ask, kind: str, *, apply: bool = False) -> None:
    """Checks the query of a write and notes whether it is a dry run."""
    query = ask.info.query
    if not query:
        if apply:
            raise refused("meta.k8s.io", kind, "", [required("fieldManager", "is required for apply patch")])
        return
    problems: list[Problem] = []
    manager = ask.info.first("fieldManager")
    if apply and not manager:
        problems.append(required("fieldManager", "is required for apply patch"))
    if not apply and "force" in query:
        problems.append(forbidden_field("force", "may not be specified for non-apply patch"))
    problems += _manager(manager)
    problems += _dry_run(query.get("dryRun"))
    validation = ask.info.first("fieldValidation")
    if validation not in ("", "Ignore", "Warn", "Strict"):
        problems.append(unsupported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    if problems:
        raise refused("meta.k8s.io", kind, "", problems)
    ask.dry_run = bool(query.get("dryRun"))


def _manager(name: str) -> list[Problem]:
    found = [too_long("fieldManager", 128)] if len(name.encode()) > 128 else []
    for place, letter in enumerate(name):
        if not letter.isprintable():
            shown = '"' + "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in name) + '"'
            text = f"Invalid value: {shown}: invalid character U+{ord(letter):04X} (at position {place})"
            return [*found, Problem("fieldManager", "FieldValueInvalid", text)]
    return found


def _dry_run(values: list[str] | None) -> list[Problem]:
    if values and (set(values) - {"All"} or len(values) > 1):
        return [unsupported("dryRun", values, ["All"])]
    return []


def manager_name(ask: Ask) -> str:
    return ask.info.first("fieldManager") or ask.agent


def delete_options(ask: Ask) -> Object:
    """DeleteOptions of body and query together."""
    out: Object = {}
    body = ask.request.body
    if body.strip():
        try:
            tree = (
                yaml.safe_load(body)
                if "yaml" in ask.request.headers.get("content-type", "")
                else msgspec.json.decode(body)
            )
            out = Decoder().object(struct("meta/v1.DeleteOptions"), tree)
        except (msgspec.DecodeError, yaml.YAMLError, Mistyped, protobuf.Malformed, UnicodeDecodeError) as error:
            raise bad_request(f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: {error}') from None
        kind = out.get("kind") or "DeleteOptions"
        if kind != "DeleteOptions":
            raise bad_request(
                f'{kind} in version "v1" cannot be handled as a DeleteOptions: no kind "{kind}" is registered'
            )
    else:
        _from_query(ask, out)
    ask.dry_run = bool(out.get("dryRun"))
    problems = _check_delete(out)
    if problems:
        raise refused("meta.k8s.io", "DeleteOptions", "", problems)
    return out


def _from_query(ask: Ask, out: Object) -> None:
    query = ask.info.query
    if "dryRun" in query:
        out["dryRun"] = query["dryRun"]
    if "propagationPolicy" in query:
        out["propagationPolicy"] = ask.info.first("propagationPolicy")
    if "gracePeriodSeconds" in query:
        try:
            out["gracePeriodSeconds"] = int(ask.info.first("gracePeriodSeconds"))
        except ValueError:
            text = ask.info.first("gracePeriodSeconds")
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if "orphanDependents" in query:
        out["orphanDependents"] = truth(ask.info.first("orphanDependents"))


def _check_delete(out: Object) -> list[Problem]:
    problems = []
    policy = out.get("propagationPolicy")
    if policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        problems.append(unsupported("propagationPolicy", policy, ["Foreground", "Background", "Orphan", "nil"]))
    if policy is not None and out.get("orphanDependents") is not None:
        problems.append(
            invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
        )
    return problems + _dry_run(out.get("dryRun"))
