"""A forked process shows the command line that a process of its own would have, in `ps` too."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

ROOM = "." * 600  # an argument of the server: the kernel shows what stands where its own words stood


def set_command_line(words: Sequence[str]) -> None:
    """Overwrite this process's command line; what is longer than the server's own is cut. Linux only.

    As the last byte is not zero, the kernel shows what stands before the first zero, as it does for `setproctitle`.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = (int(fields[place]) for place in (45, 46))  # arg_start and arg_end in proc(5)
    text = " ".join(words).encode()[: end - begin - 2]
    ctypes.memmove(begin, text.ljust(end - begin - 1, b"\0") + b".", end - begin)
