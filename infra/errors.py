"""Every error of this package.

InfraError
├── StoreError              the store can't be read or written
│   ├── MissingObjectError  no object with this digest
│   ├── CorruptObjectError  the bytes on disk are not those of the digest
│   └── ConflictError       a document changed since it was read
├── SpoolError              the run's event file can't be read or written
├── ProcessError            a detached process didn't start, or can't be stopped
├── LockedError             somebody else holds the lock
└── TrackingError           MLflow is unreachable, or its database is unusable
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
