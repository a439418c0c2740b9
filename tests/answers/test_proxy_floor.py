"""The proxy beside what a real Envoy answered: the figure may only go up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JUDGE = Path(__file__).parent / "proxy" / "judge.py"
FLOOR_PERCENT = 99.0
# cases that must stay wholly equal
EQUAL = (
    "access-log-filters access-log-operators admin-actions admin-views bad-bootstraps buffer-compress-health "
    "circuit-breakers client-address-edge client-address-internal cors direct-responses dns-clusters "
    "expect-continue-and-early ext-authz-grpc ext-authz-http fault-injection filter-chain-addresses grpc-local-replies "
    "grpc-web-and-stats h1-framing-faults h1-head-faults h1-limits-and-underscores h1-pipelining-keepalive "
    "h1-target-forms-and-versions h2-translation header-formatters header-manipulation header-most-specific-wins "
    "jwt-requirements jwt-sources-forwarding jwt-then-rbac jwt-verdicts lb-consistent-hash lb-priorities-and-localities "
    "lb-subsets local-rate-limit local-reply-config metadata-filters mirroring network-rbac-mtls path-normalisation "
    "proxy-protocol rbac-log-and-matcher rbac-permissions rbac-principals-ip redirects request-ids retries-headers "
    "retries-other-host rewrites route-header-matchers route-path-matchers route-query-grpc-runtime sni-routing tcp-proxy "
    "tls-termination-client-certs trailers-and-chunking upgrade-and-connect upstream-answer-faults vhost-search-order "
    "weighted-clusters xds-files-lds-cds xds-files-rds-eds xfcc-modes"
).split()


pytestmark = pytest.mark.answers


def judged(command: list[str]) -> None:
    """Fails when a proxy started by the command answers less than it did."""
    judge = [sys.executable, str(JUDGE), "check", "--min", "0", "--show", "3", "--jobs", "4", "--", *command]
    out = subprocess.run(judge, capture_output=True, text=True, timeout=390, check=False).stdout
    found = re.search(r"observations right: ([\d.]+) %", out)
    assert found, out[-2000:]
    assert float(found[1]) >= FLOOR_PERCENT, out
    differing = set(re.findall(r"^DIFF ([\w-]+):", out, re.MULTILINE))
    assert not differing & set(EQUAL), out


@pytest.mark.timeout(400)
def test_floor() -> None:
    judged([sys.executable, "-m", "mizzen.proxy"])


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: there is no compiled form here")
def test_floor_of_the_compiled_form(tmp_path: Path) -> None:
    """The same source with its hot modules compiled answers the same."""
    script = JUDGE.parents[3] / "scripts" / "compile-proxy"
    subprocess.run([script, "into", tmp_path], env={**os.environ, "PYTHON": sys.executable}, check=True, timeout=480)
    inside = ["env", "-C", str(tmp_path), f"PYTHONPATH={tmp_path}", sys.executable]
    where = subprocess.check_output([*inside, "-c", "import mizzen.proxy.http.stream as s; print(s.__file__)"], text=True)
    assert where.startswith(str(tmp_path)) and where.strip().endswith(".so")
    judged([*inside, "-m", "mizzen.proxy"])
