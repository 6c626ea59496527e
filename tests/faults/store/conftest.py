"""The seed of this session's faults, which a failed test prints."""

import pytest

from tests.faults.store.faults import SEED


@pytest.fixture(autouse=True)
def seed() -> int:
    """The seed, said where a test fails."""
    print(f"to repeat these faults: make chaos SEED={SEED}")
    return SEED
