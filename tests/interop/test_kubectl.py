"""The machine's own kubectl drives the API server and a node: what people type, and what they see."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizzen.up.leftovers import leftovers
from mizzen.up.process import UpProcess

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(120)]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: mizzen/samples:0.1.0
        args: [echo]
        env: [{name: SAMPLES_LOG, value: "1"}]
        ports: [{containerPort: 9080, name: http}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
"""


class Kubectl:
    """Runs kubectl against one mesh, in namespace shop."""

    def __init__(self, kubeconfig: Path) -> None:
        program = shutil.which("kubectl")
        assert program is not None, "kubectl is needed on PATH"
        self.base = [program, "--kubeconfig", str(kubeconfig), "-n", "shop"]

    def run(self, words: str, stdin: str = "", *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.base, *words.split(), *more], input=stdin, capture_output=True, text=True, check=False, timeout=60
        )

    def __call__(self, words: str, stdin: str = "", *more: str) -> str:
        done = self.run(words, stdin, *more)
        assert done.returncode == 0, f"kubectl {words}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    home = tmp_path_factory.mktemp("kubectl")
    with UpProcess(home):
        tool = Kubectl(home / "kubeconfig")
        tool("create namespace shop")
        tool("apply -f -", WEB)
        tool("rollout status deployment/web --timeout=40s")
        yield tool
    assert leftovers(home) == []


def test_nodes_and_pods_as_tables(kubectl: Kubectl) -> None:
    assert re.search(r"\bReady\b", kubectl("get nodes"))
    table = kubectl("get pods -o wide")
    assert table.split("\n")[0].split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert re.search(r"web-\S+\s+1/1\s+Running", table)
    assert "istiod" in kubectl("get services -A")


def test_output_forms(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("get deployment web -o json"))["spec"]["replicas"] == 1
    assert "replicas: 1" in kubectl("get deployment web -o yaml")
    assert kubectl("get deployment web -o jsonpath={.metadata.name}") == "web"
    assert kubectl("get deployments -o name") == "deployment.apps/web\n"


def test_create_label_annotate_patch_delete(kubectl: Kubectl) -> None:
    assert kubectl("create configmap notes --from-literal=a=1") == "configmap/notes created\n"
    kubectl("label configmap notes tier=front")
    kubectl("annotate configmap notes why=test")
    kubectl("patch configmap notes --type merge -p", "", '{"data":{"b":"2"}}')
    found = json.loads(kubectl("get configmap notes -o json"))
    assert found["data"] == {"a": "1", "b": "2"}
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]["why"]) == ({"tier": "front"}, "test")
    assert "notes" in kubectl("get configmaps -l tier=front")
    assert kubectl("delete configmap notes") == 'configmap "notes" deleted\n'
    again = kubectl.run("get configmap notes")
    assert again.returncode == 1
    assert "NotFound" in again.stderr


def test_apply_client_side_and_server_side(kubectl: Kubectl) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: '%s'}\n"
    assert "created" in kubectl("apply -f -", manifest % 1)
    assert "unchanged" in kubectl("apply -f -", manifest % 1)
    assert "configured" in kubectl("apply -f -", manifest % 2)
    kubectl("apply --server-side --force-conflicts --field-manager=one -f -", manifest % 3)
    conflict = kubectl.run("apply --server-side --field-manager=two -f -", manifest % 4)
    assert conflict.returncode == 1
    assert "conflict" in conflict.stderr
    assert kubectl("get configmap applied -o jsonpath={.data.a}") == "3"


def test_scaling_and_waiting(kubectl: Kubectl) -> None:
    kubectl("scale deployment/web --replicas=2")
    kubectl("rollout status deployment/web --timeout=30s")
    kubectl("wait --for=condition=Available deployment/web --timeout=20s")
    assert len(kubectl("get pods -l app=web -o name").split()) == 2
    kubectl("scale deployment/web --replicas=1")


def test_rollouts_go_forward_and_back(kubectl: Kubectl) -> None:
    kubectl("set env deployment/web STEP=two")
    assert "successfully rolled out" in kubectl("rollout status deployment/web --timeout=40s")
    history = kubectl("rollout history deployment/web")
    assert re.findall(r"^(\d+)\s", history, re.M) == ["1", "2"]
    assert kubectl("rollout undo deployment/web") == "deployment.apps/web rolled back\n"
    kubectl("rollout status deployment/web --timeout=40s")
    assert "STEP" not in kubectl("get deployment web -o jsonpath={.spec.template.spec.containers[0].env}")
    assert (
        kubectl("get deployment web -o jsonpath={.metadata.generation}") == "5"
    )  # scaled twice before: no write of ours counts


def test_more_output_forms(kubectl: Kubectl) -> None:
    assert kubectl("get deployment web --no-headers -o custom-columns=:metadata.name,:spec.replicas").split() == [
        "web",
        "1",
    ]
    assert "Name:" in kubectl("describe deployment web")
    assert kubectl("get deployment web -o go-template={{.kind}}") == "Deployment"
    assert "f:spec" in kubectl("get deployment web -o yaml --show-managed-fields")
    assert kubectl("get deployments --sort-by=.metadata.name -o name") == "deployment.apps/web\n"


def test_files_are_copied_in_and_out(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("carried\n")
    pod = kubectl("get pods -l app=web -o jsonpath={.items[0].metadata.name}")
    kubectl(f"cp {tmp_path}/in.txt {pod}:/tmp/there.txt")
    assert kubectl(f"exec {pod} -- cat /tmp/there.txt") == "carried\n"
    kubectl(f"cp {pod}:/tmp/there.txt {tmp_path}/out.txt")
    assert (tmp_path / "out.txt").read_text() == "carried\n"


def test_logs_are_followed(kubectl: Kubectl) -> None:
    kubectl(
        "run talker --image=host --restart=Never --command -- sh -c",
        "",
        "for i in 1 2 3; do echo line $i; sleep 0.2; done",
    )
    kubectl("wait pod/talker --for=jsonpath={.status.phase}=Succeeded --timeout=30s")
    assert kubectl("logs -f talker") == "line 1\nline 2\nline 3\n"
    assert kubectl("logs talker --tail=1") == "line 3\n"
    kubectl("delete pod talker --now")


def test_jobs_complete(kubectl: Kubectl) -> None:
    kubectl("create job once --image=host -- true")
    kubectl("wait job/once --for=condition=Complete --timeout=30s")
    assert kubectl("get job once -o jsonpath={.status.succeeded}{.status.uncountedTerminatedPods}") == "1{}"
    kubectl("delete job once")


def test_quotas_refuse_what_is_too_much(kubectl: Kubectl) -> None:
    kubectl("create namespace tight")
    kubectl("create quota few --hard=configmaps=2 --namespace tight")
    kubectl("wait resourcequota/few --for=jsonpath={.status.hard.configmaps}=2 --timeout=20s --namespace tight")
    kubectl("wait resourcequota/few --for=jsonpath={.status.used.configmaps}=2 --timeout=20s --namespace tight")
    refused = kubectl.run("create configmap more --namespace tight")
    assert "exceeded quota: few, requested: configmaps=1, used: configmaps=2, limited: configmaps=2" in refused.stderr
    kubectl("delete namespace tight --wait=false")


def test_a_token_secret_signs_its_account_in(kubectl: Kubectl) -> None:
    kubectl("create serviceaccount robot")
    secret = """
    apiVersion: v1
    kind: Secret
    type: kubernetes.io/service-account-token
    metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}
    """
    kubectl("apply -f -", secret)
    kubectl("wait secret/robot-token --for=jsonpath={.data.token} --timeout=20s")
    token = base64.b64decode(kubectl("get secret robot-token -o jsonpath={.data.token}")).decode()
    # --token would lose to a client certificate in the kubeconfig: ask the server what the token is worth.
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    told = json.loads(kubectl("create --validate=false -o json -f -", json.dumps(review)))
    assert told["status"]["user"]["username"] == "system:serviceaccount:shop:robot"
    kubectl("delete serviceaccount robot")
    kubectl("wait secret/robot-token --for=delete --timeout=20s")


def test_cordon_and_drain(kubectl: Kubectl) -> None:
    node = kubectl("get nodes -o jsonpath={.items[0].metadata.name}")
    assert "cordoned" in kubectl(f"cordon {node}")
    assert "SchedulingDisabled" in kubectl("get nodes")
    drained = kubectl(f"drain {node} --ignore-daemonsets --delete-emptydir-data --pod-selector=app=web --timeout=60s")
    assert "evicted" in drained
    assert "unschedulable" in kubectl(
        "wait pod -l app=web --for=condition=PodScheduled=False --timeout=20s -o jsonpath={.status.conditions[0].message}"
    )
    assert "uncordoned" in kubectl(f"uncordon {node}")
    kubectl("rollout status deployment/web --timeout=40s")


def test_exec_logs_and_port_forward(kubectl: Kubectl) -> None:
    assert kubectl("exec deploy/web -- echo hello") == "hello\n"
    assert kubectl.run("exec deploy/web -- sh -c", "", "exit 3").returncode == 3
    assert kubectl("exec -i deploy/web -- cat", "through stdin") == "through stdin"
    forward = subprocess.Popen(
        [*kubectl.base, "port-forward", "deploy/web", ":9080"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert forward.stdout is not None
        port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert port is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/a-path-to-find", timeout=10) as answer:
            assert json.load(answer)["path"] == "/a-path-to-find"
    finally:
        forward.terminate()
        forward.wait(10)
    assert "a-path-to-find" in kubectl("logs deploy/web")


def test_explain_and_resources_of_istio(kubectl: Kubectl) -> None:
    assert "virtualservices" in kubectl("api-resources --api-group=networking.istio.io")
    assert "timeout" in kubectl("explain virtualservice.spec.http")


def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    kubectl("create namespace passing")
    kubectl("create configmap x --namespace passing --from-literal=a=1")
    kubectl("delete namespace passing --timeout=30s")
    assert kubectl.run("get namespace passing").returncode == 1
