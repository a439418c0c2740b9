"""Image names: how they are read, what is built in, and what an unknown one is answered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mizzen.runtime.cri.images import BUILT_IN, Images, NoImage, built_in, canonical, repository


@pytest.mark.parametrize(
    ("name", "full", "repo"),
    [
        ("nginx", "nginx:latest", "nginx"),
        ("nginx:1.27", "nginx:1.27", "nginx"),
        ("docker.io/library/nginx:1", "nginx:1", "nginx"),
        ("docker.io/mizzen/proxyv2", "mizzen/proxyv2:latest", "mizzen/proxyv2"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app"),
        ("localhost:5000/app:2", "localhost:5000/app:2", "localhost:5000/app"),
        ("app@sha256:00", "app@sha256:00", "app"),
        ("app:1@sha256:00", "app:1@sha256:00", "app"),
    ],
)
def test_names(name: str, full: str, repo: str) -> None:
    assert (canonical(name), repository(name)) == (full, repo)


@pytest.mark.parametrize(
    "name", ["host", "host:any", "mizzen/proxyv2:1.2", "docker.io/mizzen/samples", "localhost/host"]
)
def test_built_in_whatever_the_tag(name: str, tmp_path: Path) -> None:
    image = Images(tmp_path).get(name)
    assert image.host
    assert image.layers == ("/",)
    assert image.tags == (canonical(name),)


def test_the_proxy_image_starts_the_agent() -> None:
    image = built_in("mizzen/proxyv2:x")
    assert image is not None
    assert image.entrypoint == (sys.executable, "-m", "mizzen", "agent")


def test_the_list_has_the_built_in_ones(tmp_path: Path) -> None:
    assert [image.tags[0] for image in Images(tmp_path).list()] == [f"{name}:latest" for name in BUILT_IN]


@pytest.mark.parametrize("name", ["nginx", "mizzen/nothing", "registry.example/host"])
def test_an_unknown_image_says_what_to_do(name: str, tmp_path: Path) -> None:
    images = Images(tmp_path)
    assert images.find(name) is None
    with pytest.raises(NoImage) as caught:
        images.get(name)
    for part in (f'"{name}"', "no registry is asked", str(tmp_path / "images"), "mizzen/samples"):
        assert part in str(caught.value)
