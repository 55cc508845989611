"""How many CPU cores this process may use: the one place where they are counted.

There are two counts. Two hardware threads of a core take turns where one of them waits for memory
or for Python's lock, so threads that read, decode or score are as many as the logical CPUs
(:func:`allowed_cpus`). They share the units that multiply, which a matrix product alone keeps
busy, so a model gets as many threads as there are physical cores (:func:`usable_cores`).
"""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_GROUP = Path("/sys/fs/cgroup")
# Microseconds granted and their period: control groups of version 2, and of version 1.
_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def allowed_cpus() -> int:
    """Count the logical CPUs that this process may use, by affinity and by its container.

    Returns
    -------
    int
        At least 1. A container's quota is rounded to whole CPUs.
    """
    return min(len(_affinity()), _quota())


def usable_cores() -> int:
    """Count the physical cores among them.

    Returns
    -------
    int
        At least 1. Where the system does not tell its cores, its logical CPUs.
    """
    return min(len({_siblings(cpu) for cpu in _affinity()}), _quota())


def _affinity() -> set[int]:
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return affinity(0) if affinity else set(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    try:
        return Path(_TOPOLOGY.format(cpu)).read_text()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """Read how many CPUs' worth of time a container grants."""
    for names in _QUOTAS:
        try:
            granted, period = " ".join((_GROUP / name).read_text() for name in names).split()
            share = int(granted) / int(period)
        except (OSError, ValueError):  # no such file, or no limit ("max")
            continue
        if share > 0:  # -1 is version 1's word for no limit
            return max(1, round(share))
    return os.cpu_count() or 1
