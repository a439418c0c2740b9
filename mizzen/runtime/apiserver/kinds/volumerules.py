"""Which volumes of pods are refused: one source each, names that are there, paths that stay inside."""

from __future__ import annotations

from ..errors import Problem, duplicate, forbidden_field, invalid, required, unsupported
from ..names import dns_label
from .base import Object
from .core import data_key

SOURCES = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi", "glusterfs", "flexVolume",
    "configMap", "rbd", "cinder", "cephfs", "flocker", "downwardAPI", "fc", "persistentVolumeClaim", "azureFile", "vsphereVolume", "quobyte",
    "azureDisk", "storageos", "portworxVolume", "photonPersistentDisk", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")


def validate_volumes(volumes: list[Object], path: str) -> tuple[list[Problem], dict[str, Object]]:
    """Problems of the volumes, and the volumes by name."""
    problems: list[Problem] = []
    names: dict[str, Object] = {}
    for place, one in enumerate(volumes):
        here = f"{path}[{place}]"
        found = source(one, here)
        name = one.get("name", "")
        if not name:
            found.append(required(f"{here}.name"))
        else:
            found += [invalid(f"{here}.name", name, text) for text in dns_label(name)]
        if name in names:
            found.append(duplicate(f"{here}.name", name))
        if not found or name not in names:
            names[name] = one
        problems += found
    return problems, names


def source(volume: Object, path: str, sources: tuple[str, ...] = SOURCES) -> list[Problem]:
    problems: list[Problem] = []
    count = 0
    for key in sources:
        value = volume.get(key)
        if value is None:
            continue
        if count:
            problems.append(forbidden_field(f"{path}.{key}", "may not specify more than 1 volume type"))
            continue
        count += 1
        problems += _one(key, value, f"{path}.{key}")
    if not count:
        problems.append(required(path, "must specify a volume type"))
    return problems


def _one(key: str, value: Object, path: str) -> list[Problem]:
    if key == "hostPath":
        return host_path(value, path)
    if key == "secret":
        return (
            ([] if value.get("secretName") else [required(f"{path}.secretName")])
            + _mode(value, path)
            + _items(value, path)
        )
    if key == "configMap":
        return ([] if value.get("name") else [required(f"{path}.name")]) + _mode(value, path) + _items(value, path)
    if key == "persistentVolumeClaim":
        return [] if value.get("claimName") else [required(f"{path}.claimName")]
    if key == "nfs":
        problems = [required(f"{path}.{name}") for name in ("server", "path") if not value.get(name)]
        if value.get("path") and not value["path"].startswith("/"):
            problems.append(invalid(f"{path}.path", value["path"], "must be an absolute path"))
        return problems
    if key == "emptyDir":
        from ..schema.scalars import quantity

        limit = value.get("sizeLimit")
        return (
            [forbidden_field(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
            if limit is not None and quantity(limit) < 0
            else []
        )
    if key == "csi":
        return [] if value.get("driver") else [required(f"{path}.driver")]
    if key == "projected":
        return _projected(value, path)
    if key == "downwardAPI":
        return _mode(value, path)
    if key == "ephemeral":
        return [] if value.get("volumeClaimTemplate") is not None else [required(f"{path}.volumeClaimTemplate")]
    return []


def host_path(value: Object, path: str) -> list[Problem]:
    where = value.get("path", "")
    if not where:
        return [required(f"{path}.path")]
    problems = [invalid(f"{path}.path", where, "must not contain '..'")] if ".." in where.split("/") else []
    if value.get("type") not in (None, *PATH_TYPES):
        problems.append(unsupported(f"{path}.type", value["type"], list(PATH_TYPES)))
    return problems


def _mode(value: Object, path: str) -> list[Problem]:
    mode = value.get("defaultMode")
    if mode is not None and not 0 <= mode <= 0o777:
        return [invalid(f"{path}.defaultMode", mode, "must be a number between 0 and 0777 (octal), both inclusive")]
    return []


def _items(value: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(value.get("items") or ()):
        here = f"{path}.items[{place}]"
        if not one.get("key"):
            problems.append(required(f"{here}.key"))
        else:
            problems += [invalid(f"{here}.key", one["key"], text) for text in data_key(one["key"])]
        problems += local_path(one.get("path", ""), f"{here}.path")
    return problems


def local_path(where: str, path: str) -> list[Problem]:
    if not where:
        return [required(path)]
    if where.startswith("/"):
        return [invalid(path, where, "must be a relative path")]
    if ".." in where.split("/"):
        return [invalid(path, where, "must not contain '..'")]
    return [invalid(path, where, "must not start with '..'")] if where.startswith("..") else []


def _projected(value: Object, path: str) -> list[Problem]:
    problems = _mode(value, path)
    seen: set[str] = set()
    for place, one in enumerate(value.get("sources") or ()):
        here = f"{path}.sources[{place}]"
        kinds = [
            key
            for key in (
                "secret",
                "configMap",
                "downwardAPI",
                "serviceAccountToken",
                "clusterTrustBundle",
                "podCertificate",
            )
            if one.get(key) is not None
        ]
        if not kinds:
            problems.append(required(here, "must specify a volume type"))
        for extra in kinds[1:]:
            problems.append(forbidden_field(f"{here}.{extra}", "may not specify more than 1 volume type per source"))
        token = one.get("serviceAccountToken")
        if token is not None:
            seconds = token.get("expirationSeconds", 3600)
            if seconds < 600:
                problems.append(
                    invalid(
                        f"{here}.serviceAccountToken.expirationSeconds",
                        seconds,
                        "may not specify a duration less than 10 minutes",
                    )
                )
            elif seconds > 1 << 32:
                problems.append(
                    invalid(
                        f"{here}.serviceAccountToken.expirationSeconds",
                        seconds,
                        "may not specify a duration larger than 2^32 seconds",
                    )
                )
            if not token.get("path"):
                problems.append(required(f"{here}.serviceAccountToken.path"))
            elif token["path"] in seen:
                problems.append(
                    invalid(f"{here}.serviceAccountToken.path", token["path"], "conflicting duplicate paths")
                )
            seen.add(token.get("path", ""))
        for key in ("secret", "configMap"):
            if one.get(key) is not None:
                if not one[key].get("name"):
                    problems.append(required(f"{here}.{key}.name"))
                problems += _items(one[key], f"{here}.{key}")
    return problems
