"""One API server of a test module's own, in the test's process, and what tests say to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mizzen.kube import Client, load
from mizzen.runtime.apiserver.server import ApiServer, Config

TOKENS = 'tok-carol,carol,uid-carol\ntok-bob,bob,uid-bob,"builders"\n'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    tokens = tmp_path / "tokens.csv"
    tokens.write_text(TOKENS)
    one = ApiServer(Config(data_dir=tmp_path / "data", secure_port=0, token_file=tokens))
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Client]:
    async with Client(load(server.kubeconfig_path)) as client:
        yield client
