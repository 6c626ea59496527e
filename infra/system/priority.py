"""The priority of processes that nobody waits for."""

import os

NICE = 3  # of three processes on two cores, the one that does not yield has a core to itself


def give_way() -> None:
    """Have this process yield to those that somebody waits for, such as a training, where cores are few."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
