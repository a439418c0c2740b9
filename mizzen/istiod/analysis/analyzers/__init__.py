"""The analyzers, in one ordered list: name (istioctl's), what it does, and the function. Order only decides on output."""

from __future__ import annotations

from typing import NamedTuple

from mizzen.istiod.analysis.analyzers import (
    cluster,
    envoy_filters,
    gateways,
    istio_annotations,
    policies,
    schema,
    services,
    virtual_services,
    workloads,
)
from mizzen.istiod.analysis.model import Analyzer


class Entry(NamedTuple):
    """One analyzer."""

    name: str
    help: str
    analyze: Analyzer


ANALYZERS: tuple[Entry, ...] = (
    Entry("annotations.K8sAnalyzer", "Annotations that are unknown, misplaced, invalid", istio_annotations.check),
    Entry("applicationUID.Analyzer", "Applications that run as the sidecar's user", workloads.application_uid),
    Entry("auth.AuthorizationPoliciesAnalyzer", "Policies for nobody", policies.authorization_policies),
    Entry("authn.BlockedCIDRsAnalyzer", "Where istiod may fetch keys from", workloads.blocked_cidrs),
    Entry("conditions.ConditionAnalyzer", "Conditions that are not fulfilled", cluster.conditions),
    Entry("deployment.MultiServiceAnalyzer", "Services that share a Deployment", workloads.shared_deployments),
    Entry("deprecation.DeprecationAnalyzer", "Deprecated fields and kinds", virtual_services.deprecated),
    Entry("destinationrule.CaCertificateAnalyzer", "Servers that are not verified", services.verification),
    Entry("destinationrule.SubsetSelectPodAnalyzer", "Subsets without pods", services.subset_pods),
    Entry("envoyfilter.EnvoyPatchAnalyzer", "Patches that may have no effect", envoy_filters.patches),
    Entry(
        "externalcontrolplane.ExternalControlPlaneAnalyzer",
        "The address of a control plane outside the cluster",
        cluster.external_control_plane,
    ),
    Entry("gateway.CertificateAnalyzer", "Gateways with the same certificate", gateways.duplicate_certificates),
    Entry("gateway.ConflictingGatewayAnalyzer", "Gateways with the same hosts", gateways.conflicts),
    Entry("gateway.IngressGatewayPortAnalyzer", "Ports that no Service has", gateways.ports),
    Entry("gateway.SecretAnalyzer", "Credentials that are missing or bad", gateways.credentials),
    Entry("injection.Analyzer", "How namespaces and pods are injected", workloads.injection),
    Entry("injection.ImageAnalyzer", "Pods with another proxy than the injector's", workloads.proxy_images),
    Entry("injection.ImageAutoAnalyzer", "Images that nothing fills in", workloads.image_auto),
    Entry("k8sgateway.CRDVersionAnalyzer", "CRDs that are too old", cluster.crd_versions),
    Entry("k8sgateway.SelectorAnalyzer", "Selectors on Kubernetes Gateways", policies.gateway_selectors),
    Entry("meshnetworks.MeshNetworksAnalyzer", "Registries of networks", cluster.networks),
    Entry("provider.ReferenceAnalyzer", "Extension providers that are there", policies.named_providers),
    Entry("schema.ValidationAnalyzer", "What schemas and admission refuse or warn of", schema.schema),
    Entry("service.PortNameAnalyzer", "Ports whose protocol cannot be told", services.port_names),
    Entry("serviceentry.Analyzer", "TCP ports without addresses", services.addresses),
    Entry(
        "serviceentry.ConflictingServiceEntryProtocolAnalyzer", "Ports with two protocols", services.protocol_conflicts
    ),
    Entry("sidecar.SelectorAnalyzer", "Which workloads have which Sidecar", policies.sidecars),
    Entry("telemetry.ProviderAnalyzer", "Providers of telemetry", policies.telemetry_providers),
    Entry("telemetry.SelectorAnalyzer", "Which workloads have which Telemetry", policies.telemetries),
    Entry("virtualservice.ConflictingMeshGatewayHostsAnalyzer", "Hosts twice", virtual_services.conflicting_hosts),
    Entry("virtualservice.DelegateAnalyzer", "Delegates that are there", virtual_services.delegates),
    Entry("virtualservice.DestinationHostAnalyzer", "Destinations that are there", virtual_services.destination_hosts),
    Entry("virtualservice.DestinationRuleAnalyzer", "Subsets that are there", virtual_services.subsets),
    Entry("virtualservice.GatewayAnalyzer", "Gateways that are there", virtual_services.gateways),
    Entry("virtualservice.IngressRulesAnalyzer", "Subsets without effect at gateways", virtual_services.ingress_rules),
    Entry("virtualservice.JWTClaimRouteAnalyzer", "Routing on claims", virtual_services.claim_routes),
    Entry("webhook.Analyzer", "Webhooks that overlap or lead nowhere", cluster.webhooks),
)
