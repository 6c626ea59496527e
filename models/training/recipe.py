"""How a model comes from rows: built, trained, calibrated, judged. The same for every fold and for what is released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.models.config.training import check_privacy
from tidegate.models.data.columns import Array
from tidegate.models.data.default_boxes import Grid
from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.metrics import evaluate, to_predictions
from tidegate.models.networks.fine_tuning import Start, begin_with
from tidegate.models.networks.outputs import Outputs, outputs_for
from tidegate.models.preprocessing.schema import Target

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import Transforms
    from tidegate.models.preprocessing.windows import Windows
    from tidegate.models.training.fit import History

Rows = tuple[dict[str, Array], Array]


@dataclass(frozen=True)
class Recipe:
    """What makes a model of rows.

    Attributes:
        model, training: the experiment's parts; `training` without its seed.
        target: what is predicted.
        seed: of everything random.
        start: an earlier run's weights, which a training begins with; None: random ones.
        tokens: of the vocabulary of the texts that it answers; 0 where it answers none.
        grids: of the boxes that it answers; none where it answers none.
    """

    model: Mapping[str, Any]
    training: Mapping[str, Any]
    target: Target
    seed: int
    start: Start | None = None
    tokens: int = 0
    grids: tuple[Grid, ...] = ()

    @property
    def head(self) -> Outputs:
        """What the model has to answer; OptionsError where the loss does not fit the target."""
        target = self.target
        classes = self.tokens or len(target.classes)
        return outputs_for(target.task, classes, len(target.names), self.training["loss"], self.grids)

    def learn(
        self, transforms: Transforms, train: Rows | Windows, validation: Rows, **watch: Any
    ) -> tuple[Any, History]:
        """Return a model that was trained, as float32, and what its training was.

        Args:
            transforms: what made the model's inputs.
            train, validation: model inputs by name and the encoded target; validation may have no rows, and those of
                train may stay on the disk.
            watch: what `training.fit.fit` takes beside: who is told, who keeps checkpoints.

        Raises:
            ModelsError: an option is wrong, the user's model fails, the loss is NaN.
        """
        from tidegate.models.families.build import as_float32, build_model, computing_in
        from tidegate.models.training.fit import fit
        from tidegate.models.training.masked_pretraining import pretrain

        check_privacy(self.model, self.training)
        specs = transforms.input_specs
        with computing_in(self.training["precision"]):
            model = build_model(self.model, specs, self.head, self.seed, self.training["precision"])
            if isinstance(train, tuple):
                pretrain(model, self.model, train[0], self.seed)
            elif self.model.get("pretrain"):
                raise OptionsError(
                    "Option 'model.pretrain' is for rows in memory, and the data is streamed. Leave it out, or state "
                    "data.stream: false and resources.memory for all rows."
                )
            if self.start is not None:
                begin_with(model, self.start, transforms.to_dict())
            history = fit(
                model,
                train,
                validation,
                self.training,
                task=self.target.task,
                classes=self.target.classes,
                seed=self.seed,
                images=[name for name, spec in specs.items() if spec.kind == "image"],
                grids=self.grids,
                **watch,
            )
        return as_float32(model, self.model, specs, self.head), history

    def require_explainable(self, transforms: Transforms) -> None:
        """Refuse a user's model that reads a text in a way that can not be explained, before it is trained.

        Raises:
            OptionsError: naming the text.
            UserModelError: the user's model fails.
        """
        specs = transforms.input_specs
        if "file" not in self.model or not any(spec.kind == "text" for spec in specs.values()):
            return
        from tidegate.models.explaining.keras_gradients import embeddings
        from tidegate.models.families.build import build_model

        model = build_model(self.model, specs, self.head, self.seed)
        embeddings(model, specs)

    def calibrate(self, model: Any, validation: Rows) -> float | None:
        """Calibrate a trained model in place where that is asked for; return the temperature, see `calibrate`.

        Raises:
            OptionsError: there are no probabilities, or no rows.
        """
        if self.training["calibration"] is None:
            return None
        from tidegate.models.training.calibration import calibrate

        if self.target.task != "classification":
            raise OptionsError(
                "Option 'training.calibration' is 'temperature', which is for the probabilities of a classification, "
                "and this is a regression. Leave it out."
            )
        return calibrate(model, *validation)

    def metrics(self, raw: Array, truth: Array) -> dict[str, float]:
        """Judge a model's raw answers (rows, units), or what `chances` finds of texts, by rows of this truth."""
        target = self.target
        if self.tokens:
            from tidegate.models.evaluation.text_metrics import evaluate_tokens

            return evaluate_tokens(truth, raw)
        predictions = to_predictions(raw, self.head.activation)
        return evaluate(target.task, truth, predictions, target.classes, target.names)
