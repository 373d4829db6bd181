"""Datadog push: readings to an agent (DogStatsD, UDP) or to Datadog's series API, through the official client.

In    an address; readings of exporters/datadog.py
Out   datagrams, or one HTTP request
Rule  the client is an extra: without it the start is refused with one line. An agent that is not there costs nothing
      and is not noticed (UDP); a request that fails raises UnavailableError
Why   the official client knows the limits of datagrams and requests; we know the numbers
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from harness.errors import UnavailableError, UsageError
from harness.exporters.datadog import Reading

KEY: Final = "DD_API_KEY"
"""In the environment: the key for the series API."""
STATSD_PORT: Final = 8125
API: Final = "https://api.datadoghq.com"
DATAGRAM_BYTES_MAX: Final = 1432
"""What fits into one datagram of an ordinary network."""
POINTS_MAX: Final = 500
"""Series in one request: the API takes 500 kB."""
NOT_THERE: Final = "the official client is not installed; pip install 'hive-harness[datadog]'"


class StatsdPush:
    """To an agent on this machine or near it."""

    def __init__(self, address: str) -> None:
        """Prepare for "host:port"; UsageError if the client is missing or the address is none."""
        host, port = _host_and_port(address or f"127.0.0.1:{STATSD_PORT}")
        try:
            from datadog.dogstatsd.base import DogStatsd  # noqa: PLC0415 - an extra: only who exports needs it
        except ModuleNotFoundError:
            raise UsageError(f"--export dogstatsd: {NOT_THERE}") from None
        self._client: Any = DogStatsd(
            host=host,
            port=port,
            # Its own defaults send one datagram for each number, and numbers about itself.
            disable_buffering=False,
            flush_interval=0,
            max_buffer_len=DATAGRAM_BYTES_MAX,
            disable_telemetry=True,
            origin_detection_enabled=False,
        )

    def push(self, readings: Iterable[Reading], at: float) -> None:
        """Send; lines that belong together share a datagram."""
        del at  # DogStatsD takes the time of arrival.
        for one in readings:
            send = self._client.increment if one.kind == "count" else self._client.gauge
            send(one.name, one.value, tags=list(one.tags))
        self._client.flush()

    def close(self) -> None:
        """Let go of the socket."""
        self._client.stop()


class ApiPush:
    """Straight to Datadog, without an agent."""

    def __init__(self, address: str, environ: Mapping[str, str] = os.environ) -> None:
        """Prepare for an endpoint like ``https://api.datadoghq.eu``; UsageError says what is missing."""
        key = environ.get(KEY, "")
        if not key:
            raise UsageError(f"--export datadog: needs the key in {KEY} (or use dogstatsd with an agent)")
        try:
            import datadog  # noqa: PLC0415 - an extra: only who exports needs it
            from datadog import api  # noqa: PLC0415
        except ModuleNotFoundError:
            raise UsageError(f"--export datadog: {NOT_THERE}") from None
        # A mute client would hide that nothing arrives.
        datadog.initialize(api_key=key, api_host=address or API, mute=False, hostname_from_config=False)
        client: Any = api
        self._metric = client.Metric
        self._errors = (client.exceptions.ApiError, client.exceptions.ClientError, ValueError)

    def push(self, readings: Iterable[Reading], at: float) -> None:
        """Send in as few requests as may be; UnavailableError with the client's words if one fails."""
        series = [
            {"metric": one.name, "type": one.kind, "points": [(at, one.value)], "tags": list(one.tags)}
            for one in readings
        ]
        for begin in range(0, len(series), POINTS_MAX):
            try:
                self._metric.send(
                    metrics=series[begin : begin + POINTS_MAX], attach_host_name=False, compress_payload=True
                )
            except self._errors as error:
                raise UnavailableError(f"Datadog does not take what is sent: {error}") from None

    def close(self) -> None:
        """Nothing is held."""


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise UsageError(f"--export dogstatsd={address}: must be HOST:PORT, such as 127.0.0.1:{STATSD_PORT}")
    return host, port or STATSD_PORT
