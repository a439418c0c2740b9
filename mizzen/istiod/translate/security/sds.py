"""Where a proxy gets certificates from: the agent's SDS socket for its own, ADS for named credentials.

Gives SdsSecretConfig messages. Not here: the secrets that istiod itself serves (translate/secrets.py).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import duration_pb2

from mizzen.istiod.translate.messages import V3, grpc_cluster

WORKLOAD, ROOT = "default", "ROOTCA"
SdsSecretConfig = secret_pb2.SdsSecretConfig
AGENT_CLUSTER, FILES_CLUSTER = "sds-grpc", "sds-files-grpc"
_ADS = config_source_pb2.ConfigSource(ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=V3)


@cache
def _agent_source(cluster: str, wait: bool) -> Any:
    source = config_source_pb2.ConfigSource(
        api_config_source=config_source_pb2.ApiConfigSource(
            api_type=config_source_pb2.ApiConfigSource.GRPC,
            grpc_services=[grpc_cluster(cluster)],
            set_node_on_first_message_only=True,
            transport_api_version=V3,
        ),
        resource_api_version=V3,
    )
    if wait:
        source.initial_fetch_timeout.CopyFrom(duration_pb2.Duration())
    return source


@cache
def workload(name: str) -> Any:
    """The workload's own certificate (`default`) or root (`ROOTCA`), from the agent; waited for without a limit."""
    return SdsSecretConfig(name=name, sds_config=_agent_source(AGENT_CLUSTER, True))


@cache
def file(name: str, file_credentials: bool = False) -> Any:
    """A certificate in files (`file-cert:<cert>~<key>`, `file-root:<ca>`), from the agent.

    file_credentials: the proxy has a cluster of its own for these (metadata `file-credential`).
    """
    return SdsSecretConfig(
        name=name, sds_config=_agent_source(FILES_CLUSTER if file_credentials else AGENT_CLUSTER, False)
    )


@cache
def credential(name: str) -> Any:
    """A credential that istiod serves over ADS, by its full resource name."""
    return SdsSecretConfig(name=name, sds_config=_ADS)
