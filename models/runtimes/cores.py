"""How many CPU cores this process may compute on."""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def allowed_cpus() -> int:
    """Count the logical CPUs that this process may use, by affinity and by its container."""
    return min(len(_affinity()), _quota())


def usable_cores() -> int:
    """Count the physical cores among them: two hardware threads share the units that multiply.

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
    try:
        granted, period = _QUOTA.read_text().split()
        return max(1, round(int(granted) / int(period)))
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return os.cpu_count() or 1
