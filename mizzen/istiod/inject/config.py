"""What injection depends on besides the pod: mesh settings, values, templates, revision.

`Values` has the Helm values that templates read, under Helm's names; anything else in a values file is another chart's
affair. `InjectionConfig` is the ConfigMap's key `config`. Not here: reading files or ConfigMaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from mizzen import __version__
from mizzen.api.errors import Invalid
from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.mesh_config import default
from mizzen.istiod.inject.gotemplate import TemplateError
from mizzen.istiod.inject.gotemplate.parser import parse

Object = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)


DEFAULT_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "2000m", "memory": "1024Mi"},
}


class StartupProbe(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    enabled: bool = True
    failure_threshold: int = 600


class ProxyValues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """global.proxy"""

    image: str = "proxyv2"
    cluster_domain: str = "cluster.local"
    log_level: str = "warning"
    component_log_level: str = "misc:error"
    auto_inject: str = "enabled"
    privileged: bool = False
    enable_core_dump: bool = False
    status_port: int = 15020
    readiness_initial_delay_seconds: int = 0
    readiness_period_seconds: int = 15
    readiness_failure_threshold: int = 4
    startup_probe: StartupProbe = StartupProbe()
    include_ip_ranges: str = msgspec.field(default="*", name="includeIPRanges")
    exclude_ip_ranges: str = msgspec.field(default="", name="excludeIPRanges")
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    hold_application_until_proxy_starts: bool = False
    outlier_log_path: str = ""
    cap_net_bind_service: bool | str = False
    lifecycle: Object | None = None
    resources: Mapping[str, Any] = msgspec.field(default_factory=lambda: DEFAULT_RESOURCES)


class ProxyInitValues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """global.proxy_init"""

    image: str = "proxyv2"
    force_apply_iptables: bool = False


class MultiCluster(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cluster_name: str = ""


class Logging(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    level: str = "default:info"


class Sts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    service_port: int = 0


class GlobalValues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """global"""

    hub: str = "mizzen"
    tag: str | int | float = __version__
    variant: str = ""
    istio_namespace: str = "istio-system"
    ca_address: str = ""
    pilot_cert_provider: str = "istiod"
    network: str = ""
    mesh_id: str = msgspec.field(default="", name="meshID")
    image_pull_policy: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    mount_mtls_certs: bool = False
    log_as_json: bool = False
    native_nftables: bool = False
    proxy: ProxyValues = ProxyValues()
    proxy_init: ProxyInitValues = msgspec.field(default=ProxyInitValues(), name="proxy_init")
    multi_cluster: MultiCluster = MultiCluster()
    logging: Logging = Logging()
    sts: Sts = Sts()


class IstioCni(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """istio_cni. validate is ours: false leaves istio-validation out, where the runtime itself writes the rules."""

    enabled: bool = False
    provider: str = "default"
    validate: bool = True


class WebhookValues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """sidecarInjectorWebhook"""

    rewrite_app_http_probe: bool = msgspec.field(default=True, name="rewriteAppHTTPProbe")
    templates: Mapping[str, Any] = {}
    default_templates: tuple[str, ...] = ()


class GatewayValues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """gateways"""

    security_context: Object | None = None


class Values(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Helm's values of an istiod chart."""

    global_: GlobalValues = msgspec.field(default=GlobalValues(), name="global")
    istio_cni: IstioCni = msgspec.field(default=IstioCni(), name="istio_cni")
    sidecar_injector_webhook: WebhookValues = WebhookValues()
    gateways: GatewayValues = GatewayValues()


class InjectionConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The key `config` of the injector's ConfigMap.

    templates: patches of pods by name, beside or in place of the built-in ones, laid over by strategic merge: plain
    objects, or texts in Go's template language that give one.
    """

    policy: Literal["enabled", "disabled"] = "enabled"
    default_templates: tuple[str, ...] = ()
    templates: Mapping[str, Any] = {}
    aliases: Mapping[str, tuple[str, ...]] = {}
    never_inject_selector: tuple[Object, ...] = ()
    always_inject_selector: tuple[Object, ...] = ()
    injected_annotations: Mapping[str, str] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that injection depends on besides the pod.

    native_sidecars: whether nodes can run them; proxy_envs: what the webhook's path adds to the proxy's environment;
    given: the values as they were given, for templates of users.
    """

    mesh: MeshConfig = msgspec.field(default_factory=default)
    values: Values = Values()
    config: InjectionConfig = InjectionConfig()
    revision: str = "default"
    native_sidecars: bool = False
    proxy_envs: Mapping[str, str] = {}
    given: Mapping[str, Any] = {}


def read_values(obj: Mapping[str, Any]) -> Values:
    """Values from Helm's JSON. Raises Invalid with the path."""
    return _convert(obj, Values, "values")


def read_config(obj: Mapping[str, Any]) -> InjectionConfig:
    """An injection configuration. Raises Invalid, also for templates that cannot be read."""
    config = _convert(obj, InjectionConfig, "config")
    return msgspec.structs.replace(
        config, templates={name: plain(name, text) for name, text in config.templates.items()}
    )


def plain(name: str, template: Any) -> Object | str:
    """A template as an object: given as one, or as YAML text; as it is when it has actions of Go's language."""
    if isinstance(template, str):
        if "{{" in template:
            try:
                parse(template)
            except TemplateError as error:
                raise Invalid(f"templates.{name}", str(error)) from error
            return template
        import yaml  # only where a user brings templates

        template = yaml.safe_load(template)
    if not isinstance(template, dict):
        raise Invalid(f"templates.{name}", "a patch of a pod is expected")
    return template


def _convert(obj: Mapping[str, Any], type_: type[S], what: str) -> S:
    try:
        return msgspec.convert(obj, type_, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(what, str(error)) from error
