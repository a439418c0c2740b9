"""The one list of kinds with rules of their own, by plural and group. What is not here has only the common rules."""

from __future__ import annotations

from ..crd.definitions import Definition
from . import core, network, policy, workloads
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
    "leases.coordination.k8s.io": core.Lease(),
}
