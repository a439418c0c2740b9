"""What a real Envoy refuses is blamed on the object that made it, and forgiven when that is mended."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mizzen.istiod.status.blame import Blame, blames
from mizzen.istiod.xds.types import CDS, LDS, RDS
from tests.interop.test_istiod_real_envoy import CASES, istiod_on, node_of, proxies, settled
from tests.support.poll import until
from tests.support.real_envoy import Envoy
from tests.support.sds_server import SdsServer

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare"),
]

FILTER = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}, namespace: bookshop}}
spec:
  configPatches:
  - applyTo: {apply_to}
    match: {{context: SIDECAR_OUTBOUND{match}}}
    patch: {{operation: {operation}, value: {value}}}
"""
BAD_CLUSTER = FILTER.format(
    name="bad-cluster", apply_to="CLUSTER", match="", operation="MERGE", value='{connect_timeout: "-1s"}'
)
BAD_LISTENER = FILTER.format(
    name="bad-listener",
    apply_to="HTTP_FILTER",
    match="",
    operation="INSERT_FIRST",
    value='{name: buffer, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer}}',
)
BAD_ROUTE = FILTER.format(
    name="bad-route",
    apply_to="HTTP_ROUTE",
    match="",
    operation="MERGE",
    value="{route: {max_stream_duration: {}, hash_policy: [{}]}}",
)
HARMLESS = FILTER.format(
    name="a-harmless", apply_to="CLUSTER", match="", operation="MERGE", value='{connect_timeout: "9s"}'
)


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "whole"])
async def test_each_refusal_has_its_cause(delta: bool, tmp_path: Path) -> None:
    config, socket, folder = tmp_path / "config", tmp_path / "xds.sock", tmp_path / "envoy"
    config.mkdir()
    folder.mkdir()
    shutil.copy(CASES / "bookshop-baseline" / "input.yaml", config)
    (config / "harmless.yaml").write_text(HARMLESS)
    proxy = next(p for p in proxies("bookshop-baseline") if p["name"] == "storefront")
    node_id, metadata = node_of(proxy)
    istiod = istiod_on(config, socket)
    try:
        await istiod.start()
        identity = f"spiffe://cluster.local/ns/{proxy['namespace']}/sa/{metadata['SERVICE_ACCOUNT']}"
        async with (
            SdsServer(folder / "sds.sock", istiod.authority, identity),
            Envoy(folder, socket, node_id, metadata, delta=delta) as envoy,
        ):
            await settled(istiod, envoy)
            found: dict[str, Blame] = {}

            def blamed(type_url: str) -> bool:
                found.update({one.type_url: one for _, one in blames(istiod.hub)})
                return type_url in found

            for name, text, type_url in (
                ("bad-cluster", BAD_CLUSTER, CDS),
                ("bad-listener", BAD_LISTENER, LDS),
                ("bad-route", BAD_ROUTE, RDS),
            ):
                (config / f"{name}.yaml").write_text(text)
                await until(lambda type_url=type_url: blamed(type_url), f"a refusal of {name}")  # type: ignore[misc]
                assert found[type_url].objects == (("EnvoyFilter", ("bookshop", name)),), found[type_url]
                (config / f"{name}.yaml").unlink()
                await until(lambda: not list(blames(istiod.hub)), f"{name} to be forgiven")
            assert istiod.metrics.get("pilot_total_xds_rejects", type="cds") >= 1
            proxy_name = f"{proxy['pod']}.{proxy['namespace']}"
            assert istiod.metrics.get("pilot_xds_lds_reject", node=proxy_name, err="Internal") >= 1
    finally:
        await istiod.stop()
