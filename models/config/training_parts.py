"""The parts of the `training:` section that have options of their own. No framework is imported here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from tidegate.models.config.metrics import monitor_named
from tidegate.models.config.own_metrics import metric_entry
from tidegate.models.config.quantities import seconds
from tidegate.models.errors import OptionsError
from tidegate.models.user_code.references import is_reference


class FrozenOptions(BaseModel):
    """The base of option classes: immutable, and unknown keys are refused."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


def callback_entry(entry: str | dict[str, Any]) -> str | dict[str, Any]:
    name = entry.get("name") if isinstance(entry, dict) else entry
    if not is_reference(name):
        raise ValueError(
            f"callback {name!r} is no reference; expected one such as my_callbacks:Swa, in a module of your project; "
            "for Keras' own use early_stopping, learning_rate_schedule and checkpoint"
        )
    return entry


Monitor = Annotated[str, AfterValidator(monitor_named)]
Metric = Annotated[str | dict[str, Any], AfterValidator(metric_entry)]


class OutputOptions(FrozenOptions):
    """How one of several outputs is learned."""

    loss: str | dict[str, Any] | None = Field(
        None, description="As training.loss; None is its task's default."
    )
    weight: float = Field(1.0, gt=0, strict=True, description="What its loss counts in the sum of all.")
    metrics: tuple[Metric, ...] | None = Field(
        None,
        description="As training.metrics; None is its task's default; one of your own is computed in epochs alone.",
    )


class EarlyStopping(FrozenOptions):
    """Stop when the monitored value has not improved for `patience` epochs."""

    patience: int = Field(3, ge=1, description="Epochs without improvement before training stops.")
    monitor: Monitor | None = Field(
        None, description="The monitored value; val_loss, or loss without validation rows."
    )
    min_delta: float = Field(0.0, ge=0, description="A change smaller than this is no improvement.")
    restore_best: bool = Field(True, description="Keep the weights of the best epoch, not of the last.")


class Cosine(FrozenOptions):
    """The learning rate follows half a cosine down over all epochs."""

    name: Literal["cosine"]
    final: float = Field(0.0, ge=0, le=1, description="The last learning rate as a part of the first.")
    warmup_epochs: int = Field(0, ge=0, description="Epochs in which the learning rate rises from 0 first.")


class Exponential(FrozenOptions):
    """The learning rate is multiplied by `factor` per epoch, a little with each batch."""

    name: Literal["exponential"]
    factor: float = Field(0.95, gt=0, le=1, description="Factor of the learning rate per epoch.")


class Step(FrozenOptions):
    """The learning rate is multiplied by `factor` every few epochs, in one step."""

    name: Literal["step"]
    every: int = Field(10, ge=1, description="Epochs between two changes.")
    factor: float = Field(0.1, gt=0, le=1, description="Factor of the learning rate at each change.")


class Plateau(FrozenOptions):
    """The learning rate is multiplied by `factor` when the monitored value stops improving."""

    name: Literal["reduce_on_plateau"]
    factor: float = Field(0.5, gt=0, lt=1, description="Factor of the learning rate at each change.")
    patience: int = Field(2, ge=0, description="Epochs without improvement before a change.")
    minimum: float = Field(0.0, ge=0, description="The learning rate never falls below this.")
    monitor: Monitor | None = Field(
        None, description="The monitored value; val_loss, or loss without validation rows."
    )


Schedule = Cosine | Exponential | Step | Plateau


class Checkpoint(FrozenOptions):
    """How often the training's state is saved, so that a killed training resumes from it."""

    every: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[1-9]\d*(ms|s|m|h)$")] = Field(
        "30s", description="A time such as 30s or 5m, or a number of batches."
    )

    @property
    def batches(self) -> int | None:
        """Batches between two checkpoints; None if `every` is a time."""
        return self.every if isinstance(self.every, int) else None

    @property
    def seconds(self) -> float:
        """Seconds between two checkpoints; 0 if `every` is a number of batches."""
        return 0.0 if isinstance(self.every, int) else seconds(self.every)


class Regularization(FrozenOptions):
    """Penalties in the loss on all kernels, including the output layer's; biases have none.

    Sources: Tibshirani, "Regression Shrinkage and Selection via the Lasso" (1996), for L1; Krogh and Hertz, "A Simple
    Weight Decay Can Improve Generalization" (1991), for L2.
    """

    l1: float = Field(0.0, ge=0, description="Weight of the sum of the absolute weights.")
    l2: float = Field(0.0, ge=0, description="Weight of the sum of the squared weights.")


class Augmentation(FrozenOptions):
    """How images are changed at random in training, differently each time; never at the endpoint."""

    flip: Literal["horizontal", "vertical", "both"] | None = Field(
        None, description="Mirror half of the images; both: each direction with its own chance."
    )
    rotate: float = Field(
        0.0, ge=0, le=180, description="Rotate by up to this many degrees, in either direction."
    )
    shift: float = Field(0.0, ge=0, lt=1, description="Shift by up to this fraction of height and width.")
    noise: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of normal noise, in the numbers that the model gets: pixels are 0 to 1, or as "
        "stored with `scale: none`.",
    )

    @model_validator(mode="after")
    def _does_something(self) -> Augmentation:
        if not (self.flip or self.rotate or self.shift or self.noise):
            raise ValueError(
                "augmentation changes nothing; expected one of flip, rotate, shift, noise; add one"
            )
        return self


def require_kept_places(options: Augmentation, one: bool = True) -> None:
    """Refuse changes of an image that its target's places would not follow.

    Args:
        options: of a target that has a value at each place of an array.
        one: whether the places are the pixels of one image; else flips are refused too.
    """
    if options.rotate or options.shift or (options.flip and not one):
        why = "its places" if one else "the places of its answers, which are no pixels of one image,"
        rest = (
            "flip and noise alone; leave rotate and shift out" if one else "noise alone; leave the others out"
        )
        raise OptionsError(
            f"option 'training.augmentation' is {options.model_dump(exclude_defaults=True)}, and the target has a "
            f"value at each place: {why} would not move along; expected {rest}"
        )


class Privacy(FrozenOptions):
    """Train by DP-SGD (Abadi et al. 2016) and report the `epsilon` spent; see `loops.dp_sgd`."""

    noise_multiplier: float = Field(
        1.0, gt=0, description="Standard deviation of the noise over clip_norm; more is more private."
    )
    clip_norm: float = Field(1.0, gt=0, description="The largest norm that the gradient of one row may have.")
    delta: float = Field(
        1e-5,
        gt=0,
        lt=1,
        description="Probability that epsilon does not hold; well below 1 / training rows.",
    )
