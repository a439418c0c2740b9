"""The one list of kinds with rules of their own, by plural and group. What is not here has only the common rules."""

from __future__ import annotations

from ..crd.definitions import Definition
from . import admissions, core, flow, network, policy, rbac, storage, workloads
from .base import Strategy
from .jobs import CronJob, Job
from .pods import Pod
from .services import Service

STRATEGIES: dict[str, Strategy] = {
    "configmaps": core.ConfigMap(),
    "secrets": core.Secret(),
    "namespaces": core.Namespace(),
    "serviceaccounts": core.ServiceAccount(),
    "nodes": core.Node(),
    "events": core.Event(),
    "limitranges": core.LimitRange(),
    "resourcequotas": core.ResourceQuota(),
    "podtemplates": core.PodTemplate(),
    "pods": Pod(),
    "services": Service(),
    "customresourcedefinitions.apiextensions.k8s.io": Definition(),
    "replicationcontrollers": workloads.ReplicationController(),
    "deployments.apps": workloads.Deployment(),
    "replicasets.apps": workloads.ReplicaSet(),
    "statefulsets.apps": workloads.StatefulSet(),
    "daemonsets.apps": workloads.DaemonSet(),
    "controllerrevisions.apps": workloads.ControllerRevision(),
    "jobs.batch": Job(),
    "cronjobs.batch": CronJob(),
    "endpoints": network.Endpoints(),
    "ingresses.networking.k8s.io": network.Ingress(),
    "ingressclasses.networking.k8s.io": network.IngressClass(),
    "networkpolicies.networking.k8s.io": network.NetworkPolicy(),
    "endpointslices.discovery.k8s.io": network.EndpointSlice(),
    "horizontalpodautoscalers.autoscaling": policy.HorizontalPodAutoscaler(),
    "poddisruptionbudgets.policy": policy.PodDisruptionBudget(),
    "priorityclasses.scheduling.k8s.io": policy.PriorityClass(),
    "runtimeclasses.node.k8s.io": policy.RuntimeClass(),
    "persistentvolumes": storage.PersistentVolume(),
    "persistentvolumeclaims": storage.PersistentVolumeClaim(),
    "storageclasses.storage.k8s.io": storage.StorageClass(),
    "csidrivers.storage.k8s.io": storage.CSIDriver(),
    "volumeattachments.storage.k8s.io": storage.VolumeAttachment(),
    "roles.rbac.authorization.k8s.io": rbac.Role(),
    "clusterroles.rbac.authorization.k8s.io": rbac.ClusterRole(),
    "rolebindings.rbac.authorization.k8s.io": rbac.Binding(),
    "clusterrolebindings.rbac.authorization.k8s.io": rbac.ClusterBinding(),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": admissions.Webhooks(),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": admissions.MutatingWebhooks(),
    "validatingadmissionpolicies.admissionregistration.k8s.io": admissions.ValidatingPolicy(),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": admissions.MutatingPolicy(),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": admissions.PolicyBinding(),
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": admissions.MutatingBinding(),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": flow.PriorityLevel(),
    "flowschemas.flowcontrol.apiserver.k8s.io": flow.FlowSchema(),
    "certificatesigningrequests.certificates.k8s.io": flow.SigningRequest(),
    "leases.coordination.k8s.io": core.Lease(),
}
