"""Sidecar injection: a pod and the mesh's settings in, the pod with its proxy out; nothing is read from anywhere else.

`Settings` (MeshConfig, values, injection config, revision) + a pod + its workload → `inject_pod`. `webhook` answers
AdmissionReviews with it, `kube_inject` works on manifests. Not here: the HTTPS server, watching the settings.
"""

from mizzen.istiod.inject.config import InjectionConfig, Settings
from mizzen.istiod.inject.decision import injection_required
from mizzen.istiod.inject.inject import inject_pod
from mizzen.istiod.inject.webhook import admit, admit_json

__all__ = ["InjectionConfig", "Settings", "admit", "admit_json", "inject_pod", "injection_required"]
