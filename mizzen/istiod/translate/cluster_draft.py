"""A cluster in the making: the message, and its HTTP protocol options until they are packed into it.

Not here: what policies put into it (cluster_pool.py, cluster_balancer.py, cluster_tls.py).
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.translate.messages import duration, pack

Cluster = cluster_pb2.Cluster
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UNLIMITED = 2**32 - 1


class Draft:
    """cluster: the message; http: its HttpProtocolOptions; used_http: whether they are needed at all."""

    def __init__(self, name: str, kind: Any, mesh: MeshConfig, stat_name: str = "") -> None:
        self.cluster = Cluster(
            name=name,
            type=kind,
            connect_timeout=duration(mesh.connect_timeout or 10.0),
            alt_stat_name=f"{stat_name or name};",
        )
        self.http = http_protocol_options_pb2.HttpProtocolOptions()
        self.used_http = False
        self.mesh = mesh

    @property
    def is_http2(self) -> bool:
        """Whether it speaks HTTP/2 and nothing else."""
        return bool(self.http.explicit_http_config.HasField("http2_protocol_options"))

    def speak_http2(self) -> None:
        self.http.explicit_http_config.http2_protocol_options.SetInParent()
        self.used_http = True

    def speak_as_client(self) -> None:
        """The protocol of the downstream connection."""
        config = self.http.use_downstream_protocol_config
        config.http_protocol_options.SetInParent()
        config.http2_protocol_options.SetInParent()
        self.used_http = True

    def finished(self, preserve_case: bool = False) -> Any:
        """The cluster with its options packed in."""
        if preserve_case and not self.is_http2:
            self._preserve_case()
        if self.used_http:
            if self.http.WhichOneof("upstream_protocol_options") is None:
                self.http.explicit_http_config.http_protocol_options.SetInParent()
            self.cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pack(self.http))
        return self.cluster

    def _preserve_case(self) -> None:
        if self.http.WhichOneof("upstream_protocol_options") == "use_downstream_protocol_config":
            http1 = self.http.use_downstream_protocol_config.http_protocol_options
        else:
            http1 = self.http.explicit_http_config.http_protocol_options
        formatter = http1.header_key_format.stateful_formatter
        formatter.name = "preserve_case"
        formatter.typed_config.CopyFrom(pack(preserve_case_pb2.PreserveCaseFormatterConfig()))
        self.used_http = True
