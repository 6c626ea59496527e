"""The names and options that are known without Keras are those that Keras has."""

import inspect

from tidegate.models.training.optimizers import COMMON, OPTIMIZERS, optimizer_classes


def test_every_optimizer_of_keras_is_known_with_its_options() -> None:
    classes = optimizer_classes()
    assert sorted(classes) == list(OPTIMIZERS)
    for name, options in OPTIMIZERS.items():
        has = set(inspect.signature(classes[name]).parameters) - {"name", "kwargs"}
        assert has == {*COMMON, *options}, name
