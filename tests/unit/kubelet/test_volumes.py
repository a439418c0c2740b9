"""What file volumes hold, how files change all at once, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from mizzen.runtime.kubelet.environment import Missing
from mizzen.runtime.kubelet.fields import Facts
from mizzen.runtime.kubelet.volumes import (
    File,
    TokenSource,
    VolumeError,
    Volumes,
    host_path,
    kind_of,
    payload,
    references,
    sub_path,
    token_sources,
    write_files,
)
from tests.unit.kubelet.pods import pod

FACTS = Facts("node1", "10.0.0.9", ("10.1.0.2",), {"cpu": "4"})
OBJECTS: dict[tuple[str, str], Any] = {
    ("ConfigMap", "conf"): {"data": {"k": "v"}, "binaryData": {"b": base64.b64encode(b"\0\1").decode()}},
    ("Secret", "sec"): {"data": {"p": base64.b64encode(b"hush").decode()}},
}


def lookup(kind: str, name: str) -> Any:
    return OBJECTS.get((kind, name))


def files(kind: str, source: dict[str, Any], **spec: Any) -> dict[str, tuple[bytes, int]] | None:
    tokens = {TokenSource("istio-ca", 600): "tok"}
    found = payload(pod("a", **spec), {"name": "v", kind: source}, lookup, FACTS, tokens)
    return None if found is None else {name: (file.data, file.mode) for name, file in found.items()}


TOKEN = {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 600, "path": "token"}}
POD_IP = {"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}}


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("configMap", {"name": "conf"}, {"k": (b"v", 0o644), "b": (b"\0\1", 0o644)}),
        ("configMap", {"name": "conf", "defaultMode": 0o400, "items": [{"key": "k", "path": "x/y"}]}, {"x/y": (b"v", 0o400)}),
        ("configMap", {"name": "conf", "items": [{"key": "k", "path": "y", "mode": 0o600}]}, {"y": (b"v", 0o600)}),
        ("configMap", {"name": "conf", "items": [{"key": "k", "path": "y", "mode": 0}]}, {"y": (b"v", 0)}),
        ("configMap", {"name": "conf", "defaultMode": 0, "items": [{"key": "k", "path": "y"}]}, {"y": (b"v", 0)}),
        ("configMap", {"name": "none", "optional": True}, {}),
        ("configMap", {"name": "conf", "optional": True, "items": [{"key": "none", "path": "y"}]}, {}),
        ("secret", {"secretName": "sec"}, {"p": (b"hush", 0o644)}),
        ("downwardAPI", {"items": [POD_IP]}, {"ip": (b"10.1.0.2", 0o644)}),
        ("projected", {"sources": [TOKEN, {"secret": {"name": "sec"}}, {"downwardAPI": {"items": [POD_IP]}}]},
         {"token": (b"tok", 0o644), "p": (b"hush", 0o644), "ip": (b"10.1.0.2", 0o644)}),
        ("emptyDir", {}, None),
    ],
)  # fmt: skip
def test_payload(kind: str, source: dict[str, Any], expected: Any) -> None:
    assert files(kind, source) == expected


def test_a_token_is_its_groups_alone() -> None:
    assert files("projected", {"sources": [TOKEN]}, securityContext={"fsGroup": 5}) == {"token": (b"tok", 0o600)}


@pytest.mark.parametrize(
    ("kind", "source", "error", "text"),
    [
        ("configMap", {"name": "none"}, Missing, 'configmap "none" not found'),
        ("secret", {"secretName": "sec", "items": [{"key": "z", "path": "z"}]}, Missing, "non-existent secret key: z"),
        ("projected", {"sources": [{"clusterTrustBundle": {}}]}, VolumeError, "clusterTrustBundle is not supported"),
    ],
)
def test_what_cannot_be_made(kind: str, source: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        files(kind, source)


def test_readings() -> None:
    volumes = [
        {"name": "a", "configMap": {"name": "conf"}},
        {
            "name": "b",
            "projected": {"sources": [TOKEN, {"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "s"}}]},
        },
        {"name": "c", "secret": {"secretName": "sec"}},
    ]
    spec = pod("a", volumes=volumes)
    assert references(spec) == {("ConfigMap", "conf"), ("Secret", "s"), ("Secret", "sec")}
    assert token_sources(spec) == {TokenSource("istio-ca", 600), TokenSource("", 3600)}
    assert (kind_of(volumes[0]), kind_of({"name": "x"})) == ("configMap", "emptyDir")


def read(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.relative_to(directory).parts[0].startswith("..")
    } | {
        f"{link.name}/{path.relative_to(link)}": path.read_text()
        for link in directory.iterdir()
        if link.is_symlink() and link.is_dir() and not link.name.startswith("..")
        for path in link.rglob("*")
        if path.is_file()
    }


def test_files_change_all_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    first = {"a": File(b"1", 0o600), "d/e": File(b"2", 0o644)}
    assert write_files(directory, first)
    assert read(directory) == {"a": "1", "d/e": "2"}
    assert (directory / "a").stat().st_mode & 0o777 == 0o600
    before = (directory / "..data").readlink()
    assert not write_files(directory, first)
    assert write_files(directory, {"a": File(b"3", 0o644), "f": File(b"4", 0o644)})
    assert read(directory) == {"a": "3", "f": "4"}
    assert not (directory / before).exists()
    assert write_files(directory, {})
    assert read(directory) == {}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x"])
def test_a_file_stays_in_its_volume(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeError, match="leaves the volume"):
        write_files(tmp_path / "v", {name: File(b"", 0o644)})


def test_sub_paths(tmp_path: Path) -> None:
    assert sub_path(tmp_path, "a/b").is_dir()
    (tmp_path / "out").symlink_to("/")
    for bad in ("/abs", "../x", "out/etc"):
        with pytest.raises(VolumeError):
            sub_path(tmp_path, bad)


def test_a_sub_path_through_a_link_makes_nothing_outside(tmp_path: Path) -> None:
    volume, outside = tmp_path / "v", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "out").symlink_to(outside)
    with pytest.raises(VolumeError, match="leaves its volume"):
        sub_path(volume, "out/new")
    assert list(outside.iterdir()) == []


def test_host_paths(tmp_path: Path) -> None:
    file, folder = tmp_path / "f", tmp_path / "d"
    host_path({"path": str(file), "type": "FileOrCreate"})
    host_path({"path": str(folder), "type": "DirectoryOrCreate"})
    assert file.is_file()
    assert folder.is_dir()
    assert host_path({"path": "/no/such"}) == "/no/such"
    for source in ({"path": str(file), "type": "Directory"}, {"path": "/no/such", "type": "File"}):
        with pytest.raises(VolumeError, match="hostPath type check failed"):
            host_path(source)


def test_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    spec = pod("a", volumes=[{"name": "v", "nfs": {"server": "x", "path": "/"}}])
    with pytest.raises(VolumeError, match='volume "v": nfs is not supported'):
        Volumes(tmp_path).make(spec, lookup, FACTS, {})
