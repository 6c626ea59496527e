"""Every error of this package.

InfraError
├── StoreError              the store can't be read or written
│   ├── MissingObjectError  no object with this digest
│   ├── CorruptObjectError  the bytes on disk are not those of the digest
│   └── ConflictError       a document changed since it was read
├── SpoolError              the run's event file can't be read or written
├── ProcessError            a detached process didn't start, or can't be stopped
├── LockedError             somebody else holds the lock
├── TrackingError           MLflow is unreachable, or its database is unusable
└── ClusterError            the Kubernetes API server refused something
    ├── UnreachableError    it can't be reached, or is busy
    ├── ForbiddenError      not permitted, or over quota
    ├── NotFoundError       there is no such object
    ├── AlreadyExistsError  there is one of that name already
    ├── RolloutError        an endpoint's pods did not become ready, or its route was not taken
    └── ExpiredError        a watch's starting point is too old
"""


class InfraError(Exception):
    """Base of every error raised by `infra`."""


class StoreError(InfraError):
    """The store can't be read or written."""


class MissingObjectError(StoreError):
    """No object with this digest is in the store."""


class CorruptObjectError(StoreError):
    """The bytes of an object are not those of its digest."""


class ConflictError(StoreError):
    """A document is not what the writer thought it was."""


class SpoolError(InfraError):
    """The run's event file can't be read or written."""


class ProcessError(InfraError):
    """A detached process didn't start, or can't be stopped."""


class LockedError(InfraError):
    """Somebody else holds the lock."""


class TrackingError(InfraError):
    """MLflow is unreachable, or its database is unusable."""


class ClusterError(InfraError):
    """The Kubernetes API server refused something."""


class UnreachableError(ClusterError):
    """The API server can't be reached, or is busy."""


class ForbiddenError(ClusterError):
    """Not permitted to us, or more than the namespace's quota."""


class NotFoundError(ClusterError):
    """There is no such object."""


class AlreadyExistsError(ClusterError):
    """There is an object of that name already."""


class ExpiredError(ClusterError):
    """What a watch was to start from is too old; list again."""


class RolloutError(ClusterError):
    """An endpoint's pods did not become ready, or no gateway took its route."""
