"""The injection settings in force: from the ConfigMap, live, and the last good ones when it is broken."""

from __future__ import annotations

from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.server.injection import InjectionSettings


def config_map(**data: str) -> dict[str, object]:
    meta = {"name": "istio-sidecar-injector", "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def test_settings_follow_their_sources() -> None:
    store, meshes = ConfigStore(), [MeshConfig()]
    settings = InjectionSettings(store, lambda: meshes[-1], "istio-system", "default")
    first = settings.current()
    assert settings.current() is first, "read once"
    store.put(config_map(values="istio_cni: {enabled: true}\n", config="policy: disabled\n"))
    second = settings.current()
    assert second.values.istio_cni.enabled and second.config.policy == "disabled"
    store.put(config_map(values="istio_cni: {enabled: maybe}\n"))
    assert settings.current().values == second.values, "a broken ConfigMap changes nothing"
    meshes.append(MeshConfig(trust_domain="other"))
    assert settings.current().mesh is meshes[-1]
