"""The most memory that a process of a test's own has had, said by itself."""

from __future__ import annotations

PEAK_KIB = """
def peak_kib():
    # not ru_maxrss: that of the process which started this one counts there, and hides growth up to it
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1])
"""
