"""Every error of this package.

InfraError
├── StoreError              the store cannot be read or written
│   ├── MissingObjectError  no object with this digest
│   ├── CorruptObjectError  the bytes on disk are not those of the digest
│   └── ConflictError       a document changed since it was read
├── SpoolError              the run's event file cannot be read or written
├── ProcessError            a detached process did not start, or cannot be stopped
├── LockedError             another process holds the lock
├── TrackingError           MLflow is unreachable, or its database is unusable
├── NotificationError       a message could not be sent, or its secret cannot be used
└── ClusterError            the Kubernetes API server refused a request
    ├── UnreachableError    the server cannot be reached, or is busy
    ├── ForbiddenError      not permitted, or over quota
    ├── NotFoundError       the object does not exist
    ├── AlreadyExistsError  an object of that name exists already
    ├── ChangedError        an object is not, or not as, the one that was read
    ├── RolloutError        an endpoint's pods did not become ready, or its route was not accepted
    └── ExpiredError        the resource version that a watch starts from is too old
"""


class InfraError(Exception):
    """Base of every error raised by `infra`."""


class StoreError(InfraError):
    """The store cannot be read or written."""


class MissingObjectError(StoreError):
    """The store has no object with this digest."""


class CorruptObjectError(StoreError):
    """The bytes of an object are not those of its digest."""


class ConflictError(StoreError):
    """A document changed since the writer read it."""


class SpoolError(InfraError):
    """The run's event file cannot be read or written."""


class ProcessError(InfraError):
    """A detached process did not start, or cannot be stopped."""


class LockedError(InfraError):
    """Another process holds the lock."""


class TrackingError(InfraError):
    """MLflow is unreachable, or its database is unusable."""


class NotificationError(InfraError):
    """A message could not be sent, or its secret cannot be used.

    Args:
        message: what happened, without the value of any variable.
        again: whether the same message may be taken later.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        self.again = again
        super().__init__(message)


class ClusterError(InfraError):
    """The Kubernetes API server refused a request."""


class UnreachableError(ClusterError):
    """The API server cannot be reached, or is busy."""


class ForbiddenError(ClusterError):
    """These credentials do not allow it, or the namespace's quota is exceeded."""


class NotFoundError(ClusterError):
    """The object does not exist."""


class AlreadyExistsError(ClusterError):
    """An object of that name exists already."""


class ChangedError(ClusterError):
    """An object is another one than that which was read, or was changed since."""


class ExpiredError(ClusterError):
    """The resource version that a watch starts from is too old; list again."""


class RolloutError(ClusterError):
    """An endpoint's pods did not become ready, or no gateway accepted its route."""
