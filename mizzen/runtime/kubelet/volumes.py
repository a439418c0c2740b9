"""Volumes of a pod: made on the node before its containers, kept fresh, taken away after.

Built in: emptyDir (disk or memory), hostPath, configMap, secret, projected (with serviceAccountToken), downwardAPI.
Every other kind is refused by name. `payload` is what a file volume holds (pure but for the token, which is handed in);
`Volumes` writes and mounts.
Source: Kubernetes' volume kinds; files change all at once by a link named `..data`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mizzen.api.quantities import whole
from mizzen.cni.netns import mount, umount
from mizzen.kube.resource import Object
from mizzen.runtime.kubelet.environment import Lookup, Missing
from mizzen.runtime.kubelet.fields import Facts, field, resource

BUILT_IN = ("emptyDir", "hostPath", "configMap", "secret", "projected", "downwardAPI")
DEFAULT_MODE = 0o644
DEFAULT_TOKEN_SECONDS = 3600


class VolumeError(Exception):
    """A volume cannot be made (FailedMount)."""


class File(NamedTuple):
    """One file of a volume: content and mode."""

    data: bytes
    mode: int


class TokenSource(NamedTuple):
    """A projected service account token: audience ("" is the API server's), lifetime in seconds."""

    audience: str
    seconds: int


Files = dict[str, File]
Tokens = Mapping[TokenSource, str]


def kind_of(volume: dict[str, Any]) -> str:
    """The one source of a volume; emptyDir when there is none."""
    return next((key for key in volume if key != "name"), "emptyDir")


def token_sources(pod: Object) -> set[TokenSource]:
    """The tokens that the pod's projected volumes hold."""
    found = set()
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (token := source.get("serviceAccountToken")) is not None:
                found.add(_token(token))
    return found


def _token(source: dict[str, Any]) -> TokenSource:
    return TokenSource(source.get("audience") or "", source.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS)


def tell_address(pod: Object) -> bool:
    """Whether a volume has a file with the pod's own address, which is known once its sandbox is there."""
    for volume in pod["spec"].get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        items = [item for source in sources for item in (source.get("downwardAPI") or {}).get("items") or ()]
        if any((item.get("fieldRef") or {}).get("fieldPath") in ("status.podIP", "status.podIPs") for item in items):
            return True
    return False


def references(pod: Object) -> set[tuple[str, str]]:
    """(kind, name) of every ConfigMap and Secret that the volumes name."""
    found: set[tuple[str, str]] = set()
    for volume in pod["spec"].get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            if (config := source.get("configMap")) is not None:
                found.add(("ConfigMap", config.get("name", "")))
            if (secret := source.get("secret")) is not None:
                found.add(("Secret", secret.get("secretName") or secret.get("name", "")))
    return found


def _mode(holder: dict[str, Any], key: str, default: int) -> int:
    """A mode of its own, which may be 0."""
    value = holder.get(key)
    return default if value is None else int(value)


def _keyed(kind: str, source: dict[str, Any], lookup: Lookup, mode: int) -> Files:
    """The files of a configMap or secret source."""
    name = source.get("secretName") or source.get("name", "")
    found = lookup(kind, name)
    if found is None:
        if source.get("optional"):
            return {}
        raise Missing(f'{kind.lower()} "{name}" not found')
    data = found.get("data") or {}
    contents = {key: base64.b64decode(v) if kind == "Secret" else v.encode() for key, v in data.items()}
    if kind == "ConfigMap":
        contents.update({key: base64.b64decode(v) for key, v in (found.get("binaryData") or {}).items()})
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in contents.items()}
    files: Files = {}
    for item in items:
        if item["key"] in contents:
            files[item["path"]] = File(contents[item["key"]], _mode(item, "mode", mode))
        elif not source.get("optional"):
            raise Missing(f"references non-existent {kind.lower()} key: {item['key']}")
    return files


def _downward(pod: Object, items: list[dict[str, Any]], facts: Facts, mode: int) -> Files:
    files: Files = {}
    for item in items:
        if "fieldRef" in item:
            text = field(pod, item["fieldRef"]["fieldPath"], facts)
        else:
            text = resource(pod, item["resourceFieldRef"], {}, facts)
        files[item["path"]] = File(text.encode(), _mode(item, "mode", mode))
    return files


def payload(pod: Object, volume: dict[str, Any], lookup: Lookup, facts: Facts, tokens: Tokens) -> Files | None:
    """The files of a volume; None for a kind that holds none of ours. Raises Missing, VolumeError, UnknownField."""
    kind = kind_of(volume)
    source = volume.get(kind) or {}
    mode = _mode(source, "defaultMode", DEFAULT_MODE)
    if kind in ("configMap", "secret"):
        return _keyed("ConfigMap" if kind == "configMap" else "Secret", source, lookup, mode)
    if kind == "downwardAPI":
        return _downward(pod, source.get("items") or [], facts, mode)
    if kind != "projected":
        return None
    files: Files = {}
    for part in source.get("sources") or ():
        if "configMap" in part:
            files |= _keyed("ConfigMap", part["configMap"], lookup, mode)
        elif "secret" in part:
            files |= _keyed("Secret", part["secret"], lookup, mode)
        elif "downwardAPI" in part:
            files |= _downward(pod, part["downwardAPI"].get("items") or [], facts, mode)
        elif "serviceAccountToken" in part:
            token = part["serviceAccountToken"]
            files[token["path"]] = File(tokens[_token(token)].encode(), _token_mode(pod, mode))
        else:
            raise VolumeError(f"projected volume {volume['name']}: source {kind_of(part)} is not supported")
    return files


def _fs_group(pod: Object) -> int | None:
    value = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if value is None else int(value)


def _token_mode(pod: Object, mode: int) -> int:
    return 0o600 if _fs_group(pod) is not None else mode


def write_files(directory: Path, files: Files, group: int | None = None) -> bool:
    """Make a directory hold exactly these files, all at once; False when it does already. group: owner, made readable."""
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise VolumeError(f"path {name!r} leaves the volume")
    data = directory / "..data"
    if data.is_dir() and _same(data, files):
        return False
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.monotonic_ns()}"
    fresh.mkdir(mode=0o755)
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        mode = file.mode if group is None else file.mode | 0o440
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(mode)
    old = data.readlink() if data.is_symlink() else None
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(data)
    wanted = {name.split("/")[0] for name in files}
    for name in wanted:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.name not in wanted:
            path.unlink()
    if old is not None:
        shutil.rmtree(directory / old, ignore_errors=True)
    return True


def _same(data: Path, files: Files) -> bool:
    there = {str(path.relative_to(data.resolve())) for path in data.resolve().rglob("*") if path.is_file()}
    return there == set(files) and all((data / name).read_bytes() == file.data for name, file in files.items())


HOST_PATH_CHECKS: dict[str, Callable[[int], bool]] = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def host_path(source: dict[str, Any]) -> str:
    """The path of a hostPath volume, made when its type says so. Raises VolumeError."""
    path, kind = source["path"], source.get("type") or ""
    with contextlib.suppress(FileExistsError):
        if kind == "DirectoryOrCreate":
            os.makedirs(path, 0o755)
        elif kind == "FileOrCreate" and not os.path.exists(path):
            Path(path).touch(0o644)
    kind = kind.removesuffix("OrCreate")
    if kind in HOST_PATH_CHECKS:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise VolumeError(f"hostPath type check failed: {path}: {error.strerror}") from error
        if not HOST_PATH_CHECKS[kind](mode):
            raise VolumeError(f"hostPath type check failed: {path} is not a {kind}")
    return str(path)


class Volumes:
    """The volumes of one pod under its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "volumes"

    def path(self, volume: dict[str, Any]) -> Path:
        """Where a volume is on the node."""
        kind = kind_of(volume)
        if kind == "hostPath":
            return Path(volume["hostPath"]["path"])
        name: str = volume["name"]
        return self.directory / kind / name

    def make(self, pod: Object, lookup: Lookup, facts: Facts, tokens: Tokens) -> None:
        """Make all volumes. Raises VolumeError, Missing, UnknownField; doing it again is fine."""
        for volume in pod["spec"].get("volumes") or ():
            kind = kind_of(volume)
            if kind not in BUILT_IN:
                raise VolumeError(f'volume "{volume["name"]}": {kind} is not supported by this node')
            if kind == "hostPath":
                host_path(volume["hostPath"])
            elif kind == "emptyDir":
                self._empty_dir(volume, _fs_group(pod))
            else:
                self._write(pod, volume, lookup, facts, tokens)

    def refresh(self, pod: Object, lookup: Lookup, facts: Facts, tokens: Tokens) -> None:
        """Write the file volumes anew where they have changed; what has gone meanwhile stays as it was."""
        for volume in pod["spec"].get("volumes") or ():
            if kind_of(volume) in ("configMap", "secret", "projected", "downwardAPI"):
                with contextlib.suppress(Missing):
                    self._write(pod, volume, lookup, facts, tokens)

    def _write(self, pod: Object, volume: dict[str, Any], lookup: Lookup, facts: Facts, tokens: Tokens) -> None:
        files = payload(pod, volume, lookup, facts, tokens)
        if files is not None:
            write_files(self.path(volume), files, _fs_group(pod))

    def _empty_dir(self, volume: dict[str, Any], group: int | None) -> None:
        path = self.path(volume)
        if path.exists():
            return
        path.mkdir(parents=True)
        source = volume.get("emptyDir") or {}
        if source.get("medium") == "Memory":
            size = f",size={whole(source['sizeLimit'])}" if source.get("sizeLimit") else ""
            mount("tmpfs", str(path), "tmpfs", 0, f"mode=0777{size}")
        elif source.get("medium"):
            raise VolumeError(f'volume "{volume["name"]}": emptyDir.medium {source["medium"]!r} is not supported')
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(0o2777 if group is not None else 0o777)

    def remove(self) -> None:
        """Unmount and delete all; what is a bind of the host's is not touched."""
        for path in self._mounts():
            umount(str(path))
        shutil.rmtree(self.directory, ignore_errors=True)

    def _mounts(self) -> Iterator[Path]:
        folder = self.directory / "emptyDir"
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if os.path.ismount(path))


def sub_path(root: Path, sub: str) -> Path:
    """A subPath inside a volume, made as a directory when absent. Raises VolumeError when it would leave the volume."""
    if sub.startswith("/") or ".." in sub.split("/"):
        raise VolumeError(f"subPath {sub!r} must be relative and must not contain '..'")
    path: Path = root / sub
    # Before anything is made: a container may have put a link there, and we are root. A link made in between still wins.
    if not path.resolve().is_relative_to(root.resolve()):
        raise VolumeError(f"subPath {sub!r} leaves its volume")
    if not path.exists():
        path.resolve().mkdir(parents=True, mode=0o750)
    return path
