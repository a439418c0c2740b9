"""How secrets are named and where proxies get them: from their agent, or from istiod by the credential's name.

Gives envoy SdsSecretConfig messages. Not here: the secrets themselves (secrets.py).
"""

from __future__ import annotations

from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from mizzen.istiod.translate.messages import V3, duration, grpc_cluster

DEFAULT_CERTIFICATE, ROOT_CA = "default", "ROOTCA"
CA_SUFFIX = "-cacert"
AGENT_CLUSTER = "sds-grpc"
SCHEMES = ("kubernetes://", "kubernetes-gateway://", "configmap://", "builtin://", "invalid://", "sds://")


def credential_name(name: str) -> str:
    """A credential's resource name: as given with its scheme, else a Secret of Kubernetes; "" for none."""
    return name if not name or name.startswith(SCHEMES) else f"kubernetes://{name}"


def file_certificate(certificate: str, key: str) -> str:
    """The name of a certificate and key in files."""
    return f"file-cert:{certificate}~{key}"


def file_root(path: str) -> str:
    """The name of trusted roots in a file."""
    return f"file-root:{path}"


def workload_secret(name: str) -> secret_pb2.SdsSecretConfig:
    """A secret that the proxy's agent serves; its own ones are waited for without a time limit."""
    api = config_source_pb2.ApiConfigSource(
        api_type=config_source_pb2.ApiConfigSource.GRPC,
        transport_api_version=V3,
        set_node_on_first_message_only=True,
        grpc_services=[grpc_cluster(AGENT_CLUSTER)],
    )
    source = config_source_pb2.ConfigSource(api_config_source=api, resource_api_version=V3)
    if name in (DEFAULT_CERTIFICATE, ROOT_CA):
        source.initial_fetch_timeout.CopyFrom(duration(0.0))
    return secret_pb2.SdsSecretConfig(name=name, sds_config=source)


def credential_secret(name: str) -> secret_pb2.SdsSecretConfig:
    """A secret that istiod serves over the ADS stream; a built-in one comes from the agent."""
    if name.startswith("builtin://"):
        return workload_secret(ROOT_CA if name.endswith(CA_SUFFIX) else DEFAULT_CERTIFICATE)
    source = config_source_pb2.ConfigSource(ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=V3)
    return secret_pb2.SdsSecretConfig(name=name, sds_config=source)
