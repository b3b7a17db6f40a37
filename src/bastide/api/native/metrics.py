"""Figures for Prometheus, in its text format. The token of the settings admits, not a session: monitoring has no person, and sees nothing else."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from operator import attrgetter
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from bastide.http.calls import BOUNDS, Calls
from bastide.http.door import credentials, open_to_all
from bastide.http.handed import UseCases
from bastide.services.measures import Kind, Measure, Sample

#: Litestar adds the charset.
MEDIA_TYPE = "text/plain; version=0.0.4"
ANSWERS = Measure(
    "bastide_http_answers", "Answers since the start.", ("dialect", "method", "status"), Kind.COUNTER
)
#: With a `_bucket`, a `_count` and a `_sum`.
TIMES = Measure("bastide_http_answer_seconds", "How long answers took, until they began.", ("dialect",))


@get(
    "/metrics",
    opt=open_to_all(),
    sync_to_thread=True,
    media_type=MEDIA_TYPE,
    tags=["health"],
    security=[{"monitoring": []}],
    summary="Figures for Prometheus",
)
def metrics(
    request: Request[Any, Any, Any],
    services: UseCases,
    calls: NamedDependency[SkipValidation[Calls]],
) -> Response[bytes]:
    """With the token of metrics.token as bearer token."""
    scheme, token = credentials(request)
    services.measures.admit(token if scheme == "bearer" else "")
    return Response(_text(services.measures.read(), calls), media_type=MEDIA_TYPE)


def _text(samples: Sequence[Sample], calls: Calls) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # 3 MiB, where it is asked for
    from prometheus_client.process_collector import ProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Figures(samples, calls))
    return generate_latest(registry)


class _Figures:
    """A collector, as prometheus_client calls it."""

    def __init__(self, samples: Sequence[Sample], calls: Calls) -> None:
        self._samples = samples
        self._calls = calls

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

        by_measure = attrgetter("measure.name")
        for _, several in groupby(sorted(self._samples, key=by_measure), by_measure):
            yield _family(list(several))
        answers = [
            Sample(ANSWERS, count, (dialect, method, str(status)))
            for (dialect, method, status), count in sorted(self._calls.answers().items())
        ]
        if answers:
            yield _family(answers)
        histogram = HistogramMetricFamily(TIMES.name, TIMES.help, labels=TIMES.labels)
        for dialect, times in sorted(self._calls.times().items()):
            bounds = [*map(str, BOUNDS), "+Inf"]
            buckets = list(zip(bounds, accumulate(times.within), strict=True))
            histogram.add_metric([dialect], buckets=buckets, sum_value=times.seconds)
        yield histogram


def _family(samples: Sequence[Sample]) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    measure = samples[0].measure
    kind = CounterMetricFamily if measure.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(measure.name, measure.help, labels=measure.labels)
    for one in samples:
        family.add_metric(one.labels, one.value)
    return family


HANDLERS = [metrics]
