"""The names that are known without Keras are those that Keras has."""

from models.optimizers import OPTIMIZERS, optimizer_classes


def test_every_optimizer_of_keras_is_known_by_name() -> None:
    assert tuple(sorted(optimizer_classes())) == OPTIMIZERS
