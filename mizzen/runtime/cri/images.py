"""Images: the host's own root under the names `host` and `mizzen/*`, and archives that lie under HOME/images.

An `Image` is where its layers are and what its configuration says. Nothing is ever pulled from a registry: a name that is
not here is an error that says so.
Not here: unpacking (archives.py), mounting (rootfs.py).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec

from mizzen import samples
from mizzen.runtime.cri.archives import Archive, archives, unpack


class NoImage(Exception):
    """There is no image of that name on this node."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What a container starts from. `layers`: directories, lowest first; `host`: the layers are the host's root."""

    id: str
    tags: tuple[str, ...]
    layers: tuple[str, ...] = ()
    host: bool = False
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    size: int = 1


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON = (sys.executable, "-m")
# The images that are the host's root with an entrypoint.
BUILT_IN: dict[str, tuple[str, ...]] = {
    "host": (),
    "mizzen/proxyv2": (*PYTHON, "mizzen", "agent"),
    "mizzen/samples": (sys.executable, str(samples.folder() / "apps")),
    "mizzen/mizzen": (*PYTHON, "mizzen"),
}


def canonical(name: str) -> str:
    """A reference as it is looked up: without docker.io/ and library/, with a tag; a digest stays.

    `nginx` -> `nginx:latest`, `docker.io/library/nginx:1` -> `nginx:1`, `mizzen/proxyv2` -> `mizzen/proxyv2:latest`.
    """
    name = name.removeprefix("docker.io/").removeprefix("library/")
    if "@" in name or name.startswith("sha256:"):
        return name
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def repository(name: str) -> str:
    """The reference without tag and digest."""
    name = canonical(name).partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def built_in(name: str) -> Image | None:
    """The built-in image of that name, whatever its tag."""
    repo = repository(name)
    repo = repo.removeprefix("localhost/")
    entrypoint = BUILT_IN.get(repo)
    if entrypoint is None:
        return None
    digest = hashlib.sha256(f"{repo}\n{sys.executable}".encode()).hexdigest()
    env = (f"PATH={Path(sys.executable).parent}:{PATH}", "LANG=C.UTF-8")
    return Image(
        id=f"sha256:{digest}", tags=(canonical(name),), layers=("/",), host=True, entrypoint=entrypoint, env=env
    )


class Images:
    """The images of one home."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "images"
        self.unpacked = home / "cri" / "layers"

    def _archives(self) -> list[Archive]:
        return archives(self.directory) if self.directory.is_dir() else []

    def list(self) -> list[Image]:
        """All images, the built-in ones under their tag `latest`."""
        found = [image for name in BUILT_IN if (image := built_in(name)) is not None]
        return found + [self._image(archive) for archive in self._archives()]

    def find(self, name: str) -> Image | None:
        """The image of a reference or id, not unpacked yet."""
        if (image := built_in(name)) is not None:
            return image
        wanted = canonical(name)
        for image in self.list():
            if wanted == image.id or wanted in image.tags:
                return image
        return None

    def get(self, name: str) -> Image:
        """The image of a reference, ready to be mounted. Raises NoImage."""
        if (image := built_in(name)) is not None:
            return image
        wanted = canonical(name)
        for archive in self._archives():
            image = self._image(archive)
            if wanted == image.id or wanted in image.tags:
                return msgspec.structs.replace(image, layers=tuple(unpack(archive, self.unpacked)))
        known = ", ".join(BUILT_IN)
        raise NoImage(
            f'image "{name}" is not on this node and no registry is asked: put an OCI layout or a docker archive that '
            f"carries this name into {self.directory}, or use one of {known}"
        )

    def _image(self, archive: Archive) -> Image:
        config = archive.config.get("config") or {}
        return Image(
            id=archive.id,
            tags=tuple(canonical(tag) for tag in archive.tags),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            env=tuple(config.get("Env") or ()),
            workdir=config.get("WorkingDir") or "/",
            user=config.get("User") or "",
            size=max(1, archive.size),
        )
