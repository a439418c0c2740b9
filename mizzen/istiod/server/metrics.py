"""Counters, gauges and histograms in Prometheus' text format, and the list of those that istiod keeps.

`Metrics` has one attribute-free door: `add`, `set`, `observe` by metric name and labels. Names are exported as written.
Not here: who counts what.
Source: istiod's metric names; Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

Labels = tuple[tuple[str, str], ...]

SECONDS = (0.01, 0.1, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
CONVERGENCE = (0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
BYTES = (1.0, 10_000.0, 1_000_000.0, 4_000_000.0, 10_000_000.0, 40_000_000.0)


class Definition(NamedTuple):
    """A metric: its type, help, and for a histogram its upper bounds."""

    type: Literal["counter", "gauge", "histogram"]
    help: str
    buckets: tuple[float, ...] = ()


DEFINITIONS: dict[str, Definition] = {
    "pilot_info": Definition("gauge", "Pilot version and build information."),
    "istio_build": Definition("gauge", "Istio component build info"),
    "istiod_uptime_seconds": Definition("gauge", "Current istiod server uptime in seconds"),
    "pilot_xds": Definition("gauge", "Number of endpoints connected to this pilot using XDS."),
    "pilot_services": Definition("gauge", "Total services known to pilot."),
    "pilot_virt_services": Definition("gauge", "Total virtual services known to pilot."),
    "pilot_xds_pushes": Definition("counter", "Pilot build and send errors for lds, rds, cds and eds."),
    "pilot_xds_push_time": Definition("histogram", "Total time in seconds Pilot takes to push.", SECONDS),
    "pilot_proxy_convergence_time": Definition(
        "histogram",
        "Delay in seconds between config change and a proxy receiving all required configuration.",
        CONVERGENCE,
    ),
    "pilot_debounce_time": Definition(
        "histogram", "Delay in seconds between the first config enters debouncing and the merged push.", SECONDS
    ),
    "pilot_pushcontext_init_seconds": Definition(
        "histogram", "Total time in seconds Pilot takes to init pushContext.", SECONDS
    ),
    "pilot_push_triggers": Definition("counter", "Total number of times a push was triggered, by reason."),
    "pilot_inbound_updates": Definition("counter", "Total number of updates received by pilot."),
    "pilot_xds_config_size_bytes": Definition("histogram", "Distribution of configuration sizes pushed", BYTES),
    "pilot_total_xds_rejects": Definition("counter", "Total number of XDS responses from pilot rejected by proxy."),
    "pilot_xds_cds_reject": Definition("gauge", "Pilot rejected CDS configs."),
    "pilot_xds_eds_reject": Definition("gauge", "Pilot rejected EDS."),
    "pilot_xds_lds_reject": Definition("gauge", "Pilot rejected LDS."),
    "pilot_xds_rds_reject": Definition("gauge", "Pilot rejected RDS."),
    "pilot_xds_expired_nonce": Definition("counter", "Total number of XDS requests with an expired nonce."),
    "pilot_total_xds_internal_errors": Definition("counter", "Total number of internal XDS errors in pilot."),
    "pilot_total_rejected_configs": Definition(
        "counter", "Total number of configs that Pilot had to reject or ignore."
    ),
    "pilot_k8s_cfg_events": Definition("counter", "Events from k8s config."),
    "pilot_k8s_reg_events": Definition("counter", "Events from k8s registry."),
    "galley_validation_passed": Definition("counter", "Resource is valid"),
    "galley_validation_failed": Definition("counter", "Resource validation failed"),
    "galley_validation_http_error": Definition("counter", "Resource validation http serve errors"),
    "sidecar_injection_requests_total": Definition("counter", "Total number of sidecar injection requests."),
    "sidecar_injection_success_total": Definition("counter", "Total number of successful sidecar injection requests."),
    "sidecar_injection_failure_total": Definition("counter", "Total number of failed sidecar injection requests."),
    "sidecar_injection_skip_total": Definition("counter", "Total number of skipped sidecar injection requests."),
    "sidecar_injection_time_seconds": Definition("histogram", "Total time taken for injection in seconds.", SECONDS),
    "webhook_patch_attempts": Definition("counter", "Webhook patching attempts"),
    "webhook_patch_failures": Definition("counter", "Webhook patching total failures"),
    "citadel_server_csr_count": Definition("counter", "The number of CSRs received by Citadel server."),
    "citadel_server_authentication_failure_count": Definition("counter", "The number of authentication failures."),
    "citadel_server_csr_parsing_err_count": Definition("counter", "The number of errors when parsing the CSR."),
    "citadel_server_csr_sign_err_count": Definition("counter", "The number of errors when signing the CSR."),
    "citadel_server_success_cert_issuance_count": Definition("counter", "The number of certificates issued."),
    "citadel_server_root_cert_expiry_timestamp": Definition("gauge", "When the root certificate expires, Unix time."),
}


class _Histogram:
    __slots__ = ("counts", "sum")

    def __init__(self, size: int) -> None:
        self.counts, self.sum = [0] * (size + 1), 0.0


class Metrics:
    """The values. `collectors` are called before each rendering to set what is looked up rather than counted."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self.collectors: list[Callable[[], None]] = []

    def add(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        values = self._values.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        values[key] = values.get(key, 0.0) + amount

    def set(self, name: str, value: float, /, **labels: str) -> None:
        self._values.setdefault(name, {})[tuple(sorted(labels.items()))] = value

    def clear(self, name: str) -> None:
        """Forget a gauge's values of all labels."""
        self._values.pop(name, None)

    def get(self, name: str, /, **labels: str) -> float:
        return self._values.get(name, {}).get(tuple(sorted(labels.items())), 0.0)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        bounds = DEFINITIONS[name].buckets
        known = self._histograms.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        histogram = known.get(key)
        if histogram is None:
            histogram = known[key] = _Histogram(len(bounds))
        histogram.counts[bisect_left(bounds, value)] += 1
        histogram.sum += value

    def render(self) -> str:
        """All metrics that have a value, in the order of DEFINITIONS."""
        for collect in self.collectors:
            collect()
        return "".join(f"{line}\n" for name in DEFINITIONS for line in self._lines(name))

    def _lines(self, name: str) -> Iterator[str]:
        definition = DEFINITIONS[name]
        if name not in self._values and name not in self._histograms:
            return
        yield f"# HELP {name} {definition.help}"
        yield f"# TYPE {name} {definition.type}"
        for labels, value in sorted(self._values.get(name, {}).items()):
            yield f"{name}{_labels(labels)} {_number(value)}"
        for labels, histogram in sorted(self._histograms.get(name, {}).items()):
            total = 0
            for bound, count in zip((*definition.buckets, float("inf")), histogram.counts, strict=True):
                total += count
                yield f"{name}_bucket{_labels((*labels, ('le', _number(bound))))} {total}"
            yield f"{name}_sum{_labels(labels)} {_number(histogram.sum)}"
            yield f"{name}_count{_labels(labels)} {total}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = ((k, v.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')) for k, v in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)
