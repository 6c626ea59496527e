"""The `training:` section of an experiment: how a model is trained. No framework is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tidegate.models.config.class_weights import class_key
from tidegate.models.config.training_parts import (
    Augmentation,
    Checkpoint,
    EarlyStopping,
    FrozenOptions,
    Metric,
    OutputOptions,
    Privacy,
    Regularization,
    Schedule,
    callback_entry,
)
from tidegate.models.errors import OptionsError
from tidegate.models.user_code.references import is_reference

# What a loop of the user's decides by itself.
NOT_OF_A_FUNCTION = (
    *(
        "optimizer",
        "callbacks",
        "early_stopping",
        "learning_rate_schedule",
        "class_weights",
        "label_smoothing",
    ),
    *("regularization", "augmentation", "privacy", "precision", "xla"),
)


class Training(FrozenOptions):
    """How a model is trained."""

    epochs: int = Field(10, ge=1, description="Passes over the training rows.")
    batch_size: int = Field(32, ge=1, description="Rows per weight update.")
    backend: Literal["tensorflow", "jax", "torch", "numpy"] = Field(
        "tensorflow", description="Keras' backend, or numpy: the readable equations of models/equations."
    )
    optimizer: str | dict[str, Any] = Field(
        "adam",
        description="A Keras optimizer, or {name, learning_rate, ...}; name may be a reference to one of your own.",
        validate_default=True,
    )
    loss: str | dict[str, Any] | None = Field(
        None,
        description="A loss, or {name, ...}; name may be a reference such as my_losses:focal, whose `target` (index, "
        "one_hot, probability) says how it takes classes; None is the task's default.",
    )
    metrics: tuple[Metric, ...] | None = Field(
        None,
        description="Metrics computed each epoch: accuracy, auc, pr_auc, precision, recall, f1, balanced_accuracy and "
        "top_K_accuracy of any number of classes, rmse, mae and r2 of numbers, one of Keras, or a reference such as "
        "my_metrics:lift, or {name: my_metrics:Lift, higher_is_better: true, ...options}; None is the task's default.",
    )
    outputs: dict[str, OutputOptions] | None = Field(
        None, description="Of a model of several outputs, by name: loss, weight and metrics of each."
    )
    function: str | None = Field(
        None,
        description="A loop of your own in place of Keras': a reference such as my_train:train to train(trial), which "
        "returns the trained model; see models/training/own/own_trial.py.",
    )
    options: dict[str, Any] | None = Field(None, description="What `function` finds in trial.options.")
    callbacks: tuple[Annotated[str | dict[str, Any], AfterValidator(callback_entry)], ...] | None = Field(
        None,
        description="Callbacks of Keras' fit, which then trains: references such as my_callbacks:Swa, or {name: "
        "my_callbacks:Swa, ...options}.",
    )
    early_stopping: EarlyStopping | None = Field(None, description="When to stop before the last epoch.")
    learning_rate_schedule: Annotated[Schedule, Field(discriminator="name")] | None = Field(
        None, description="How the learning rate changes."
    )
    class_weights: (
        Literal["balanced"]
        | dict[str | int | bool, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
        | None
    ) = Field(None, description="'balanced', or a weight for each class whose weight is not 1, by the class.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Fraction of each target that is spread evenly over all classes."
    )
    regularization: Regularization | None = Field(None, description="Penalties on large weights.")
    augmentation: Augmentation | None = Field(
        None, description="How images are changed at random in training."
    )
    privacy: Privacy | None = Field(
        None, description="Differential privacy by DP-SGD; keep seed secret: the noise is drawn from it."
    )
    calibration: Literal["temperature"] | None = Field(
        None,
        description="temperature: calibrate a classifier's probabilities on validation rows by temperature scaling.",
    )
    thresholds: Literal["validation"] | None = Field(
        None,
        description="validation: the probability from which a set of labels has a label is chosen for each label on "
        "validation rows, by micro-F1; None: 0.5 for all.",
    )
    explain: int = Field(
        0, ge=0, le=64, description="Test rows explained by integrated gradients, as figures in MLflow."
    )
    precision: Literal["float32", "float64", "mixed_float16", "mixed_bfloat16"] = Field(
        "float32",
        description="The layers' precision: float64 for equal curves on every backend, mixed ones for GPUs.",
    )
    xla: bool | None = Field(
        None, description="Compile the training with XLA; None decides by the layers and the number of steps."
    )

    checkpoint: Checkpoint | None = Field(
        Checkpoint.model_construct(every="30s"),
        description="How often the training's state is saved; null: never.",
    )

    @model_validator(mode="after")
    def _trained_once(self) -> Training:
        if self.function is None:
            if self.options is not None:
                raise ValueError("options are for training.function, and there is none; leave one out")
            return self
        if not is_reference(self.function):
            raise ValueError(
                f"function {self.function!r} is no reference; expected one such as my_train:train, in a module of your "
                "project"
            )
        default = type(self).model_fields
        found = [name for name in NOT_OF_A_FUNCTION if getattr(self, name) != default[name].default]
        if found:
            raise ValueError(
                f"function {self.function} trains, and {', '.join(found)} would not be used; expected one of the two; "
                "write it in training.options, where trial.options has it"
            )
        return self

    @field_validator("class_weights")
    @classmethod
    def _each_class_once(cls, weights: Any) -> Any:
        keys = [class_key(name) for name in weights] if isinstance(weights, Mapping) else []
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"class {twice[0]} has two weights; expected one; leave one out")
        return weights

    @field_validator("optimizer")
    @classmethod
    def _numpy_knows_it(cls, optimizer: str | dict[str, Any], info: ValidationInfo) -> Any:
        options = {"name": optimizer} if isinstance(optimizer, str) else optimizer
        plain = {"name", "learning_rate", "momentum", "nesterov"}
        known = str(options.get("name", "adam")).lower() == "sgd" and set(options) <= plain
        if info.data.get("backend") == "numpy" and not known:
            raise ValueError(
                "backend numpy has no equation for it; expected sgd with learning_rate, momentum and nesterov; "
                "set optimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9}, or leave backend out"
            )
        return optimizer

    @field_validator("augmentation")
    @classmethod
    def _has_layers(cls, value: Augmentation | None, info: ValidationInfo) -> Augmentation | None:
        if info.data.get("backend") == "numpy" and value is not None:
            raise ValueError(
                "backend numpy has no augmentation; expected another backend; leave one of the two out"
            )
        return value

    @field_validator("privacy")
    @classmethod
    def _has_gradients_per_row(cls, value: Privacy | None, info: ValidationInfo) -> Privacy | None:
        backend = info.data.get("backend")
        if value is not None and backend not in ("tensorflow", "jax"):
            raise ValueError(
                f"backend {backend} has no per-row gradients here; expected tensorflow or jax; set one of them, or "
                "leave privacy out"
            )
        return value

    @field_validator("explain")
    @classmethod
    def _has_gradients(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("backend") == "torch":
            raise ValueError(
                "backend torch cannot be explained here; expected tensorflow or jax; set one of them, or leave explain "
                "out"
            )
        return value

    @field_validator("precision", "xla")
    @classmethod
    def _is_for_keras(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("backend") == "numpy" and value not in ("float32", "float64", None, False):
            raise ValueError(
                "backend numpy always computes in float64 and is never compiled; expected another backend; leave the "
                "option out"
            )
        return value


def keras_backend(backend: str) -> str:
    """Return the backend for Keras: with backend numpy TensorFlow holds and exports the model."""
    return "tensorflow" if backend == "numpy" else backend


def check_privacy(model: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Refuse options through which training rows would reach the weights without noise.

    Raises:
        OptionsError: names the option.
    """
    if training["privacy"] is None:
        return
    others = {
        "model.pretrain": model.get("pretrain"),
        "training.augmentation": training["augmentation"],
        "training.regularization": training["regularization"],
    }
    for name, given in others.items():
        if given is not None:
            raise OptionsError(
                f"options 'training.privacy' and {name!r} are both given; expected one of them, because epsilon is "
                "only known without the latter; leave one of the two out"
            )
