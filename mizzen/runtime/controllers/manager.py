"""All controllers of one server, run together: the one list."""

from __future__ import annotations

import asyncio

from mizzen.kube.client import Client
from mizzen.kube.controller import Controller, run_controller
from mizzen.kube.informer import Informers
from mizzen.runtime.controllers.autoscaler import AutoscalerController
from mizzen.runtime.controllers.cronjob import CronJobController
from mizzen.runtime.controllers.daemonset import DaemonSetController
from mizzen.runtime.controllers.deployment import DeploymentController
from mizzen.runtime.controllers.disruption import DisruptionController
from mizzen.runtime.controllers.endpoints import EndpointsController, MirroringController
from mizzen.runtime.controllers.endpointslice import EndpointSliceController
from mizzen.runtime.controllers.events import Recorder
from mizzen.runtime.controllers.garbage_controller import GarbageCollector
from mizzen.runtime.controllers.job import JobController
from mizzen.runtime.controllers.namespace import NamespaceController
from mizzen.runtime.controllers.nodes import HeartbeatController, NodeController, PodCollector, TtlController
from mizzen.runtime.controllers.policystatus import PolicyStatusController
from mizzen.runtime.controllers.quota import QuotaController
from mizzen.runtime.controllers.replicaset import ReplicaSetController
from mizzen.runtime.controllers.roles import AggregationController
from mizzen.runtime.controllers.serviceaccount import RootCertificateController, ServiceAccountController
from mizzen.runtime.controllers.statefulset import StatefulSetController
from mizzen.runtime.controllers.tokens import Sign, TokenController
from mizzen.runtime.controllers.volumes import VolumeBinder, VolumeStatus
from mizzen.runtime.controllers.writes import Writer


def controllers(
    client: Client, informers: Informers, root_pem: str, sign: Sign | None = None
) -> list[tuple[Controller, int]]:
    """Every controller with its number of workers."""
    writer = Writer(client, informers)
    tokens: list[tuple[Controller, int]] = [(TokenController(writer, root_pem, sign), 1)] if sign else []
    return [
        *tokens,
        (NamespaceController(writer), 2),
        (ServiceAccountController(writer), 1),
        (RootCertificateController(writer, root_pem), 1),
        (DeploymentController(writer, Recorder(client, "deployment-controller")), 4),
        (ReplicaSetController(writer, Recorder(client, "replicaset-controller")), 4),
        (StatefulSetController(writer, Recorder(client, "statefulset-controller")), 2),
        (DaemonSetController(writer, Recorder(client, "daemonset-controller")), 2),
        (JobController(writer, Recorder(client, "job-controller")), 2),
        (CronJobController(writer, Recorder(client, "cronjob-controller")), 1),
        (EndpointSliceController(writer), 4),
        (EndpointsController(writer), 2),
        (MirroringController(writer), 1),
        (DisruptionController(writer), 1),
        (NodeController(writer), 1),
        (HeartbeatController(writer), 1),
        (TtlController(writer), 1),
        (PodCollector(writer), 1),
        (AggregationController(writer), 1),
        (AutoscalerController(writer, Recorder(client, "horizontal-pod-autoscaler")), 1),
        (QuotaController(writer), 2),
        (PolicyStatusController(writer), 1),
        (VolumeBinder(writer), 1),
        (VolumeStatus(writer), 1),
    ]


async def run_controllers(
    client: Client, root_pem: str, informers: Informers | None = None, sign: Sign | None = None
) -> None:
    """Run them all until cancelled.

    root_pem: the certificates that clients verify the server with. informers: shared ones that the caller runs; own ones otherwise.
    sign: makes tokens of claims, with the key that the server checks them by; without it Secrets for tokens are left alone.
    """
    shared = informers or Informers(client)
    async with asyncio.TaskGroup() as tasks:
        if informers is None:
            tasks.create_task(shared.run(), name="informers of the controllers")
        for controller, workers in controllers(client, shared, root_pem, sign):
            tasks.create_task(run_controller(controller, shared, workers=workers), name=type(controller).__name__)
        tasks.create_task(GarbageCollector(client, shared).run(), name="garbage collector")
