"""A client of the Kubernetes API: kubeconfig, requests, list-watch informers, work queues, the controller helper.

Everyone else's door to an API server, ours or a real one. Objects are JSON dicts, addressed by `Resource` and `Key`.
"""

from mizzen.kube.client import Client, ObjectList, WatchEvent
from mizzen.kube.controller import After, Controller, itself, owner, run_controller
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.informer import Change, Informer, Informers, Store
from mizzen.kube.kubeconfig import KubeConfig, in_cluster, load
from mizzen.kube.resource import Key, Object, Resource, key_of
from mizzen.kube.workqueue import WorkQueue

__all__ = [
    "CONNECTION_ERRORS",
    "After",
    "ApiError",
    "Change",
    "Client",
    "Controller",
    "Informer",
    "Informers",
    "Key",
    "KubeConfig",
    "Object",
    "ObjectList",
    "Resource",
    "Store",
    "WatchEvent",
    "WorkQueue",
    "in_cluster",
    "itself",
    "key_of",
    "load",
    "owner",
    "run_controller",
]
