"""Pod networks for the runtime: calls the CNI plugins of the first configuration in a directory.

Our own plugins (`mizzen`, `mizzen-istio`) are called in-process: the same functions as the executable's, without 50 ms of
interpreter start each; every other type is executed as the CNI specification says.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from mizzen.cni import plugin

CNI_VERSION = "1.0.0"


class NetworkError(Exception):
    """A plugin refused; the text is its message."""


class Network:
    """A CNI runtime. conf_dir: where *.conflist lie; bin_dirs: where other plugins' executables are."""

    def __init__(self, conf_dir: Path, bin_dirs: list[Path]) -> None:
        self.conf_dir, self.bin_dirs = conf_dir, bin_dirs

    def configuration(self) -> dict[str, Any]:
        """The first network in the directory, by file name. Raises NetworkError."""
        names = sorted(p for p in self.conf_dir.glob("*") if p.suffix in (".conflist", ".conf", ".json"))
        for path in names:
            conf = json.loads(path.read_text())
            return conf if "plugins" in conf else {**conf, "plugins": [conf]}
        raise NetworkError(f"no network configuration in {self.conf_dir}")

    async def _call(self, command: str, conf: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        if conf["type"] in plugin.OURS:
            try:
                # In a thread: the kernel waits for every CPU before a veth is gone, and rules take a process.
                return await asyncio.to_thread(plugin.call, command, conf, env) or {}
            except (plugin.CniError, OSError, ValueError) as error:
                raise NetworkError(f"{conf['type']}: {error}") from error
        return await self._execute(command, conf, env)

    async def _execute(self, command: str, conf: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        for directory in self.bin_dirs:
            if (path := directory / conf["type"]).exists():
                break
        else:
            raise NetworkError(f"plugin {conf['type']!r} is in none of {', '.join(map(str, self.bin_dirs))}")
        search = ":".join(map(str, self.bin_dirs))
        process = await asyncio.create_subprocess_exec(
            str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **env, "CNI_COMMAND": command, "CNI_PATH": search},
        )  # fmt: skip
        out, err = await process.communicate(json.dumps(conf).encode())
        if process.returncode:
            try:
                message = json.loads(out).get("msg", "")
            except ValueError:
                message = err.decode(errors="replace")
            raise NetworkError(f"{conf['type']}: {message.strip()}")
        return json.loads(out) if out.strip() else {}

    def _environment(self, sandbox: str, netns: str, pod: dict[str, str]) -> dict[str, str]:
        args = {"IgnoreUnknown": "1", **pod, "K8S_POD_INFRA_CONTAINER_ID": sandbox}
        joined = ";".join(f"{key}={value}" for key, value in args.items())
        return {"CNI_CONTAINERID": sandbox, "CNI_NETNS": netns, "CNI_IFNAME": "eth0", "CNI_ARGS": joined}

    def _plugins(self, conf: dict[str, Any]) -> list[dict[str, Any]]:
        shared = {"cniVersion": conf.get("cniVersion", CNI_VERSION), "name": conf["name"]}
        return [{**item, **shared} for item in conf["plugins"]]

    async def add(
        self, sandbox: str, netns: str, pod: dict[str, str], port_mappings: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """ADD through the chain; the last result. What a failed chain had added is taken back."""
        conf = self.configuration()
        env = self._environment(sandbox, netns, pod)
        result: dict[str, Any] = {}
        try:
            for item in self._plugins(conf):
                chained = {**item, "prevResult": result} if result else item
                if item.get("capabilities", {}).get("portMappings") and port_mappings:
                    chained = {**chained, "runtimeConfig": {"portMappings": port_mappings}}
                result = await self._call("ADD", chained, env)
        except NetworkError:
            await self.delete(sandbox, netns, pod)
            raise
        return result

    async def delete(self, sandbox: str, netns: str, pod: dict[str, str]) -> None:
        """DEL through the chain, last plugin first; idempotent."""
        conf = self.configuration()
        env = self._environment(sandbox, netns, pod)
        for item in reversed(self._plugins(conf)):
            await self._call("DEL", item, env)
