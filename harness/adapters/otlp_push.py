"""OTLP push: metrics to an OpenTelemetry collector over HTTP, through the official exporter.

In    the address of a collector; metrics of exporters/otlp.py
Out   one request with all of them, protobuf
Rule  the exporter is an extra: without it the start is refused with one line; a push that fails raises UnavailableError
Why   only the last step is theirs: their own histograms and readers would cost five to sixteen times as much a record
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from harness import __version__
from harness.core.series import Labels
from harness.errors import UnavailableError, UsageError
from harness.exporters.otlp import Exponential, Metric, Point

ENDPOINT: Final = "http://127.0.0.1:4318/v1/metrics"
SERVICE: Final = "hive-harness-chat"
TIMEOUT_S: Final = 5.0
NOT_THERE: Final = "the official exporter is not installed; pip install 'hive-harness[otlp]'"


class OtlpPush:
    """One collector."""

    def __init__(self, address: str, started: float) -> None:
        """Prepare for a URL; ``started`` (Unix seconds) is when the counters began. UsageError says what is missing."""
        if address and not address.startswith(("http://", "https://")):
            raise UsageError(f"--export otlp={address}: must be a URL such as {ENDPOINT}")
        try:
            from opentelemetry.exporter.otlp.proto.http import metric_exporter  # noqa: PLC0415 - an extra
            from opentelemetry.sdk.metrics import export  # noqa: PLC0415
            from opentelemetry.sdk.metrics._internal.point import Buckets  # noqa: PLC0415 - not to be had elsewhere
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
        except ModuleNotFoundError:
            raise UsageError(f"--export otlp: {NOT_THERE}") from None
        # It logs what it also returns; who pushes says it once.
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter").propagate = False
        self._types: Any = export
        self._buckets: Any = Buckets
        self._resource = Resource({"service.name": SERVICE, "service.version": __version__})
        self._scope = InstrumentationScope("hive-harness", __version__)
        self._exporter: Any = metric_exporter.OTLPMetricExporter(endpoint=address or ENDPOINT, timeout=TIMEOUT_S)
        self._started = _nanoseconds(started)

    def push(self, metrics: Iterable[Metric], at: float) -> None:
        """Send all of them as they are at ``at``; UnavailableError if the collector does not take them."""
        types = self._types
        data = types.MetricsData(
            [
                types.ResourceMetrics(
                    self._resource,
                    [types.ScopeMetrics(self._scope, [self._metric(one, _nanoseconds(at)) for one in metrics], "")],
                    "",
                )
            ]
        )
        if self._exporter.export(data) is not types.MetricExportResult.SUCCESS:
            raise UnavailableError("the OTLP collector does not take what is sent")

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()

    def _metric(self, metric: Metric, now: int) -> Any:
        types = self._types
        cumulative = types.AggregationTemporality.CUMULATIVE
        points = [self._point(point, now) for point in metric.points]
        match metric.family.kind:
            case "counter":
                data = types.Sum(points, cumulative, is_monotonic=True)
            case "histogram":
                data = types.ExponentialHistogram(points, cumulative)
            case _:
                data = types.Gauge(points)
        return types.Metric(metric.name, metric.family.help, metric.unit, data)

    def _point(self, point: Point, now: int) -> Any:
        if not isinstance(point.value, Exponential):
            return self._types.NumberDataPoint(_attributes(point.labels), self._started, now, point.value)
        value = point.value
        return self._types.ExponentialHistogramDataPoint(
            attributes=_attributes(point.labels),
            start_time_unix_nano=self._started,
            time_unix_nano=now,
            count=value.n,
            sum=value.total,
            scale=value.scale,
            zero_count=value.zeros,
            positive=self._buckets(value.offset, list(value.counts)),
            negative=self._buckets(0, []),
            flags=0,
            min=value.low,
            max=value.high,
        )


def _attributes(labels: Labels) -> dict[str, str]:
    return dict(labels)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
