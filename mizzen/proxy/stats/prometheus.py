"""Tags taken out of statistic names, and the Prometheus text format. Source: Envoy's well-known tag names and their expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import string_matcher
from mizzen.proxy.stats.store import BUCKETS, COUNTER, GAUGE, HISTOGRAM, TEXT, Stat, cumulative

# tag, expression: the first group is cut out of the name, the second (or else the first) is the value; in Envoy's order
DEFAULTS: tuple[tuple[str, str], ...] = (
    ("envoy.response_code", r"_rq(_(\d{3}))$"),
    ("envoy.response_code_class", r"_rq_((\d))xx$"),
    ("envoy.http_conn_manager_listener_prefix", r"^listener\.(?:.*?)\.http\.((.*?)\.)"),
    ("envoy.listener_address", r"^listener\.(((?:[_.\d]*|[_\[\]aAbBcCdDeEfF\d]*|[^.]*?)_\d+|[^.]+?)\.)(?!admin)"),
    ("envoy.virtual_cluster", r"^vhost\.(?:.*?)\.vcluster\.((.*?)\.)"),
    ("envoy.virtual_host", r"^vhost\.((.*?)\.)(?:vcluster|route)\."),
    ("envoy.route", r"^vhost\.(?:.*?)\.route\.((.*?)\.)"),
    ("envoy.tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
    (
        "envoy.ext_authz_prefix",
        r"^(?:ext_authz|cluster)(?:.*?)\.ext_authz\.((.*?)\.)(?:ok|denied|error|disabled|failure_mode_allowed|timeout|total|active|invalid)$",
    ),
    ("envoy.local_http_ratelimit_prefix", r"^((.*?)\.)http_local_rate_limit\."),
    ("envoy.rbac_prefix", r"\.rbac\.((.*?)\.)(?:shadow_)?(?:allowed|denied)$"),
    ("envoy.cluster_name", r"^cluster\.(([^.]+)\.).*(?:)"),
    ("envoy.rds_route_config", r"^http\.(?:.*?)\.rds\.((.*?)\.)\w+?$"),
    ("envoy.http_conn_manager_prefix", r"^http\.((.*?)\.)"),
    ("envoy.worker_id", r"(?:^|\.)(worker_(\d+)\.)"),
    ("envoy.ssl_cipher", r"\.ssl\.(?:ciphers|versions|curves|sigalgs)(\.(.*?))$"),
    ("envoy.scoped_rds_config", r"^http\.(?:.*?)\.scoped_rds\.((.*?)\.)\w+?$"),
    ("envoy.xds_resource_name", r"^sds\.((.*?)\.)"),
)
UNCLEAN = re.compile(r"[^a-zA-Z0-9_]")


def _bounds(message: Any) -> tuple[Callable[[str], bool], tuple[float, ...]]:
    """Whose, and which: a HistogramBucketSettings. Raises ConfigError."""
    bounds = tuple(message.buckets)
    if not bounds or list(bounds) != sorted({*bounds}) or bounds[0] <= 0:
        raise ConfigError("HistogramBucketSettings.buckets: positive bounds are required, each above the one before it")
    return string_matcher(message.match, "HistogramBucketSettings.match"), bounds


class Tags:
    """Which parts of names become labels: Envoy's own rules, the bootstrap's stats_tags, fixed values."""

    def __init__(self, config: Any, node: Any) -> None:
        self.rules: list[tuple[str, re.Pattern[str]]] = []
        self.fixed: list[tuple[str, str]] = []
        own: list[tuple[str, re.Pattern[str]]] = []
        for tag in config.stats_tags:
            if tag.WhichOneof("tag_value") == "fixed_value":
                self.fixed.append((tag.tag_name, tag.fixed_value))
            elif tag.regex:
                try:
                    own.append((tag.tag_name, re.compile(tag.regex)))
                except re.error as error:
                    raise ConfigError(f"Invalid regex '{tag.regex}': {error}") from error
        if not config.HasField("use_all_default_tags") or config.use_all_default_tags.value:
            self.rules += [(name, re.compile(text)) for name, text in DEFAULTS]
        self.own = own
        self._cache: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {}
        self._buckets = [_bounds(each) for each in config.histogram_bucket_settings]

    def bounds(self, name: str) -> Sequence[float]:
        """The upper bounds of a histogram's buckets: those of the first setting that matches its name, else Envoy's own."""
        return next((bounds for matches, bounds in self._buckets if matches(name)), BUCKETS)

    def split(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        """A name without its tags, and the tags."""
        found = self._cache.get(name)
        if found is None:
            if len(self._cache) > 50_000:
                self._cache.clear()
            found = self._cache[name] = self._split(name)
        return found

    def _split(self, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        tags: list[tuple[str, str]] = []
        spans: list[tuple[int, int]] = []
        for tag, pattern in (*self.rules, *self.own):
            if any(tag == known for known, _ in tags):
                continue
            found = pattern.search(name)
            if found is None or found.lastindex is None:
                continue
            value = found[2] if pattern.groups >= 2 and found[2] is not None else found[1]
            tags.append((tag, value))
            spans.append(found.span(1))
        out, at = "", 0
        for start, end in merged(spans):
            out += name[at:start]
            at = end
        return out + name[at:], (*tags, *self.fixed)


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def clean(name: str) -> str:
    return UNCLEAN.sub("_", name)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def metric_name(name: str) -> str:
    """Envoy's metrics get its prefix; a custom namespace (istio_…) keeps its own name."""
    if name.startswith(("istio_", "_istio_")):
        return clean(name.lstrip("_"))
    return "envoy_" + clean(name)


TYPES = {COUNTER: "counter", GAUGE: "gauge", HISTOGRAM: "histogram"}


def exposition(stats: list[Stat], tags: Tags, text_readouts: bool = False) -> str:
    """The Prometheus text of these statistics."""
    families: dict[tuple[str, str], list[tuple[str, Stat]]] = {}
    for stat in stats:
        if stat.kind == TEXT and not text_readouts:
            continue
        if stat.tags is None:
            base, labels = tags.split(stat.name)
        else:
            base, labels = stat.tag_name or stat.name, (*stat.tags, *tags.fixed)
        text = ",".join(f'{clean(name)}="{escaped(value)}"' for name, value in labels)
        families.setdefault((metric_name(base), stat.kind), []).append((text, stat))
    out: list[str] = []
    for (name, kind), members in sorted(families.items()):
        out.append(f"# TYPE {name} {TYPES.get(kind, 'gauge')}")
        for labels_text, stat in members:
            if kind == HISTOGRAM:
                out += histogram_lines(name, labels_text, stat.value, tags.bounds(stat.name))
            elif kind == TEXT:
                label = f'{labels_text}{"," if labels_text else ""}text_value="{escaped(stat.value)}"'
                out.append(f"{name}{{{label}}} 0")
            else:
                out.append(f"{name}{{{labels_text}}} {stat.value}")
    return "\n".join(out) + "\n" if out else ""


def histogram_lines(name: str, labels: str, histogram: Any, bounds: Sequence[float]) -> list[str]:
    comma = "," if labels else ""
    lines = [
        f'{name}_bucket{{{labels}{comma}le="{bound:g}"}} {count}'
        for bound, count in zip(bounds, cumulative(histogram.bins, bounds), strict=True)
    ]
    lines.append(f'{name}_bucket{{{labels}{comma}le="+Inf"}} {histogram.count}')
    lines.append(f"{name}_sum{{{labels}}} {histogram.total:g}")
    lines.append(f"{name}_count{{{labels}}} {histogram.count}")
    return lines
