"""Fields of pods on a real node: what a container sees of them, and how a field that is not done is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mizzen.kube.resource import CONFIG_MAPS, EVENTS, PODS, Object, Resource
from mizzen.testing.plugin import RunningMesh
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh, until
from mizzen.up.process import UpProcess

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(180)]
RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", False, "RuntimeClass")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    home = tmp_path_factory.mktemp("fields")
    with UpProcess(home):
        yield RunningMesh(home)
    assert leftovers(home) == []


def shell(name: str, script: str, spec: dict[str, Any] | None = None, **fields: Any) -> Object:
    """A pod of one container `c` that runs a script once. spec: of the pod; fields: of the container."""
    container = {"name": "c", "image": "host", "command": ["sh", "-c", script], **fields}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **(spec or {}),
        },
    }  # fmt: skip


async def log_of(mesh: Mesh, pod: Object) -> str:
    """What the pod printed, once it has ended well; the pod is removed."""
    name = pod["metadata"]["name"]
    await mesh.client.create(PODS, pod, "default")
    ended = await until(
        lambda: mesh.client.get(PODS, name, "default"),
        lambda p: p["status"].get("phase") in ("Succeeded", "Failed"),
        30.0,
    )
    text = (await mesh.client.raw("GET", PODS.path("default", name, "log"))).decode()
    assert ended["status"]["phase"] == "Succeeded", (ended["status"], text)
    await mesh.client.delete(PODS, name, "default", grace_period_s=0)
    return text


def test_names(mesh: RunningMesh) -> None:
    spec = {
        "hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": True, "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["192.0.2.53"], "searches": ["a.example"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
        },
        "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["one.example", "two.example"]}],
    }  # fmt: skip

    async def ask(mesh: Mesh) -> None:
        text = await log_of(mesh, shell("names", "hostname; cat /etc/resolv.conf /etc/hosts", spec))
        name = "h.sub.default.svc.cluster.local"
        lines = text.splitlines()
        assert lines[0] == name
        assert lines[1:4] == ["nameserver 192.0.2.53", "search a.example", "options ndots:2 rotate"]
        assert "192.0.2.9\tone.example\ttwo.example" in lines
        assert any(line.endswith(f"{name}\th") for line in lines)
        own = await log_of(mesh, shell("override", "hostname", {"hostnameOverride": "mine.example"}))
        assert own == "mine.example\n"

    mesh.run(ask)


def test_identity(mesh: RunningMesh) -> None:
    spec = {
        "securityContext": {
            "runAsUser": 4001, "runAsGroup": 4002, "runAsNonRoot": True, "fsGroup": 4003, "supplementalGroups": [4004],
            "supplementalGroupsPolicy": "Strict", "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "77"}],
        },
        "volumes": [{"name": "v", "emptyDir": {}}],
    }  # fmt: skip
    fields = {
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "workingDir": "/v",
    }  # fmt: skip
    script = (
        "id -u; id -g; id -G; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; pwd; touch /v/x && stat -c %g /v/x; "
        "touch /etc/x 2>&1; grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status; exit 0"
    )

    async def ask(mesh: Mesh) -> None:
        lines = (await log_of(mesh, shell("identity", script, spec, **fields))).splitlines()
        assert lines[:2] == ["4001", "4002"]
        assert set(lines[2].split()) == {"4002", "4003", "4004"}
        assert lines[3:6] == ["77", "/v", "4003"]
        assert "Read-only file system" in lines[6]
        found = dict(line.split(":\t") for line in lines[7:])
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        assert int(found["CapBnd"], 16) == 1 << 12  # CAP_NET_ADMIN

    mesh.run(ask)


def test_namespaces(mesh: RunningMesh) -> None:
    spaces = ("net", "pid", "ipc")
    here = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in spaces}
    script = "for n in net pid ipc; do readlink /proc/self/ns/$n; done"

    async def ask(mesh: Mesh) -> None:
        own = (await log_of(mesh, shell("own", script))).split()
        assert all(mine != here[kind] for kind, mine in zip(spaces, own, strict=True))
        spec = {"hostNetwork": True, "hostPID": True, "hostIPC": True}
        assert (await log_of(mesh, shell("hosts", script, spec))).split() == list(here.values())
        shared = shell("shared", "exec sleep 100", {"shareProcessNamespace": True})
        shared["spec"]["containers"].append({**shared["spec"]["containers"][0], "name": "d"})
        await mesh.client.create(PODS, shared, "default")
        pod = await until(
            lambda: mesh.client.get(PODS, "shared", "default"), lambda p: p["status"].get("phase") == "Running", 30.0
        )
        seen = [(await mesh.exec(pod, "readlink", "/proc/self/ns/pid", container=name)).stdout for name in "cd"]
        assert seen[0] == seen[1] != here["pid"].encode() + b"\n"
        await mesh.client.delete(PODS, "shared", "default", grace_period_s=0)

    mesh.run(ask)


def test_volumes_and_variables(mesh: RunningMesh) -> None:
    spec = {
        "volumes": [
            {"name": "all", "projected": {"defaultMode": 0o440, "sources": [
                {"configMap": {"name": "field-settings", "items": [{"key": "a", "path": "in/a", "mode": 0o400}]}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"serviceAccountToken": {"path": "token", "audience": "me", "expirationSeconds": 600}},
            ]}},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }  # fmt: skip
    fields = {
        "env": [
            {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "field-settings", "key": "a"}}},
        ],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "field-settings"}}],
        "resources": {"limits": {"cpu": "250m", "memory": "256Mi"}},
        "volumeMounts": [
            {"name": "all", "mountPath": "/all", "readOnly": True},
            {"name": "tmp", "mountPath": "/sub", "subPathExpr": "$(NAME)/x"},
            {"name": "tmp", "mountPath": "/tmpfs"},
        ],
    }  # fmt: skip
    script = (
        "echo $LIMIT $NAME $A $P_a; cat /all/in/a; echo; stat -L -c %a /all/in/a /all/labels; cat /all/labels; echo; "
        "test -s /all/token && echo token; touch /all/x 2>/dev/null || echo ro; touch /sub/here; ls /tmpfs/variables/x; "
        "dd if=/dev/zero of=/tmpfs/big bs=1M count=2 2>/dev/null || echo full"
    )

    async def ask(mesh: Mesh) -> None:
        settings = {"metadata": {"name": "field-settings", "namespace": "default"}, "data": {"a": "one"}}
        await mesh.client.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", **settings}, "default")
        lines = (await log_of(mesh, shell("variables", script, spec, **fields))).splitlines()
        assert lines[:4] == ["250 variables one one", "one", "400", "440"]
        assert lines[4:9] == ['app="variables"', "token", "ro", "here", "full"], lines

    mesh.run(ask)


def test_limits(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        limits = {"limits": {"cpu": "250m", "memory": "256Mi"}}
        await mesh.client.create(PODS, shell("limited", "exec sleep 100", resources=limits), "default")
        pod = await until(
            lambda: mesh.client.get(PODS, "limited", "default"), lambda p: p["status"].get("phase") == "Running", 30.0
        )
        text = (await mesh.exec(pod, "cat", "/proc/1/cgroup")).stdout.decode()
        paths = {kinds: path for _, kinds, path in (line.split(":", 2) for line in text.splitlines())}

        def read(kind: str, file: str, unified: str) -> str:
            folder = next((path for kinds, path in paths.items() if kind in kinds.split(",")), None)
            if folder is None:
                return Path("/sys/fs/cgroup" + paths[""], unified).read_text().split()[0]
            return Path(f"/sys/fs/cgroup/{kind}{folder}", file).read_text().strip()

        assert read("memory", "memory.limit_in_bytes", "memory.max") == str(256 << 20)
        assert read("cpu", "cpu.cfs_quota_us", "cpu.max") == "25000"
        await mesh.client.delete(PODS, "limited", "default", grace_period_s=0)

    mesh.run(ask)


def test_hooks_messages_and_probes(mesh: RunningMesh) -> None:
    script = "until test -e /v/post; do sleep 0.02; done; echo ended > /v/message; trap 'exit 3' TERM; while :; do sleep 0.05; done"
    fields = {
        "lifecycle": {
            "postStart": {"exec": {"command": ["sh", "-c", "sleep 0.1; echo post > /v/post"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "cp /v/post /v/stopped"]}},
        },
        "startupProbe": {
            "exec": {"command": ["test", "-e", "/v/message"]}, "periodSeconds": 1, "failureThreshold": 30, "timeoutSeconds": 2,
        },
        "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/v/die"]}, "periodSeconds": 1, "failureThreshold": 1},
        "terminationMessagePath": "/v/said",
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }  # fmt: skip
    spec = {"volumes": [{"name": "v", "emptyDir": {}}], "restartPolicy": "Never", "terminationGracePeriodSeconds": 5}

    async def ask(mesh: Mesh) -> None:
        await mesh.client.create(PODS, shell("hooks", script, spec, **fields), "default")

        async def state() -> dict[str, Any]:
            found = await mesh.client.get(PODS, "hooks", "default")
            return dict((found["status"].get("containerStatuses") or [{}])[0])

        await until(state, lambda s: bool(s.get("started")), 30.0)
        pod = await mesh.client.get(PODS, "hooks", "default")
        result = await mesh.exec(pod, "sh", "-c", "echo said so > /v/said; touch /v/die")
        assert result.code == 0, result
        ended = await until(state, lambda s: "terminated" in s.get("state", {}), 30.0)
        assert ended["state"]["terminated"]["exitCode"] == 3
        assert ended["state"]["terminated"]["message"] == "said so\n"
        await mesh.client.delete(PODS, "hooks", "default", grace_period_s=0)
        failing = shell("fallback", "echo the reason; exit 4", terminationMessagePolicy="FallbackToLogsOnError")
        failing["spec"]["containers"][0] |= {
            "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [9]}}],
        }
        await mesh.client.create(PODS, failing, "default")

        async def fallback() -> Object:
            return await mesh.client.get(PODS, "fallback", "default")

        over = await until(fallback, lambda p: p["status"].get("phase") == "Failed", 30.0)
        assert over["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "the reason\n"
        await mesh.client.delete(PODS, "fallback", "default", grace_period_s=0)

    mesh.run(ask)


def test_a_field_that_is_not_done_is_refused_by_name(mesh: RunningMesh) -> None:
    pod = shell("refused", "true", {"hostUsers": False}, lifecycle={"preStop": {"sleep": {"seconds": 1}}})
    pod["spec"]["containers"][0]["securityContext"] = {"appArmorProfile": {"type": "RuntimeDefault"}}

    async def ask(mesh: Mesh) -> None:
        await mesh.client.create(PODS, pod, "default")

        async def waiting() -> dict[str, Any]:
            status = (await mesh.client.get(PODS, "refused", "default"))["status"]
            return dict((status.get("containerStatuses") or [{}])[0].get("state", {}).get("waiting") or {})

        state = await until(waiting, lambda found: found.get("reason") == "CreateContainerConfigError", 20.0)
        for path in ("spec.hostUsers: ", "spec.containers[0].securityContext.appArmorProfile: "):
            assert path in state["message"], state

        async def events() -> list[Object]:
            return (await mesh.client.list(EVENTS, "default", field_selector="involvedObject.name=refused")).items

        await until(events, lambda found: any(one["reason"] == "UnsupportedField" for one in found), 20.0)
        await mesh.client.delete(PODS, "refused", "default", grace_period_s=0)

    mesh.run(ask)


def test_a_handler_that_is_not_there(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        kind = {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "other"},
            "handler": "kata",
        }
        await mesh.client.create(RUNTIME_CLASSES, kind)
        await mesh.client.create(PODS, shell("classed", "true", {"runtimeClassName": "other"}), "default")

        async def events() -> list[Object]:
            return (await mesh.client.list(EVENTS, "default", field_selector="involvedObject.name=classed")).items

        await until(events, lambda found: any("no handler 'kata'" in one["message"] for one in found), 20.0)
        await mesh.client.delete(PODS, "classed", "default", grace_period_s=0)

    mesh.run(ask)


def test_too_much_on_disk(mesh: RunningMesh) -> None:
    spec = {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]}
    script = "dd if=/dev/urandom of=/v/big bs=1M count=3; sleep 100"

    async def ask(mesh: Mesh) -> None:
        mounts = [{"name": "v", "mountPath": "/v"}]
        await mesh.client.create(PODS, shell("full", script, spec, volumeMounts=mounts), "default")
        ended = await until(
            lambda: mesh.client.get(PODS, "full", "default"), lambda p: p["status"].get("phase") == "Failed", 60.0
        )
        assert ended["status"]["reason"] == "Evicted"
        assert ended["status"]["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
        await mesh.client.delete(PODS, "full", "default", grace_period_s=0)

    mesh.run(ask)
