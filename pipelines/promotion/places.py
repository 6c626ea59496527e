"""The two ends of a promotion, by what people call them."""

import socket
from dataclasses import dataclass
from pathlib import Path

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.state.home import Home, is_home, open_home


@dataclass(frozen=True)
class End:
    """A target: its name as it was given, its home, and how another command is told of it."""

    name: str
    home: Home
    options: str

    @property
    def place(self) -> str:
        """Where it keeps its releases, wherever it is looked at from."""
        target = self.home.target
        return f"{socket.gethostname()}:{self.home.path}" if target is None else target.store.url


def open_end(home: Home, name: str, option: str) -> End:
    """The target of a name: `local`, one of targets.yaml, or the folder of another home of this machine.

    Args:
        home: the local one of the command.
        name: as it was given; with a `/` in it, or a `.` before it, it is a folder.
        option: that gave it, for messages.

    Raises:
        UnknownNameError: no such target.
        UsageError: the folder is no home, which it is not made into here; or targets.yaml is wrong.
    """
    if "/" in name or name.startswith((".", "~")):
        folder = Path(name).expanduser()
        if not is_home(folder):
            # An empty home trusts nobody, so it would take nothing.
            raise UsageError(
                f"{option} {name} is no home; expected local, a name in targets.yaml, or a home's folder; "
                f"`tidegate signing trust FILE --home {name}` makes a new one that takes what the key in FILE has "
                "signed, as HOME/keys/trusted/ID.pub of the other home"
            )
        return End(name, Home(folder), f"--home {name}")
    if name == "local":
        return End(name, home, f"--home {home.path}")
    return End(name, open_home(home.path, name), f"--home {home.path} --target {name}")
