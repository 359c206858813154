"""What the decision point counts by itself, as metrics: summed over the open stores, never by name."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pdp.redis_level import RedisLevel
from pdp.service import Pdp


class PdpCollector(Collector):
    """Reads the counters when it is asked."""

    def __init__(self, pdp: Pdp, second_level: RedisLevel | None) -> None:
        self._pdp = pdp
        self._second_level = second_level

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        services = list(self._pdp.opened.values())
        replicas = [service.keeper.replica for service in services if service.keeper.replica is not None]
        counters = {
            "tessera_replica_loads": ("Replicas loaded.", sum(s.keeper.loads for s in services)),
            "tessera_replica_compactions": (
                "Times that changes were folded into a replica's arrays.",
                sum(s.keeper.compactions for s in services),
            ),
            "tessera_read_round_trips": (
                "Fetches from the database on behalf of evaluations.",
                sum(s.fetcher.round_trips for s in services),
            ),
            "tessera_read_cache_hits": (
                "Reads answered from the cache on demand.",
                sum(s.fetcher.cache.hits for s in services),
            ),
            "tessera_read_cache_misses": (
                "Reads that the cache on demand did not have.",
                sum(s.fetcher.cache.misses for s in services),
            ),
        }
        finished = [s.fetcher.finished for s in services if s.fetcher.finished is not None]
        if self._second_level is not None:
            counters["tessera_second_level_hits"] = ("Finished checks used.", sum(f.hits for f in finished))
            counters["tessera_second_level_misses"] = ("Finished checks not there.", sum(f.misses for f in finished))
            counters["tessera_second_level_refused"] = (
                "Finished checks that were there and could not be vouched for.",
                sum(f.refused for f in finished),
            )
            counters["tessera_second_level_failures"] = (
                "Times that Redis failed or was too slow.",
                self._second_level.failures,
            )
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value)
        gauges = {
            "tessera_stores_open": ("Stores that this process follows.", len(services)),
            "tessera_stores_not_followed": (
                "Open stores whose changelog cannot be read at the moment.",
                sum(s.follower.failing for s in services),
            ),
            "tessera_replicas": ("Stores held in memory.", len(replicas)),
            "tessera_replica_bytes": ("What the replicas take, about.", sum(r.size_bytes() for r in replicas)),
            "tessera_replica_changes": (
                "Changes over the arrays that are not folded in.",
                sum(r.changes for r in replicas),
            ),
            "tessera_read_cache_entries": ("Reads kept on demand.", sum(len(s.fetcher.cache) for s in services)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value)
