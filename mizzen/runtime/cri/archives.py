"""Image archives on disk: OCI layouts (a directory or a tar) and docker archives (`docker save`), read and unpacked.

`archives` reads what images a folder holds; `unpack` lays their layers out as overlay directories (whiteouts become
overlay's own: a 0/0 character device, `trusted.overlay.opaque`). A layer is unpacked once, by its digest.
Source: OCI image specification 1.1 (layout, layer whiteouts); Docker image specification 1.2 (manifest.json).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

Reader = Callable[[str], bytes]
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


class Archive(msgspec.Struct, frozen=True):
    """One image in an archive: its id, names, configuration and where its layers' blobs are (path inside)."""

    source: Path
    id: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    layers: tuple[str, ...]
    size: int


def _reader(source: Path) -> Reader:
    if source.is_dir():
        return lambda name: (source / name).read_bytes()

    def read(name: str) -> bytes:
        with tarfile.open(source) as tar:
            member = tar.extractfile(name)
            if member is None:
                raise KeyError(name)
            return member.read()

    return read


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _oci(source: Path, read: Reader) -> list[Archive]:
    found = []
    for entry in json.loads(read("index.json"))["manifests"]:
        manifest = json.loads(read(_blob(entry["digest"])))
        if "manifests" in manifest:  # an index of platforms: take this machine's kind
            wanted = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
            fits = [m for m in manifest["manifests"] if m.get("platform", {}).get("architecture") == wanted]
            if not fits:
                continue
            manifest = json.loads(read(_blob(fits[0]["digest"])))
        notes = entry.get("annotations", {})
        name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or source.stem
        layers = tuple(_blob(layer["digest"]) for layer in manifest["layers"])
        config = json.loads(read(_blob(manifest["config"]["digest"])))
        size = sum(layer.get("size", 0) for layer in manifest["layers"])
        found.append(Archive(source, manifest["config"]["digest"], (name,), config, layers, size))
    return found


def _docker(source: Path, read: Reader) -> list[Archive]:
    found = []
    for entry in json.loads(read("manifest.json")):
        name = Path(entry["Config"]).name.removesuffix(".json")
        config = json.loads(read(entry["Config"]))
        tags = tuple(entry.get("RepoTags") or (source.stem,))
        found.append(Archive(source, f"sha256:{name}", tags, config, tuple(entry["Layers"]), source.stat().st_size))
    return found


def archives(folder: Path) -> list[Archive]:
    """Every image under folder; what is neither form of archive is passed over."""
    found: list[Archive] = []
    for source in sorted(folder.iterdir()):
        for form in (_docker, _oci):
            try:
                images = form(source, _reader(source))
            except (OSError, KeyError, ValueError, tarfile.TarError):
                continue
            found += images
            break
    return found


def _place(root: Path, name: str) -> Path:
    """Where a member goes; raises ValueError for one that would leave root."""
    parts = [part for part in Path(name).parts if part not in ("/", ".")]
    if ".." in parts:
        raise ValueError(f"layer member {name!r} leaves the image")
    where = root
    for part in parts[:-1]:
        where /= part
        if where.is_symlink():
            raise ValueError(f"layer member {name!r} goes through a symbolic link")
    return root.joinpath(*parts)


def _lay_out(tar: tarfile.TarFile, root: Path) -> None:
    for member in tar:
        path = _place(root, member.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        base = path.name
        if base == OPAQUE:
            os.setxattr(path.parent, "trusted.overlay.opaque", b"y")
        elif base.startswith(WHITEOUT):
            os.mknod(path.with_name(base.removeprefix(WHITEOUT)), stat.S_IFCHR | 0o600, os.makedev(0, 0))
        else:
            if member.islnk():
                _place(root, member.linkname)
            if path.is_symlink() or path.is_file():
                path.unlink()
            tar.extract(member, root, numeric_owner=True, filter="fully_trusted")


def unpack(archive: Archive, directory: Path) -> list[str]:
    """The image's layer directories under directory, lowest first; missing ones are unpacked."""
    read = _reader(archive.source)
    found = []
    for layer in archive.layers:
        name = layer.removeprefix("blobs/sha256/").replace("/", "_")
        target = directory / name
        if not target.exists():
            directory.mkdir(parents=True, exist_ok=True)
            fresh = directory / f"{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            data = read(layer)
            if data[:2] == b"\x1f\x8b":
                data = gzip.decompress(data)
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                _lay_out(tar, fresh)
            fresh.rename(target)
        found.append(str(target))
    return found
