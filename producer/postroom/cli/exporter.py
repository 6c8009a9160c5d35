"""Serving the metrics to Prometheus: ``postroom exporter``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import accumulate

import click
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from postroom import metrics
from postroom.cli import output
from postroom.cli.desk import Desk, pass_desk
from postroom.errors import LedgerUnavailable
from postroom.ledger import Ledger
from postroom.ledger.counts import INFINITE, SUM_MS, Series, read
from postroom.ledger.figures import Figure, figures
from postroom.reply import printable


@click.command()
@pass_desk
def exporter(desk: Desk) -> None:
    """Serve metrics of all workers and the ledger to Prometheus, until Ctrl-C.

    At POSTROOM_METRICS_ADDRESS and POSTROOM_METRICS_PORT. One is enough for a ledger, on any machine that reaches it:
    workers add what they count to the ledger. Each scrape costs Redis a few milliseconds, however many letters there
    are.
    """
    settings = desk.postroom.settings
    address, port = settings.metrics_address, settings.metrics_port
    try:
        server, thread = start_http_server(port, address, registry(desk.ledger, int(1000 * settings.slow_s)))
    except (OSError, OverflowError) as error:
        where = "POSTROOM_METRICS_ADDRESS and POSTROOM_METRICS_PORT"
        raise click.ClickException(
            f"cannot serve at {address}, port {port}: {error}; choose others by {where}"
        ) from None
    output.note(f"metrics at http://{address}:{server.server_port}/metrics")
    with suppress(KeyboardInterrupt):
        thread.join()


def registry(ledger: Ledger, rise_ms: int) -> CollectorRegistry:
    """Return what Prometheus's client exposes: at each scrape, the metrics of a ledger.

    Args:
        ledger: which.
        rise_ms: in how long a slowed rate doubles.
    """
    found = CollectorRegistry()
    found.register(_Ledger(ledger, rise_ms))
    return found


class _Ledger(Collector):
    def __init__(self, ledger: Ledger, rise_ms: int) -> None:
        self._ledger = ledger
        self._rise_ms = max(1, rise_ms)

    def collect(self) -> Iterator[Metric]:
        try:
            counted = read(self._ledger)
            now = list(figures(self._ledger, counted, self._rise_ms))
        except LedgerUnavailable as error:
            output.note(printable(f"the ledger is away: {error}"))
            yield from _gauges([Figure(metrics.UP, (), 0)])
            return
        yield from _gauges([Figure(metrics.UP, (), 1), *now])
        yield from _counters(counted)
        yield from _histograms(counted)


def _gauges(figures: Iterable[Figure]) -> Iterator[Metric]:
    families = {each.name: GaugeMetricFamily(each.name, each.what, labels=each.labels) for each in metrics.METRICS}
    for metric, labels, value in figures:
        families[metric.name].add_metric(labels, value)
    yield from (family for family in families.values() if family.samples)


def _counters(counted: Mapping[Series, int]) -> Iterator[Metric]:
    for metric in metrics.METRICS:
        if metric.kind == "counter":
            family = CounterMetricFamily(metric.name, metric.what, labels=metric.labels)
            for series, number in sorted(counted.items()):
                if series[0] == metric.name:
                    family.add_metric(series[1:-1], number)
            yield family


def _histograms(counted: Mapping[Series, int]) -> Iterator[Metric]:
    for metric in metrics.METRICS:
        if metric.kind == "histogram":
            family = HistogramMetricFamily(metric.name, metric.what, labels=metric.labels)
            bounds = [*(f"{bound:g}" for bound in metric.bounds), INFINITE]
            for kept in sorted({series[:-1] for series in counted if series[0] == metric.name}):
                buckets = accumulate(counted.get((*kept, bound), 0) for bound in bounds)
                seconds = counted.get((*kept, SUM_MS), 0) / 1000
                family.add_metric(kept[1:], list(zip(bounds, buckets, strict=True)), seconds)
            yield family
