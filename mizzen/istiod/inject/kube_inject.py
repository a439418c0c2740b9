"""Manifests in, manifests with proxies out: what `kube-inject` does with every object of a file.

Kinds are known by name alone, whatever their group. Not here: the command's flags (commands.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mizzen.api.errors import Invalid
from mizzen.api.manifest import Document
from mizzen.istiod.inject.config import Object, Settings
from mizzen.istiod.inject.decision import injection_required
from mizzen.istiod.inject.inject import inject_pod
from mizzen.istiod.inject.proxy_config import effective
from mizzen.istiod.inject.workload import Workload, workload_of_pod

TEMPLATED = frozenset(
    {"Deployment", "DaemonSet", "ReplicaSet", "StatefulSet", "Job", "ReplicationController", "DeploymentConfig"}
)


def inject_documents(documents: Iterable[Document], settings: Settings) -> Iterator[Object]:
    """Every object, injected where it shall be. Raises Invalid that names file, line and object."""
    for document in documents:
        thing = document.object
        for problem in document.problems:
            raise Invalid(f"{document.file or 'input'}:{problem.line}", f"{problem.path}: {problem.reason}")
        try:
            yield inject_object(thing, settings)
        except Invalid as error:
            metadata = thing.get("metadata") or {}
            name = metadata.get("name") or metadata.get("generateName", "")
            place = f"{document.file or 'input'}:{document.line}: {thing.get('kind', 'object')}/{name}"
            raise Invalid(place, str(error), by=error.by) from error


def inject_object(thing: Object, settings: Settings) -> Object:
    """One object, injected when it is a workload that shall be; else itself."""
    kind = thing.get("kind")
    if kind == "Pod":
        metadata = thing.get("metadata") or {}
        pod = injected(metadata, thing.get("spec"), workload_of_pod(metadata), settings)
        return thing if pod is None else thing | pod
    spec = thing.get("spec")
    if kind == "CronJob" and isinstance(spec, dict):
        return inject_cron_job(thing, spec, settings)
    if kind in TEMPLATED and isinstance(spec, dict) and isinstance(spec.get("template"), dict):
        template = spec["template"]
        pod = injected(template.get("metadata") or {}, template.get("spec"), workload_of(thing), settings)
        return thing if pod is None else thing | {"spec": spec | {"template": template | pod}}
    return thing


def inject_cron_job(thing: Object, spec: Object, settings: Settings) -> Object:
    """A CronJob's pods carry the metadata of its jobs' template."""
    job = spec.get("jobTemplate")
    if not isinstance(job, dict) or not isinstance((job.get("spec") or {}).get("template"), dict):
        return thing
    template = job["spec"]["template"]
    pod = injected(job.get("metadata") or {}, template.get("spec"), workload_of(thing), settings)
    if pod is None:
        return thing
    pods = template | {"spec": pod["spec"]}
    jobs = job | {"metadata": pod["metadata"], "spec": job["spec"] | {"template": pods}}
    return thing | {"spec": spec | {"jobTemplate": jobs}}


def workload_of(thing: Object) -> Workload:
    metadata = thing.get("metadata") or {}
    return Workload(
        str(thing.get("kind", "")),
        str(thing.get("apiVersion", "")),
        metadata.get("name") or "",
        metadata.get("namespace") or "",
    )


def check_texts(metadata: Object) -> None:
    """Labels and annotations are texts; YAML's true and 8080 are none. Raises Invalid."""
    for field in ("labels", "annotations"):
        for name, value in (metadata.get(field) or {}).items():
            if value is not None and not isinstance(value, str):
                raise Invalid(f"metadata.{field}[{name}]", f"a string is expected, not {value!r}; put it in quotes")


def injected(metadata: Object, spec: object, workload: Workload, settings: Settings) -> Object | None:
    """{"metadata", "spec"} of an injected pod; None when it is left alone."""
    if not isinstance(spec, dict) or spec.get("hostNetwork"):
        return None
    check_texts(metadata)
    effective(settings.mesh.default_config, metadata.get("annotations") or {})  # type: ignore[arg-type]
    if not injection_required(settings.config, metadata, spec):
        return None
    return inject_pod({"metadata": metadata, "spec": spec}, workload, settings)
