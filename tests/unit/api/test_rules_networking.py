"""DestinationRule, Gateway, ServiceEntry, workloads, Sidecar, EnvoyFilter, ProxyConfig: rule by rule."""

import pytest

from tests.unit.api.rules import Rule, holds, report, rows

DESTINATION_RULE = rows(
    "DestinationRule",
    """
    {host: a}
    {host: "*.a.com"}
    {} -> spec.host
    {host: ""} -> spec.host
    {host: "a b"} -> spec.host
    {host: a, trafficPolicy: {}} -> spec.trafficPolicy
    {host: a, subsets: [{name: v1, labels: {v: "1"}}, {name: v1}]} -> spec.subsets
    {host: a, subsets: [{name: V_1}]} -> spec.subsets[0].name
    {host: a, subsets: [{labels: {v: "1"}}]} -> spec.subsets[0].name
    {host: a, subsets: [{name: v1, labels: {"a b": c}}]} -> spec.subsets[0].labels
    {host: a, subsets: [{name: v1, trafficPolicy: {}}]} -> spec.subsets[0].trafficPolicy
    {host: a, exportTo: [., shop]} -> spec.exportTo
    {host: a, exportTo: [.], workloadSelector: {matchLabels: {a: b}}}
    {host: a, exportTo: [shop], workloadSelector: {matchLabels: {a: b}}}
    {host: a, exportTo: ["*"], workloadSelector: {matchLabels: {a: b}}} -> spec.exportTo
    {host: a, workloadSelector: {matchLabels: {a: "*"}}} -> spec.workloadSelector
    {host: a, workloadSelector: {matchLabels: {"": b}}} -> spec.workloadSelector
    """,
)

POLICY = rows(
    "DestinationRule",
    """
    {tunnel: {targetHost: a.com, targetPort: 1}, proxyProtocol: {version: V1}} -> ""
    {tunnel: {targetHost: a.com, targetPort: 1, protocol: GET}} -> tunnel.protocol
    {tunnel: {targetHost: "*.a.com", targetPort: 1}} -> tunnel.targetHost
    {tunnel: {targetHost: 10.0.0.1, targetPort: 1}}
    {tunnel: {targetHost: a.com}} -> tunnel.targetPort
    {tunnel: {targetHost: a.com, targetPort: 65536}} -> tunnel.targetPort
    {proxyProtocol: {version: V3}} -> proxyProtocol.version
    {retryBudget: {percent: 101}} -> retryBudget.percent
    {retryBudget: {percent: 20, minRetryConcurrency: 3}}
    {portLevelSettings: [{loadBalancer: {simple: RANDOM}}]} -> portLevelSettings[0]
    {portLevelSettings: [{port: {number: 80}}]} -> portLevelSettings[0]
    {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}
    {loadBalancer: {simple: ROUND_ROBIN, consistentHash: {useSourceIp: true}}} -> loadBalancer
    {loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: a}}} -> loadBalancer.consistentHash
    {loadBalancer: {consistentHash: {httpCookie: {ttl: 0s}}}} -> loadBalancer.consistentHash.httpCookie
    {loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 0s}}}}
    {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 4}}}} -> loadBalancer.consistentHash.maglev
    {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}}} -> loadBalancer.consistentHash
    {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}}
    {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 100000000000000000000}}}} -> loadBalancer
    {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}}} -> loadBalancer.consistentHash.maglev
    {loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 5, ringHash: {}}}} -> loadBalancer.consistentHash
    {loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 1s, warmup: {duration: 1s}}} -> loadBalancer
    {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1s, minimumPercent: 101}}} -> loadBalancer.warmup
    {loadBalancer: {simple: ROUND_ROBIN, warmup: {}}} -> loadBalancer.warmup
    {loadBalancer: {localityLbSetting: {enabled: true}, zoneAwareLbSetting: {enabled: true}}} -> loadBalancer
    {loadBalancer: {localityLbSetting: {distribute: [{from: "a/*", to: {"a/*": 100}}]}}}
    {loadBalancer: {localityLbSetting: {distribute: [{from: "a/*", to: {"a/*": 99}}]}}} -> loadBalancer.localityLbSetting
    {loadBalancer: {localityLbSetting: {distribute: [{from: "a/*", to: {"a/*": 0, b: 100}}]}}} -> loadBalancer
    {loadBalancer: {localityLbSetting: {distribute: [{from: "a/*/b", to: {a: 100}}]}}} -> loadBalancer.localityLbSetting
    {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {a: 50, "a/b": 50}}]}}} -> loadBalancer
    {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}, {from: a, to: {b: 100}}]}}} -> loadBalancer
    {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}}} -> loadBalancer
    {loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}
    {loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}} -> loadBalancer.localityLbSetting
    {loadBalancer: {localityLbSetting: {failover: [{from: a, to: "b/c"}]}}} -> loadBalancer.localityLbSetting
    {loadBalancer: {localityLbSetting: {failover: [{from: a, to: "*"}]}}} -> loadBalancer.localityLbSetting
    {loadBalancer: {localityLbSetting: {failoverPriority: [a, b=c]}}}
    {connectionPool: {}} -> connectionPool
    {connectionPool: {tcp: {maxConnections: -1}}} -> connectionPool.tcp
    {connectionPool: {tcp: {connectTimeout: 0s}}} -> connectionPool.tcp.connectTimeout
    {connectionPool: {tcp: {idleTimeout: 1s, maxConnectionDuration: 1s, tcpKeepalive: {time: 1s, interval: 1s, probes: 3}}}}
    {connectionPool: {http: {http1MaxPendingRequests: -1}}} -> connectionPool.http
    {connectionPool: {http: {http2MaxRequests: -1}}} -> connectionPool.http
    {connectionPool: {http: {maxRequestsPerConnection: -1}}} -> connectionPool.http
    {connectionPool: {http: {maxRetries: -1}}} -> connectionPool.http
    {connectionPool: {http: {maxConcurrentStreams: -1}}} -> connectionPool.http
    {connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}} -> connectionPool.http
    {connectionPool: {http: {h2UpgradePolicy: ALWAYS}}} -> connectionPool.http.h2UpgradePolicy
    {outlierDetection: {}}
    {outlierDetection: {maxEjectionPercent: 101}} -> outlierDetection.maxEjectionPercent
    {outlierDetection: {minHealthPercent: -1}} -> outlierDetection.minHealthPercent
    {outlierDetection: {consecutiveLocalOriginFailures: 5}} -> outlierDetection
    {outlierDetection: {consecutiveLocalOriginFailures: 5, splitExternalLocalOriginErrors: true}}
    {outlierDetection: {interval: 0.5ms}} -> outlierDetection.interval
    {outlierDetection: {baseEjectionTime: 0s}} -> outlierDetection.baseEjectionTime
    {tls: {mode: MUTUAL}} -> tls
    {tls: {mode: MUTUAL, clientCertificate: a, privateKey: b}}
    {tls: {mode: MUTUAL, credentialName: c, clientCertificate: a}} -> tls
    {tls: {mode: SIMPLE, credentialName: c, caCrl: d}} -> tls
    {tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: a}} -> tls
    {tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}} -> tls
    {tls: {mode: SIMPLE, insecureSkipVerify: true}}
    {tls: {mode: NEVER}} -> tls.mode
    """,
)

GATEWAY = rows(
    "Gateway",
    """
    {} -> spec
    {servers: []} -> spec
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"]}]}
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: []}]} -> spec.servers[0].hosts
    {servers: [{port: {number: 80, protocol: HTTP, name: a}}]} -> spec.servers[0].hosts
    {servers: [{hosts: ["*"]}]} -> spec.servers[0].port
    {servers: [{port: {number: 0, protocol: HTTP, name: a}, hosts: ["*"]}]} -> spec.servers[0].port
    {servers: [{port: {number: 80, protocol: HTML, name: a}, hosts: ["*"]}]} -> spec.servers[0].port.protocol
    {servers: [{port: {number: 80, protocol: HTTP}, hosts: ["*"]}]} -> spec.servers[0].port
    {servers: [{port: {number: 80, protocol: HTTP, name: a, targetPort: 8080}, hosts: ["*"]}]} -> spec.servers[0].port
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["ns/*", "./a.com", "*/b.com"]}]}
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["~/a.com"]}]} -> spec.servers[0].hosts[0]
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: [short]}]} -> spec.servers[0].hosts[0]
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["a*.com"]}]} -> spec.servers[0].hosts[0]
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*a.com"]}]} -> spec.servers[0].hosts[0]
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: [10.0.0.1]}]}
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"], bind: x}]} -> spec.servers[0].bind
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"], bind: "unix:///a"}]} -> spec.servers[0]
    {servers: [{port: {number: 0, protocol: HTTP, name: a}, hosts: ["*"], bind: "unix://@a"}]}
    {servers: [{port: {number: 443, protocol: HTTPS, name: a}, hosts: ["*"]}]} -> spec.servers[0]
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"], tls: {httpsRedirect: true}}]}
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: b}}]} -> spec.servers[0]
    {servers: [{port: {number: 80, protocol: TCP, name: a}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: b}}]} -> spec.servers[0]
    {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"]}, {port: {number: 81, protocol: HTTP, name: a}, \
      hosts: ["*"]}]} -> spec.servers
    """,
)

SERVER_TLS = rows(
    "Gateway",
    """
    {mode: SIMPLE, credentialName: a}
    {mode: SIMPLE, serverCertificate: a, privateKey: b}
    {mode: SIMPLE, serverCertificate: a} -> ""
    {mode: SIMPLE} -> ""
    {mode: MUTUAL, serverCertificate: a, privateKey: b} -> ""
    {mode: MUTUAL, serverCertificate: a, privateKey: b, caCertificates: c}
    {mode: OPTIONAL_MUTUAL, serverCertificate: a, privateKey: b} -> ""
    {mode: ISTIO_MUTUAL}
    {mode: ISTIO_MUTUAL, credentialName: a} -> ""
    {mode: ISTIO_MUTUAL, serverCertificate: a} -> ""
    {mode: PASSTHROUGH}
    {mode: AUTO_PASSTHROUGH}
    {mode: SIMPLE, serverCertificate: a, privateKey: b, caCrl: c} -> ""
    {mode: SIMPLE, credentialNames: [a, b]}
    {mode: SIMPLE, credentialNames: [a, b, c]} -> ""
    {mode: SIMPLE, credentialName: a, credentialNames: [a]} -> ""
    {mode: SIMPLE, tlsCertificates: [{serverCertificate: a, privateKey: b}]}
    {mode: SIMPLE, tlsCertificates: [{serverCertificate: a}]} -> ""
    {mode: SIMPLE, credentialName: a, tlsCertificates: [{serverCertificate: a, privateKey: b}]} -> ""
    {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_2, maxProtocolVersion: TLSV1_3}
    {mode: SIMPLE, credentialName: a, minProtocolVersion: SSLV3} -> minProtocolVersion
    """,
)

SERVICE_ENTRY = rows(
    "ServiceEntry",
    """
    {hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
    {ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS} -> spec.hosts
    {hosts: ["*"], resolution: NONE} -> spec.hosts
    {hosts: ["*.a.com"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS} -> spec.hosts
    {hosts: ["*.a.com"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
    {hosts: [a.com], addresses: [10.0.0.0/33]} -> spec.addresses[0]
    {hosts: [a.com], addresses: [10.0.0.0/8], resolution: DNS} -> spec.addresses
    {hosts: [a.com], addresses: [10.0.0.0/8], resolution: STATIC}
    {hosts: [a.com], ports: [{number: 80, name: a}, {number: 80, name: b}]} -> spec.ports
    {hosts: [a.com], ports: [{number: 80, name: a}, {number: 81, name: a}]} -> spec.ports
    {hosts: [a.com], ports: [{number: 0, name: a}]} -> spec.ports[0]
    {hosts: [a.com], ports: [{number: 80, name: A_B}]} -> spec.ports[0].name
    {hosts: [a.com], ports: [{number: 80, name: a, protocol: X}]} -> spec.ports[0].protocol
    {hosts: [a.com], ports: [{number: 80, name: a, targetPort: 65536}]} -> spec.ports[0].targetPort
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: NONE, endpoints: [{address: 10.0.0.1}]} -> spec.endpoints
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: STATIC, endpoints: [{address: 10.0.0.1}]}
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: STATIC, endpoints: [{address: b.com}]} -> spec.endpoints[0]
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {b: 1}}]} \
      -> spec.endpoints[0].ports
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: STATIC, endpoints: [{address: "unix:///a", ports: {a: 1}}]} \
      -> spec.endpoints[0]
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: DNS, endpoints: [{address: b.com}, {address: 10.0.0.1}]}
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: DNS, endpoints: [{address: "unix:///a"}]} -> spec.endpoints[0]
    {hosts: [a.com], ports: [{number: 80, name: a}], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.com}, {address: c.com}]} \
      -> spec.endpoints
    {hosts: [a.com], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 10.0.0.1}]} -> spec
    {hosts: [a.com, b.com], ports: [{number: 80, name: a, protocol: TCP}], resolution: DNS} -> spec
    {hosts: [a.com, b.com], ports: [{number: 80, name: a, protocol: TCP}], resolution: NONE}
    {hosts: [a.com, b.com], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DNS}
    {hosts: [a.com], exportTo: ["~"]}
    {hosts: [a.com], exportTo: ["~", a]} -> spec.exportTo
    {hosts: ["*.a.com"], ports: [{number: 443, name: a, protocol: TLS}], resolution: DYNAMIC_DNS}
    {hosts: [a.com], ports: [{number: 443, name: a, protocol: TLS}], resolution: DYNAMIC_DNS} -> spec
    {hosts: ["*.a.com"], ports: [{number: 443, name: a, protocol: TCP}], resolution: DYNAMIC_DNS} -> spec
    {hosts: ["*.a.com"], addresses: [10.0.0.1], ports: [{number: 443, name: a, protocol: TLS}], resolution: DYNAMIC_DNS} -> spec
    {hosts: ["*.a.com"], ports: [{number: 443, name: a, protocol: TLS}], resolution: DYNAMIC_DNS, endpoints: [{address: b.com}]} -> spec
    """,
)

WORKLOADS = rows(
    "WorkloadEntry",
    """
    {address: 10.0.0.1}
    {address: a.com}
    {address: ""} -> spec
    {} -> spec
    {network: n}
    {address: "a b"} -> spec.address
    {address: "unix:///a"}
    {address: "unix:///a", ports: {a: 1}} -> spec
    {address: "unix://a"} -> spec
    {address: 10.0.0.1, ports: {a: 0}} -> spec.ports
    {address: 10.0.0.1, ports: {A_B: 1}} -> spec.ports
    {address: 10.0.0.1, labels: {"a b": c}} -> spec.labels
    """,
) + rows(
    "WorkloadGroup",
    """
    {template: {}}
    {} -> spec.template
    {template: {}, metadata: {labels: {"a b": c}}} -> spec.metadata
    {template: {}, probe: {httpGet: {port: 80}}}
    {template: {}, probe: {}} -> spec.probe
    {template: {}, probe: {httpGet: {port: 0}}} -> spec.probe.httpGet
    {template: {}, probe: {httpGet: {port: 80, scheme: FTP}}} -> spec.probe.httpGet.scheme
    {template: {}, probe: {httpGet: {port: 80, httpHeaders: [{name: "a b", value: c}]}}} -> spec.probe.httpGet
    {template: {}, probe: {tcpSocket: {port: 70000}}} -> spec.probe.tcpSocket
    {template: {}, probe: {exec: {command: []}}} -> spec.probe.exec
    {template: {}, probe: {exec: {command: [a]}, periodSeconds: -1}} -> spec.probe.periodSeconds
    {template: {}, probe: {exec: {command: [a]}, tcpSocket: {port: 80}}} -> spec.probe
    {template: {}, probe: {grpc: {port: 80}}} -> spec.probe.grpc
    """,
)

SIDECAR = rows(
    "Sidecar",
    """
    {} -> spec
    {workloadSelector: {labels: {a: b}}} -> spec
    {egress: [{hosts: ["./*", "istio-system/*"]}]}
    {egress: [{hosts: []}]} -> spec.egress[0].hosts
    {egress: [{hosts: [a.com]}]} -> spec.egress[0].hosts
    {egress: [{hosts: ["~/*"]}]}
    {egress: [{hosts: ["./a"]}]} -> spec.egress[0].hosts[0]
    {egress: [{hosts: ["./*a.com"]}]} -> spec.egress[0].hosts[0]
    {egress: [{hosts: ["./*"]}, {port: {number: 80, protocol: HTTP}, hosts: ["./*"]}]} -> spec.egress
    {egress: [{port: {number: 80, protocol: HTTP}, hosts: ["./*"]}, {port: {number: 80, protocol: HTTP}, hosts: ["./*"]}]} -> spec.egress
    {egress: [{port: {number: 0, protocol: HTTP}, hosts: ["./*"]}]} -> spec.egress[0]
    {egress: [{port: {number: 0, protocol: HTTP}, bind: "unix:///a", hosts: ["./*"]}]}
    {egress: [{port: {number: 0, protocol: HTTP}, bind: "unix:///a", captureMode: IPTABLES, hosts: ["./*"]}]} -> spec.egress[0]
    {egress: [{port: {number: 80, protocol: HTTP}, bind: x, hosts: ["./*"]}]} -> spec.egress[0].bind
    {egress: [{port: {number: 80, protocol: HTTP, targetPort: 1}, hosts: ["./*"]}]} -> spec.egress[0].port
    {ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: "127.0.0.1:80"}]}
    {ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: "10.0.0.1:80"}]} -> spec.ingress[0].defaultEndpoint
    {ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: "127.0.0.1"}]} -> spec.ingress[0].defaultEndpoint
    {ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: "[::1]:80"}]}
    {ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: "unix:///a"}]}
    {ingress: [{defaultEndpoint: "127.0.0.1:80"}]} -> spec.ingress[0].port
    {ingress: [{port: {number: 80, protocol: HTTP}}, {port: {number: 80, protocol: HTTP}}]} -> spec.ingress
    {ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}}]}
    {ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: ISTIO_MUTUAL}}]} -> spec.ingress[0].tls
    {ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: a}}]} -> spec.ingress[0].tls
    {ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b, \
      httpsRedirect: true}}]} -> spec.ingress[0].tls
    {ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b, \
      subjectAltNames: [a]}}]} -> spec.ingress[0].tls
    {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
    {outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: a.com, port: {number: 80}}}} -> spec.outboundTrafficPolicy
    {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.com}}} -> spec.outboundTrafficPolicy
    {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.com, port: {number: 80}}}}
    {inboundConnectionPool: {}} -> spec.inboundConnectionPool
    {workloadSelector: {labels: {a: "*"}}, egress: [{hosts: ["./*"]}]} -> spec.workloadSelector
    """,
)

ENVOY_FILTER = rows(
    "EnvoyFilter",
    """
    {}
    {configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}
    {configPatches: [{patch: {operation: REMOVE}}]} -> spec.configPatches[0]
    {configPatches: [{applyTo: CLUSTER}]} -> spec.configPatches[0]
    {configPatches: [{applyTo: CLUSTER, patch: {}}]} -> spec.configPatches[0].patch
    {configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE}}]} -> spec.configPatches[0].patch
    {configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 1s}}}]}
    {configPatches: [{applyTo: CLUSTER, match: {proxy: {proxyVersion: "("}}, patch: {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: CLUSTER, match: {listener: {}}, patch: {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: LISTENER, match: {cluster: {}}, patch: {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: HTTP_ROUTE, match: {cluster: {}}, patch: {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {}}}}, patch: {operation: REMOVE}}]} \
      -> spec.configPatches[0].match
    {configPatches: [{applyTo: NETWORK_FILTER, \
      match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: \
      {name: a}}}}}, patch: {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: envoy.filters.network.tcp_proxy, \
      subFilter: {name: a}}}}}, patch: {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: HTTP_FILTER, \
      match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {}}}}}, patch: \
      {operation: REMOVE}}]} -> spec.configPatches[0].match
    {configPatches: [{applyTo: HTTP_FILTER, \
      match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: \
      {name: a}}}}}, patch: {operation: REMOVE}}]}
    {configPatches: [{applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, \
      typed_config: {"@type": type.googleapis.com/no.such.Type}}}}]} -> spec.configPatches[0].patch
    {workloadSelector: {labels: {a: "*"}}} -> spec.workloadSelector
    {workloadSelector: {labels: {a: b}}, targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: a}]} -> spec
    """,
)

PROXY_CONFIG = rows(
    "ProxyConfig",
    """
    {concurrency: 0}
    {concurrency: -1} -> spec.concurrency
    {selector: {matchLabels: {a: "*"}}} -> spec.selector
    {selector: {matchLabels: {"a*": null}}}
    {image: {imageType: debug}, environmentVariables: {A: b}}
    """,
)


def below(at: str, kind: str, base: str, rules: list[Rule]) -> list[Rule]:
    """Rules of a field, its path prefixed and its spec set in a spec."""
    return [
        Rule(kind, base % rule.spec, None if rule.path is None else at + (f".{rule.path}" if rule.path != '""' else ""))
        for rule in rules
    ]


SERVER = '{servers: [{port: {number: 443, protocol: HTTPS, name: a}, hosts: ["*"], tls: %s}]}'
ALL = (
    DESTINATION_RULE
    + below("spec.trafficPolicy", "DestinationRule", "{host: a, trafficPolicy: %s}", POLICY)
    + GATEWAY
    + below("spec.servers[0].tls", "Gateway", SERVER, SERVER_TLS)
    + SERVICE_ENTRY
    + WORKLOADS
    + SIDECAR
    + ENVOY_FILTER
    + PROXY_CONFIG
)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: f"{rule.kind} {rule.spec[:110]}")
def test_rule(rule: Rule) -> None:
    holds(rule)


def test_gateway_name_is_a_label() -> None:
    spec = '{servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"]}]}'
    assert report("Gateway", spec).errors == []
    assert report("Gateway", spec, name="a.b").errors != []


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("EnvoyFilter", "{}"),
        ("ServiceEntry", '{hosts: ["*a.com"], ports: [{number: 80, name: a, protocol: HTTP}]}'),
        ("Sidecar", '{egress: [{hosts: ["./*", "./a.com"]}]}'),
        ("Sidecar", '{workloadSelector: {}, egress: [{hosts: ["./*"]}]}'),
        ("WorkloadEntry", "{network: a}"),
        ("DestinationRule", "{host: a, trafficPolicy: {outlierDetection: {consecutiveErrors: 1}}}"),
        ("Gateway", SERVER % "{mode: PASSTHROUGH, credentialName: a}"),
        ("Gateway", SERVER % "{mode: SIMPLE, credentialName: a, cipherSuites: [NO_SUCH]}"),
        ("Gateway", SERVER % "{mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_0}"),
    ],
)
def test_warns(kind: str, spec: str) -> None:
    found = report(kind, spec)
    assert found.errors == []
    assert found.warnings != []
