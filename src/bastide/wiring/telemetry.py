"""Spans of OpenTelemetry, sent to a collector over HTTP. The only module that loads its libraries, and only where the settings name a collector.

What leaves: names of methods, routes and jobs, durations, the id of a request, how many rows, a status, the code or type of an error. No argument, no result, no message of an
error, no address that a caller typed. What callers say about traces of their own (`traceparent`) is not believed.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, Status, StatusCode, get_current_span

from bastide.config import ConfigError, Telemetry, secret_path
from bastide.domain.errors import BastideError

#: Seconds that a collector has to answer; and, when the service stops, to take what waits.
_TIMEOUT = 10.0
_LAST = 5.0
_log = logging.getLogger(__name__)


class OtelSpans:
    """Spans over a provider of its own: nothing global is set. Of the environment the library reads its own variables (OTEL_*) all the same, where nothing is set here: limits,
    the queue, headers to add, whether it is off.
    """

    def __init__(self, exporter: SpanExporter, node: str) -> None:
        resource = Resource(
            {"service.name": "bastide", "service.version": version("bastide"), "service.instance.id": node}
        )
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bastide")

    @classmethod
    def to_collector(cls, settings: Telemetry, node: str) -> "OtelSpans":
        """Raises ConfigError for a token that cannot be read."""
        session = requests.Session()
        session.trust_env = False  # neither proxies nor passwords of ~/.netrc
        exporter = OTLPSpanExporter(
            endpoint=settings.endpoint,
            certificate_file=settings.ca,
            headers=_headers(settings.token),
            timeout=_TIMEOUT,
            session=session,
        )
        return cls(exporter, node)

    @contextmanager
    def span(self, name: str, facts: Mapping[str, str | int]) -> Iterator["OtelSpan"]:
        """Around what goes on; a child of the one that goes on around it."""
        parent = None if get_current_span().get_span_context().is_valid else Context()
        with self._tracer.start_as_current_span(
            name, context=parent, attributes=facts, record_exception=False, set_status_on_exception=False
        ) as made:
            try:
                yield OtelSpan(made)
            except BaseException as error:
                made.set_attribute(
                    "error.type", error.code if isinstance(error, BastideError) else type(error).__name__
                )
                made.set_status(Status(StatusCode.ERROR))
                raise

    def close(self) -> None:
        """Send what waits, for a few seconds at most: the library would try for half a minute, which is all that systemd gives a service to stop."""
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(_LAST)
        if ending.is_alive():
            _log.warning("the collector does not answer: the last spans are lost")


class OtelSpan:
    """One of them."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def call(self, name: str) -> None:
        """A better name."""
        self._span.update_name(name)

    def say(self, facts: Mapping[str, str | int]) -> None:
        """Names and numbers."""
        self._span.set_attributes(facts)


def _headers(token: str) -> dict[str, str]:
    if not token:
        return {}
    try:
        return {"authorization": f"Bearer {secret_path(token).read_text(encoding='ascii').strip()}"}
    except (OSError, UnicodeDecodeError):
        raise ConfigError("telemetry.token cannot be read, or is no token") from None
