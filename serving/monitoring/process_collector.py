"""The metrics of a server's processes, where there are several: what one process would say of itself, added up."""

from collections.abc import Iterable
from typing import Any

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tidegate.serving.monitoring.process_group import Member

SMALLEST = ("process_start_time_seconds", "process_max_fds")  # of all processes; the others are sums
RESIDENT, CPU = "process_resident_memory_bytes", "process_cpu_seconds"


class GroupCollector(Collector):
    """CPU time, memory and files of all processes and their supervisor; those that ended count with their CPU time.

    Memory that processes share counts once: their proportional set sizes are added, where the kernel tells them.

    Args:
        member: of the group of processes.
        supervisor: id of the process that forked them.
    """

    def __init__(self, member: Member, supervisor: int) -> None:
        self._group, self._member, self._supervisor = member.group, member, supervisor

    def collect(self) -> Iterable[Metric]:
        """The families of a process, and how many there are."""
        found: dict[str, tuple[Metric, list[float]]] = {}
        for pid in (self._supervisor, *self._member.pids):
            for family, value in _families(pid):
                found.setdefault(family.name, (family, []))[1].append(value)
        for name, (family, values) in found.items():
            value = min(values) if name in SMALLEST else sum(values)
            if name == CPU:
                value += _of_ended(self._supervisor)
            kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
            yield kind(name, family.documentation, value=value)
        words = "Processes that took the place of one that had ended"
        yield GaugeMetricFamily("tidegate_processes", "Processes that serve", value=self._group.count)
        yield CounterMetricFamily("tidegate_process_restarts", words, value=self._group.restarts)


def _families(pid: int) -> Iterable[tuple[Any, float]]:
    for family in ProcessCollector(pid=lambda: pid, registry=None).collect():
        (sample,) = family.samples
        yield family, (_proportional(pid) or sample.value) if family.name == RESIDENT else sample.value


def _proportional(pid: int) -> float | None:
    """Proportional set size in bytes."""
    try:
        return float(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return None


def _of_ended(supervisor: int) -> float:
    """CPU seconds of the processes that ended."""
    try:
        times = psutil.Process(supervisor).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.children_user + times.children_system)
