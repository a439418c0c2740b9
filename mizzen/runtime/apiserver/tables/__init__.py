"""Tables: what `kubectl get` prints, made by the server (meta.k8s.io Table).

Takes items of one resource, gives the Table as a tree. One line of `COLUMNS` per kind; cells come from the other modules here,
those of custom resources from their definition's printer columns.
Source: kube-apiserver's printers (column names, types, priorities).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..schema.scalars import age
from . import core, network, pods, policy, storage, text, workloads

if TYPE_CHECKING:
    from ..cache import Item
    from ..resources import Resource

Object = dict[str, Any]
Cells = Callable[[Object], Sequence[Any]]

# A column is "Name", "Name*" (shown by -o wide), and a type behind a colon when it is not a string.
COLUMNS: dict[str, tuple[str, Cells]] = {
    "v1 Pod": ("Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*", pods.pod),
    "v1 PodTemplate": ("Containers|Images|Pod Labels", core.pod_template),
    "v1 Service": ("Type|Cluster-IP|External-IP|Port(s)|Age|Selector*", core.service),
    "v1 ConfigMap": ("Data|Age", core.config_map),
    "v1 Secret": ("Type|Data|Age", core.secret),
    "v1 ServiceAccount": ("Age", text.only_age),
    "v1 Namespace": ("Status|Age", text.phase),
    "v1 Node": (
        "Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*",
        core.node,
    ),
    "v1 Endpoints": ("Endpoints|Age", core.endpoints),
    "v1 Event": (
        "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*",
        core.event,
    ),
    "v1 LimitRange": ("Created At", text.created),
    "v1 ResourceQuota": ("Request|Limit|Age", core.quota),
    "v1 PersistentVolume": (
        "Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*",
        storage.volume,
    ),
    "v1 PersistentVolumeClaim": (
        "Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*",
        storage.claim,
    ),
    "v1 ReplicationController": (
        "Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*",
        workloads.replica_set,
    ),
    "v1 ComponentStatus": ("Status|Message|Error", core.component_status),
    "apps/v1 ReplicaSet": (
        "Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*",
        workloads.replica_set,
    ),
    "apps/v1 Deployment": ("Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*", workloads.deployment),
    "apps/v1 StatefulSet": ("Ready|Age|Containers*|Images*", workloads.stateful_set),
    "apps/v1 DaemonSet": (
        "Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|Containers*|Images*|Selector*",
        workloads.daemon_set,
    ),
    "apps/v1 ControllerRevision": ("Controller|Revision|Age", workloads.controller_revision),
    "batch/v1 Job": ("Status|Completions|Duration|Age|Containers*|Images*|Selector*", workloads.job),
    "batch/v1 CronJob": (
        "Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|Containers*|Images*|Selector*",
        workloads.cron_job,
    ),
    "autoscaling/v2 HorizontalPodAutoscaler": ("Reference|Targets|MinPods|MaxPods|Replicas|Age", workloads.autoscaler),
    "policy/v1 PodDisruptionBudget": (
        "Min Available|Max Unavailable|Allowed Disruptions:integer|Age",
        workloads.budget,
    ),
    "networking.k8s.io/v1 Ingress": ("Class|Hosts|Address|Ports|Age", network.ingress),
    "networking.k8s.io/v1 IngressClass": ("Controller|Parameters|Age", network.ingress_class),
    "networking.k8s.io/v1 NetworkPolicy": ("Pod-Selector|Age", network.network_policy),
    "networking.k8s.io/v1 ServiceCIDR": ("CIDRs|Age", network.service_cidr),
    "networking.k8s.io/v1 IPAddress": ("ParentRef|Age", network.ip_address),
    "discovery.k8s.io/v1 EndpointSlice": ("AddressType|Ports|Endpoints|Age", network.endpoint_slice),
    "rbac.authorization.k8s.io/v1 Role": ("Created At:date", text.created),
    "rbac.authorization.k8s.io/v1 ClusterRole": ("Created At:date", text.created),
    "rbac.authorization.k8s.io/v1 RoleBinding": ("Role|Age|Users*|Groups*|ServiceAccounts*", core.binding),
    "rbac.authorization.k8s.io/v1 ClusterRoleBinding": ("Role|Age|Users*|Groups*|ServiceAccounts*", core.binding),
    "coordination.k8s.io/v1 Lease": ("Holder|Age", core.lease),
    "storage.k8s.io/v1 StorageClass": (
        "Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
        storage.storage_class,
    ),
    "storage.k8s.io/v1 CSIDriver": (
        "AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean|TokenRequests|RequiresRepublish:boolean|Modes|Age",
        storage.csi_driver,
    ),
    "storage.k8s.io/v1 CSINode": ("Drivers:integer|Age", storage.csi_node),
    "storage.k8s.io/v1 VolumeAttachment": ("Attacher|PV|Node|Attached:boolean|Age", storage.volume_attachment),
    "storage.k8s.io/v1 VolumeAttributesClass": ("DriverName|Age", storage.attributes_class),
    "storage.k8s.io/v1 CSIStorageCapacity": ("StorageClassName|Capacity", storage.storage_capacity),
    "scheduling.k8s.io/v1 PriorityClass": (
        "Value:integer|Global-Default:boolean|Age|PreemptionPolicy",
        core.priority_class,
    ),
    "node.k8s.io/v1 RuntimeClass": ("Handler|Age", core.runtime_class),
    "certificates.k8s.io/v1 CertificateSigningRequest": (
        "Age|SignerName|Requestor|RequestedDuration|Condition",
        policy.signing_request,
    ),
    "apiextensions.k8s.io/v1 CustomResourceDefinition": (
        "Scope|Versions|Created At:date|Group*|Kind*|ShortNames*|Established*:boolean",
        policy.definition,
    ),
    "apiregistration.k8s.io/v1 APIService": ("Service|Available|Age", policy.api_service),
    "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration": ("Webhooks:integer|Age", policy.webhooks),
    "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration": ("Webhooks:integer|Age", policy.webhooks),
    "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy": (
        "Validations:integer|ParamKind|Age",
        policy.admission_policy,
    ),
    "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding": (
        "PolicyName|ParamRef|Age",
        policy.policy_binding,
    ),
    "admissionregistration.k8s.io/v1 MutatingAdmissionPolicy": (
        "Mutations:integer|ParamKind|Age",
        policy.mutating_policy,
    ),
    "admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding": (
        "PolicyName|ParamRef|Age",
        policy.policy_binding,
    ),
    "flowcontrol.apiserver.k8s.io/v1 FlowSchema": (
        "PriorityLevel|MatchingPrecedence:integer|DistinguisherMethod|Age|MissingPL",
        policy.flow_schema,
    ),
}
DEFAULT: tuple[str, Cells] = ("Created At:date", text.created)
ALIASES = {
    "autoscaling/v1 HorizontalPodAutoscaler": "autoscaling/v2 HorizontalPodAutoscaler",
    "events.k8s.io/v1 Event": "v1 Event",
}


def column(text: str) -> Object:
    name, _, kind = text.partition(":")
    wide = name.endswith("*")
    name = name.rstrip("*")
    return {"name": name, "type": kind or "string", "format": "", "description": name, "priority": 1 if wide else 0}


NAME_COLUMN = {"name": "Name", "type": "string", "format": "name", "description": "Name of the object", "priority": 0}


def columns_of(resource: Resource) -> tuple[list[Object], Cells]:
    """The column definitions after Name, and what makes their cells."""
    if resource.custom is not None:
        columns, make = resource.custom.columns()
        return columns, make
    key = f"{resource.api_version} {resource.kind}"
    text, make = COLUMNS.get(ALIASES.get(key, key), DEFAULT)
    definitions = [column(one) for one in text.split("|")]
    if definitions[-1]["name"] == "Name":
        definitions[-1]["format"] = "name"
    return definitions, make


def table(resource: Resource, items: Sequence[Item], inclusion: str, version: str, metadata: Object) -> Object:
    """The Table of some items; `inclusion` is Metadata, Object or None."""
    definitions, make = columns_of(resource)
    named = resource.kind != "Event"  # a table of events names them in its last column
    rows = []
    for item in items:
        tree = _tree(item, resource)
        cells = [tree["metadata"]["name"], *make(tree)] if named else make(tree)
        rows.append({"cells": cells, "object": _included(tree, inclusion, version)})
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": [NAME_COLUMN, *definitions] if named else definitions,
        "rows": rows,
    }


def _tree(item: Item, resource: Resource) -> Object:
    if resource.storage_version or resource.custom is not None:
        from ..versions import to_version

        tree: Object = msgspec.json.decode(to_version(item, resource))
        return tree
    return item.object()


def _included(tree: Object, inclusion: str, version: str) -> Object | None:
    if inclusion == "None":
        return None
    if inclusion == "Object":
        return tree
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": tree["metadata"]}


__all__ = ["age", "table"]
