"""The contract of a run's data, as written by `prepare`."""

import json

from tidegate.infra.store import Store
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained


def with_thresholds(schema: Schema, winner: Trained) -> Schema:
    """The schema with what the training chose of the target: from which probability each label is answered."""
    if winner.thresholds is None:
        return schema
    target = schema.target.model_copy(update={"thresholds": winner.thresholds})
    return schema.model_copy(update={"target": target})


def read_contract(prepared: Prepared, store: Store) -> tuple[Schema, Transforms]:
    """The schema and the fitted transforms, read from the store.

    Raises:
        InfraError: an object is missing or damaged.
    """
    schema = Schema.model_validate_json(store.fetch(prepared.schema_).read_bytes())
    transforms = json.loads(store.fetch(prepared.transforms).read_bytes())
    return schema, Transforms.from_dict(transforms)
