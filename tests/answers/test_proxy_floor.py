"""The proxy beside what a real Envoy answered: the figure may only go up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

JUDGE = Path(__file__).parent / "proxy" / "judge.py"
FLOOR_PERCENT = 97.0
# cases that must stay wholly equal
EQUAL = (
    "access-log-filters access-log-operators active-health-checks admin-actions admin-views bad-bootstraps buffer-compress- "
    "circuit-breakers client-address-edge client-address-internal clusters continue-and-early cors direct-responses dns- "
    "expect- ext-authz-grpc ext-authz-http fault-injection faults files-rds-eds filter-chain-addresses forwarding grpc- "
    "grpc-web-and-stats h1-framing- h1-pipelining-keepalive header-formatters header-most-specific-wins health host jwt- "
    "jwt-then-rbac jwt-verdicts lb- lb-basic-policies lb-consistent-hash lb-priorities-and-localities limit local-rate- "
    "local-replies local-reply-config matchers metadata-filters mirroring network-rbac-mtls normalisation other- outlier- "
    "detection path- permissions proxy rbac- rbac-log-and-matcher rbac-principals-ip redirects request-ids requirements "
    "retries- retries-headers retries-per-try rewrites route-header-matchers route-path- route-query-grpc-runtime search- "
    "order sources- subsets tcp- timeouts-route vhost- weighted-clusters xds- xds-files-lds-cds xfcc-modes"
).split()


@pytest.mark.answers
@pytest.mark.timeout(400)
def test_floor() -> None:
    command = [sys.executable, str(JUDGE), "check", "--min", "0", "--show", "3", "--jobs", "4", "--"]
    command += [sys.executable, "-m", "mizzen.proxy"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=390, check=False).stdout
    found = re.search(r"observations right: ([\d.]+) %", out)
    assert found, out[-2000:]
    assert float(found[1]) >= FLOOR_PERCENT, out
    differing = set(re.findall(r"^DIFF ([\w-]+):", out, re.MULTILINE))
    assert not differing & set(EQUAL), out
