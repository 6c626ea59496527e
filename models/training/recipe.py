"""How a model is built, trained, calibrated and evaluated; the same for every fold and for the released model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.models.config.metrics import top_k
from tidegate.models.config.options import parse_options
from tidegate.models.config.own_metrics import metric_names, own_metrics
from tidegate.models.config.training import Training, check_privacy
from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.default_boxes import Grid
from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.evaluation.targets import evaluate_target
from tidegate.models.networks.fine_tuning import WarmStart, warm_start
from tidegate.models.networks.inputs import OF_IDS
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.several_outputs import AnyOutputs
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.training.measures.several_losses import heads_of
from tidegate.models.user_code.model_source import own_source

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import Transforms
    from tidegate.models.preprocessing.windows import ShuffleWindows
    from tidegate.models.training.fit import History

Rows = tuple[dict[str, Array], Array]


@dataclass(frozen=True)
class Recipe:
    """How to make a model from rows.

    Attributes:
        model, training: the experiment's sections; `training` without its seed.
        target: what is predicted.
        seed: seeds everything random.
        start: the earlier run whose weights the training starts from; None: random weights.
        tokens: the vocabulary's size for a generation, else 0.
        grids: the default boxes of a detection, else ().
        stated: options of `training` that the experiment states, though they may have the default.
        schema, columns: of the data, and a split's raw rows, for a loop of the user's.
        compiled: the outputs that compile() in the user's build made of the head, once a model was built.
    """

    model: Mapping[str, Any]
    training: Mapping[str, Any]
    target: Target
    seed: int
    start: WarmStart | None = None
    tokens: int = 0
    grids: tuple[Grid, ...] = ()
    stated: tuple[str, ...] = ()
    schema: Schema | None = None
    columns: Callable[[str], Columns] | None = None
    compiled: list[AnyOutputs] = field(default_factory=list, compare=False)

    @property
    def head(self) -> AnyOutputs:
        """The model's outputs; OptionsError if the loss does not fit the target."""
        return self.compiled[-1] if self.compiled else self.asked

    @property
    def asked(self) -> AnyOutputs:
        """The outputs that build is asked for."""
        target = self.target
        if target.outputs is not None:
            return heads_of(target, parse_options(Training, self.training, "training"))
        classes = self.tokens or len(target.classes)
        quantiles = len(target.quantiles or ())
        return outputs_for(
            target.task, classes, target.places, self.training["loss"], self.grids, target.shape, quantiles
        )

    def train(
        self, transforms: Transforms, train: Rows | ShuffleWindows, validation: Rows, **fit_options: Any
    ) -> tuple[Any, History]:
        """Return a trained model, as float32, and the record of its training.

        Args:
            transforms: the transforms of the model's inputs.
            train, validation: model inputs by name and the encoded target; validation may have no rows, and the rows of
                train may stay on disk.
            fit_options: further arguments of `training.fit.fit`, such as callbacks and checkpoints.

        Raises:
            ModelsError: an option is wrong, the user's model fails, the loss is NaN.
        """
        from tidegate.models.families.build import as_float32, build_model, precision_scope
        from tidegate.models.networks.inference import require_answers
        from tidegate.models.networks.user_models.own_training import own_training
        from tidegate.models.networks.user_models.pixel_range import require_pixels_in_range
        from tidegate.models.networks.user_models.storable import require_storable
        from tidegate.models.training.fit import fit
        from tidegate.models.training.masked_pretraining import pretrain

        if self.training.get("function"):
            return self._train_by_function(transforms, train, validation, **fit_options)
        check_privacy(self.model, self.training)
        _require_no_weights(self.model, fit_options.get("weights"))
        specs = transforms.input_specs
        with precision_scope(self.training["precision"]):
            shared = fit_options.get("shared")
            model = shared.begin(self._of_graph(specs, train, validation)) if shared is not None else None
            if model is None:
                model = build_model(self.model, specs, self.asked, self.seed, self.training["precision"])
            own = own_training(model)
            if own is not None and own.outputs is not None:
                self.compiled.append(own.outputs)
            source = own_source(self.model)
            if source is not None:
                require_answers(model, _few(train), source)
                require_pixels_in_range(model, specs, source)
                require_storable(model, _few(train), source)
            if isinstance(train, tuple):
                pretrain(model, self.model, train[0], self.seed)
            elif self.model.get("pretrain"):
                raise OptionsError(
                    "option 'model.pretrain' is given and the data is streamed; expected rows in memory; leave it out, "
                    "or set data.stream: false and resources.memory for all rows"
                )
            if self.start is not None:
                warm_start(model, self.start, transforms.to_dict())
            history = fit(
                model,
                train,
                validation,
                self.training,
                task=self.target.task,
                classes=self.target.classes,
                target=self.target,
                seed=self.seed,
                images=[name for name, spec in specs.items() if spec.kind == "image"],
                grids=self.grids,
                stated=self.stated,
                **fit_options,
            )
        return self._answering(as_float32(model, self.model, specs, self.asked)), history

    def _answering(self, model: Any) -> Any:
        """The trained model as it is served: of anomalies with the score behind its answer."""
        from tidegate.models.networks.heads.anomaly_score import with_score

        return with_score(model) if self.target.task == "anomaly" else model

    def _of_graph(
        self, specs: Mapping[str, Any], train: Rows | ShuffleWindows, validation: Rows
    ) -> tuple[Any, ...]:
        """What two trainings of this recipe must have in common to share a model, see `training.shared_graph`."""
        rows = len(train[1]) if isinstance(train, tuple) else train.rows
        return (*specs.items(), -(-rows // self.training["batch_size"]), bool(len(validation[1])))

    def _train_by_function(
        self, transforms: Transforms, train: Rows | ShuffleWindows, validation: Rows, **fit_options: Any
    ) -> tuple[Any, History]:
        from tidegate.models.networks.inference import require_answers
        from tidegate.models.networks.user_models.storable import require_storable
        from tidegate.models.training.epoch_loop import Hooks
        from tidegate.models.training.fit import History
        from tidegate.models.training.own.own_function import train_by_function

        known = {key: fit_options[key] for key in vars(Hooks()) if fit_options.get(key) is not None}
        weights = fit_options.get("weights"), fit_options.get("validation_weights")
        model, trial = train_by_function(
            self,
            transforms,
            train,
            validation,
            hooks=Hooks(**known),
            medians=fit_options.get("medians") or (),
            weights=weights,
        )
        source = own_source({"function": self.training["function"]}) or Path()
        require_answers(model, _few(train), source)
        require_storable(model, _few(train), source)
        return self._answering(model), History(**trial.history())

    def require_explainable(self, transforms: Transforms) -> None:
        """Refuse a user's model that reads a text in a way that cannot be explained, before it is trained.

        Raises:
            OptionsError: names the text.
            UserModelError: the user's model fails.
        """
        specs = transforms.input_specs
        if self.model.get("family") or not any(spec.kind in OF_IDS for spec in specs.values()):
            return
        from tidegate.models.explaining.keras_gradients import embeddings
        from tidegate.models.families.build import build_model

        model = build_model(self.model, specs, self.asked, self.seed)
        embeddings(model, specs)

    def calibrate(self, model: Any, validation: Rows) -> float | None:
        """Calibrate a trained model in place if the option is given; return the temperature, see `calibrate`.

        Raises:
            OptionsError: there are no probabilities, or no rows.
        """
        if self.training["calibration"] is None:
            return None
        from tidegate.models.training.calibration import calibrate

        if self.target.task != "classification":
            raise OptionsError(
                f"option 'training.calibration' is 'temperature' and this is a {self.target.task}; expected a "
                "classification, whose probabilities it calibrates; leave it out"
            )
        return calibrate(model, *validation)

    def metrics(self, raw: Array, truth: Array) -> Evaluation:
        """The metrics of raw outputs (rows, units), or of `token_probabilities` for texts, against the true target."""
        target = self.target
        if self.tokens:
            from tidegate.models.evaluation.text_metrics import evaluate_tokens

            return evaluate_tokens(truth, raw)
        asked = self.training["metrics"] or ()
        found = evaluate_target(target, truth, as_answers(target, raw), top_k(metric_names(asked)))
        if not own_metrics(asked):
            return found
        from tidegate.models.training.own.own_scores import own_scores

        return found | own_scores(self.training, target, raw, truth)


def _require_no_weights(model: Mapping[str, Any], weights: Array | None) -> None:
    if weights is not None and model.get("pretrain"):
        raise OptionsError(
            "option 'model.pretrain' is given, and data.weight; expected one of them, because pretraining learns from "
            "all texts alike; leave one out"
        )


def _few(train: Rows | ShuffleWindows) -> dict[str, Array]:
    """The model inputs of two training rows."""
    inputs = train[0] if isinstance(train, tuple) else train.example[0]
    return {name: array[:2] for name, array in inputs.items()}
