"""Every error of the testbed.

TestbedError          an InfraError
├── PreconditionError this machine cannot run it: not root, a package is missing, another cluster runs
├── BuildError        a binary or an image could not be built
└── NotReadyError     a part of the cluster died, or did not become ready in time
"""

from tidegate.infra.errors import InfraError


class TestbedError(InfraError):
    """The testbed cannot do what was requested."""

    __test__ = False  # its name begins with Test, but pytest must not collect it


class PreconditionError(TestbedError):
    """The machine or the testbed is not in the state that the command needs."""


class BuildError(TestbedError):
    """A binary or an image could not be built."""


class NotReadyError(TestbedError):
    """A part of the cluster died, or did not become ready in time."""
