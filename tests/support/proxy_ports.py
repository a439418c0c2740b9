"""Where a proxy that was told to choose its ports listens."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp


def admin_port(path: Path) -> int:
    """Of the file that --admin-address-path names; 0 while there is none."""
    return int(path.read_text().rpartition(":")[2] or 0) if path.exists() else 0


async def listener_ports(session: aiohttp.ClientSession, admin: int, count: int) -> dict[str, int]:
    """By the listeners' names, once there are so many."""
    ports: dict[str, int] = {}
    async with asyncio.timeout(20):
        while len(ports) < count:
            async with session.get(f"http://127.0.0.1:{admin}/listeners?format=json") as answer:
                statuses = json.loads(await answer.text()).get("listener_statuses", ())
            ports = {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in statuses}
            await asyncio.sleep(0.02)
    return ports
