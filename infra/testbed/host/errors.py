"""Every error of the testbed.

TestbedError          an InfraError
├── PreconditionError      this machine cannot run it: not root, a package is missing, something is in the way
├── BuildError        a binary or an image could not be built
└── NotReadyError     a part of the cluster died, or did not become ready in time
"""

from tidegate.infra.errors import InfraError


class TestbedError(InfraError):
    """The testbed cannot do what it was asked."""

    __test__ = False  # its name is no test class's


class PreconditionError(TestbedError):
    """This machine cannot run the testbed."""


class BuildError(TestbedError):
    """A binary or an image could not be built."""


class NotReadyError(TestbedError):
    """A part of the cluster died, or did not become ready in time."""
