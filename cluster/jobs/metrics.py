"""Numbers of the service for Prometheus, gathered when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.jobs.runner import Runner
from cluster.jobs.store import JobStore


class ServiceCollector(Collector):
    """Reads the store and the runner.

    Parameters
    ----------
    store : JobStore
        The list of jobs.
    runner : Runner
        Who runs them.
    """

    def __init__(self, store: JobStore, runner: Runner) -> None:
        self._store = store
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        """All numbers, as they are now."""
        jobs = GaugeMetricFamily("mosaic_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._store.counts().items():
            jobs.add_metric([str(state)], count)
        yield jobs
        tiles, pixels = self._runner.speed()
        yield GaugeMetricFamily(
            "mosaic_tiles_per_second", "Tiles finished a second, last minute.", value=tiles
        )
        yield GaugeMetricFamily(
            "mosaic_megapixels_per_second", "Megapixels finished a second, last minute.", value=pixels / 1e6
        )
        counters, totals = self._runner.counters, self._runner.counters.totals
        for name, text, value in (
            ("mosaic_tasks", "Tasks finished.", totals.n_tasks),
            ("mosaic_tiles", "Tiles finished, all phases.", totals.n_tiles),
            ("mosaic_pixels", "Pixels of finished tasks.", totals.pixels),
            ("mosaic_read_bytes", "Input bytes read.", totals.bytes_read),
            ("mosaic_written_bytes", "Bytes written before compression.", totals.bytes_written),
            ("mosaic_job_retries", "Attempts after the first.", counters.retries),
            ("mosaic_job_losses", "Processes of jobs that died.", counters.losses),
        ):
            yield CounterMetricFamily(name, text, value=value)
        memory = GaugeMetricFamily(
            "mosaic_job_memory_bytes", "Memory of running jobs.", labels=["job", "what"]
        )
        for job in self._store.in_process():
            progress = self._runner.progress_of(job.id)
            memory.add_metric([job.id, "used"], progress.memory_bytes)
            memory.add_metric([job.id, "reserved"], job.reserved_bytes)
        yield memory


def render_metrics(store: JobStore, runner: Runner) -> bytes:
    """Text in the exposition format."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(store, runner))
    return generate_latest(registry)
