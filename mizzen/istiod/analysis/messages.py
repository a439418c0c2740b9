"""The kinds of message that analysis gives: code, name, level and text.

Codes, names and levels are istioctl's, so that suppressions and dashboards keep working; the texts are ours. Not here: who
raises them (analyzers/).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["Error", "Warning", "Info"]
LEVELS: Final[tuple[Level, ...]] = ("Error", "Warning", "Info")
DOCUMENTATION: Final = "https://istio.io/latest/docs/reference/config/analysis"


class MessageType(NamedTuple):
    """One kind of message. text: a format string for the details that an analyzer gives."""

    code: str
    name: str
    level: Level
    text: str

    @property
    def url(self) -> str:
        """Where the code is documented."""
        return f"{DOCUMENTATION}/{self.code.lower()}/?ref=istioctl-analyze"


TYPES: Final[tuple[MessageType, ...]] = (
    MessageType("IST0001", "InternalError", "Error", "An analyzer failed: {}"),
    MessageType("IST0002", "Deprecated", "Warning", "Deprecated: {}"),
    MessageType("IST0101", "ReferencedResourceNotFound", "Error", 'There is no {} "{}"'),
    MessageType(
        "IST0102",
        "NamespaceNotInjected",
        "Info",
        "Pods of the namespace get no sidecar; `kubectl label namespace {} istio-injection=enabled` changes that",
    ),
    MessageType(
        "IST0103", "PodMissingProxy", "Warning", "The pod {} has no sidecar although its namespace is injected"
    ),
    MessageType("IST0106", "SchemaValidationError", "Error", "Invalid: {}"),
    MessageType("IST0107", "MisplacedAnnotation", "Warning", "The annotation {} belongs on {}"),
    MessageType("IST0108", "UnknownAnnotation", "Warning", "Unknown annotation {}"),
    MessageType(
        "IST0109",
        "ConflictingMeshGatewayVirtualServiceHosts",
        "Error",
        "The VirtualServices {} all define the host {} in the mesh",
    ),
    MessageType(
        "IST0110",
        "ConflictingSidecarWorkloadSelectors",
        "Error",
        'The Sidecars {} of namespace "{}" select the same pod "{}"',
    ),
    MessageType(
        "IST0111",
        "MultipleSidecarsWithoutWorkloadSelectors",
        "Error",
        'The Sidecars {} of namespace "{}" have no workload selector',
    ),
    MessageType(
        "IST0112",
        "VirtualServiceDestinationPortSelectorRequired",
        "Error",
        'The destination "{}" has several ports {}; one has to be chosen',
    ),
    MessageType(
        "IST0116",
        "DeploymentAssociatedToMultipleServices",
        "Warning",
        "The Deployment {} serves port {} of several Services with different protocols: {}",
    ),
    MessageType(
        "IST0118",
        "PortNameIsNotUnderNamingConvention",
        "Info",
        "The port {} (port: {}, targetPort: {}) is not named after its protocol",
    ),
    MessageType(
        "IST0123", "NamespaceMultipleInjectionLabels", "Warning", "The namespace has labels that exclude each other: {}"
    ),
    MessageType("IST0125", "InvalidAnnotation", "Warning", "Invalid annotation {}: {}"),
    MessageType("IST0126", "UnknownMeshNetworksServiceRegistry", "Error", "Unknown service registry {} in network {}"),
    MessageType("IST0127", "NoMatchingWorkloadsFound", "Warning", "No workload of the mesh has these labels: {}"),
    MessageType(
        "IST0128",
        "NoServerCertificateVerificationDestinationLevel",
        "Warning",
        "The DestinationRule {} of namespace {} has mode {} and no caCertificates: the server {} is not verified",
    ),
    MessageType(
        "IST0129",
        "NoServerCertificateVerificationPortLevel",
        "Warning",
        "The DestinationRule {} of namespace {} has mode {} and no caCertificates: the server {} is not verified on port {}",
    ),
    MessageType("IST0130", "VirtualServiceUnreachableRule", "Warning", "The rule {} is not used ({})"),
    MessageType(
        "IST0131",
        "VirtualServiceIneffectiveMatch",
        "Info",
        "Rule {}: match {} is not used (the same is matched in rule {})",
    ),
    MessageType(
        "IST0132",
        "VirtualServiceHostNotFoundInGateway",
        "Warning",
        "None of the hosts {} of the VirtualService {} is served by the gateway {}",
    ),
    MessageType("IST0133", "SchemaWarning", "Warning", "{}"),
    MessageType(
        "IST0134",
        "ServiceEntryAddressesRequired",
        "Warning",
        "A port of this protocol needs addresses to be told apart by",
    ),
    MessageType("IST0135", "DeprecatedAnnotation", "Info", "The annotation {} is deprecated{}"),
    MessageType("IST0136", "AlphaAnnotation", "Info", "The annotation {} is an alpha feature"),
    MessageType(
        "IST0137",
        "DeploymentConflictingPorts",
        "Warning",
        "The Deployment {} serves several Services {} with the target port {} and different ports: {}",
    ),
    MessageType("IST0138", "GatewayDuplicateCertificate", "Warning", "The gateways {} have the same certificate"),
    MessageType("IST0139", "InvalidWebhook", "Error", "{}"),
    MessageType(
        "IST0140",
        "IngressRouteRulesNotAffected",
        "Warning",
        "The subsets of VirtualService {} have no effect on ingress traffic that VirtualService {} routes",
    ),
    MessageType("IST0141", "InsufficientPermissions", "Error", "Missing permission to create {}: {}"),
    MessageType("IST0142", "UnsupportedKubernetesVersion", "Error", "Kubernetes {} is older than {}"),
    MessageType("IST0143", "LocalhostListener", "Error", "Port {} is only open on the loopback interface"),
    MessageType(
        "IST0144", "InvalidApplicationUID", "Warning", "An application must not run as user 1337, the sidecar's"
    ),
    MessageType(
        "IST0145",
        "ConflictingGateways",
        "Error",
        'In conflict with the gateways {}: same selector "{}", port "{}" and hosts "{}"',
    ),
    MessageType(
        "IST0146",
        "ImageAutoWithoutInjectionWarning",
        "Warning",
        '{} {} has the image "auto" and no webhook that fills it in',
    ),
    MessageType(
        "IST0147", "ImageAutoWithoutInjectionError", "Error", '{} {} has the image "auto", which nothing has filled in'
    ),
    MessageType(
        "IST0148", "NamespaceInjectionEnabledByDefault", "Info", "Pods of the namespace get a sidecar by default"
    ),
    MessageType(
        "IST0149",
        "JwtClaimBasedRoutingWithoutRequestAuthN",
        "Error",
        "Routing on the claim {} at gateway {} needs a RequestAuthentication on pod {}",
    ),
    MessageType(
        "IST0150",
        "ExternalNameServiceTypeInvalidPortName",
        "Warning",
        "The port of an ExternalName Service needs a protocol as name",
    ),
    MessageType(
        "IST0151",
        "EnvoyFilterUsesRelativeOperation",
        "Warning",
        "Relative to filters that may not be there yet: without a priority the patch may have no effect",
    ),
    MessageType(
        "IST0152",
        "EnvoyFilterUsesReplaceOperationIncorrectly",
        "Error",
        "REPLACE is for HTTP_FILTER, NETWORK_FILTER and VIRTUAL_HOST",
    ),
    MessageType(
        "IST0153",
        "EnvoyFilterUsesAddOperationIncorrectly",
        "Error",
        "ADD has no effect on ROUTE_CONFIGURATION and HTTP_ROUTE",
    ),
    MessageType(
        "IST0154",
        "EnvoyFilterUsesRemoveOperationIncorrectly",
        "Error",
        "REMOVE has no effect on ROUTE_CONFIGURATION and HTTP_ROUTE",
    ),
    MessageType(
        "IST0155",
        "EnvoyFilterUsesRelativeOperationWithProxyVersion",
        "Warning",
        "Relative to filters that may not be there yet, and bound to a proxy version: without a priority it may have no effect",
    ),
    MessageType("IST0156", "UnsupportedGatewayAPIVersion", "Error", "The Gateway API {} is older than {}"),
    MessageType(
        "IST0157",
        "InvalidTelemetryProvider",
        "Warning",
        "Telemetry {} of namespace {} names no provider and the mesh has no default one: it has no effect",
    ),
    MessageType(
        "IST0158",
        "PodsIstioProxyImageMismatchInNamespace",
        "Warning",
        "These pods run another proxy than the injector is set to: {}. Restart them",
    ),
    MessageType(
        "IST0159",
        "ConflictingTelemetryWorkloadSelectors",
        "Error",
        'The Telemetries {} of namespace "{}" select the same pod "{}"',
    ),
    MessageType(
        "IST0160",
        "MultipleTelemetriesWithoutWorkloadSelectors",
        "Error",
        'The Telemetries {} of namespace "{}" have no workload selector',
    ),
    MessageType(
        "IST0161",
        "InvalidGatewayCredential",
        "Error",
        "The credential of gateway {} in namespace {} is invalid or expired",
    ),
    MessageType(
        "IST0162",
        "GatewayPortNotDefinedOnService",
        "Warning",
        "The port {} is on no Service of the workloads ({}) that serve this gateway",
    ),
    MessageType(
        "IST0163",
        "InvalidExternalControlPlaneConfig",
        "Warning",
        "The address {} of the control plane in webhook {} {}",
    ),
    MessageType(
        "IST0164",
        "ExternalControlPlaneAddressIsNotAHostname",
        "Info",
        "The address {} of the control plane in webhook {} is an IP address, not a host name",
    ),
    MessageType(
        "IST0165",
        "ReferencedInternalGateway",
        "Warning",
        "VirtualService {} refers to the internal gateway {}, made for a Gateway of the Gateway API",
    ),
    MessageType(
        "IST0166",
        "IneffectiveSelector",
        "Warning",
        "A selector has no effect on the pods of the Kubernetes Gateway {}; use targetRefs",
    ),
    MessageType("IST0167", "IneffectivePolicy", "Warning", "The policy has no effect: {}"),
    MessageType("IST0168", "UnknownUpgradeCompatibility", "Warning", "Whether an upgrade changes {} is unknown: {}"),
    MessageType("IST0169", "UpdateIncompatibility", "Warning", "{} changes with version {}: {}"),
    MessageType(
        "IST0170",
        "MultiClusterInconsistentService",
        "Warning",
        "The Service {} of namespace {} differs between clusters {}: {}",
    ),
    MessageType("IST0171", "NegativeConditionStatus", "Warning", "The condition {} is not fulfilled ({}): {}"),
    MessageType(
        "IST0172", "FutureUnsupportedGatewayAPIVersion", "Warning", "The Gateway API {} will soon be older than {}"
    ),
    MessageType("IST0173", "DestinationRuleSubsetNotSelectPods", "Error", "The subset {} selects no pod"),
    MessageType("IST0174", "UnknownDestinationRuleHost", "Warning", "Unknown host {}"),
    MessageType(
        "IST0175",
        "JwksUriFetchUnrestricted",
        "Warning",
        "istiod fetches keys for {} RequestAuthentications ({}) from any address; set BLOCKED_CIDRS_IN_JWKS_URIS",
    ),
    MessageType(
        "IST0176", "GatewayAPICRDVersionBelowMinimum", "Warning", "The CRD {} has version {}, at least {} is needed"
    ),
    MessageType(
        "IST0177",
        "ConflictingServiceEntryProtocol",
        "Warning",
        "The ServiceEntries {} define {}:{} with different protocols: {}",
    ),
)
BY_CODE: Final = {type_.code: type_ for type_ in TYPES}
