"""What Keras' own loop needs of an experiment: the model compiled, the rows, the callbacks, and what it refuses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.models.config.class_weights import class_sizes, class_weights, row_weights
from tidegate.models.config.losses import IGNORED, Loss, dense_task, loss_named, require_value_a_pixel
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Plateau
from tidegate.models.errors import OptionsError, UserModelError
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.user_models.own_training import OwnTraining, loss_name, own_training
from tidegate.models.preprocessing.schema import Target
from tidegate.models.training.compile import as_learned, build_metrics, compile_model, penalise
from tidegate.models.training.epoch_loop import Hooks
from tidegate.models.training.keras_loop.callback_state import lost
from tidegate.models.training.keras_loop.keras_fit import KerasFit
from tidegate.models.training.keras_loop.keras_rows import KerasRows
from tidegate.models.training.own.own_objects import own_callback

if TYPE_CHECKING:
    from tidegate.models.preprocessing.windows import ShuffleWindows

Rows = tuple[Mapping[str, np.ndarray], np.ndarray]


def by_keras(model: Any, options: Training) -> bool:
    """Whether Keras' own loop trains a model: it trains by itself, or there are callbacks of the user's."""
    return own_training(model) is not None or bool(options.callbacks)


def keras_training(
    model: Any,
    train: Rows | ShuffleWindows,
    held_out: Rows | None,
    options: Training,
    task: str,
    classes: Sequence[Any],
    seed: int,
    hooks: Hooks,
    medians: Sequence[float | None],
    stated: Collection[str],
    gpus: int,
    weights: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    target: Target | None = None,
) -> KerasFit:
    """Prepare a training by Keras' own loop; see `training.fit.fit` for the arguments.

    Raises:
        OptionsError, UserModelError: an option and the model contradict each other, or Keras' loop has no such option.
        UserCodeError: a callback is not what it should be.
    """
    own, shape = own_training(model), None if target is None else target.shape
    _refuse(own, train, options, hooks, stated, gpus)
    if target is not None and target.outputs is not None:
        raise OptionsError(
            f"{'training.callbacks are given' if own is None else own.why}, and data.target has several outputs; "
            "expected one of the two; write the loop as training.function, or leave one out"
        )
    assert isinstance(train, tuple)
    batches = -(-len(train[1]) // options.batch_size)
    if own is not None and own.compiled:
        if target is not None and target.ignored is not None:
            _require_ignoring(own)
        penalise(own.model, options.regularization)
        loss = Loss(
            "compile()", {}, own.target or loss_named(None, dense_task(task, shape), len(classes)).target
        )
        some = as_learned(loss, train[1][:4], len(classes), model.outputs[0].shape)
        build_metrics(own, inputs_of(model, train[0]), some)
    else:
        ignores = target is not None and target.ignored is not None
        loss = compile_model(model, train, options, task, len(classes), batches, shape, ignores)
    trained = model if own is None else own.model
    if trained.optimizer is not None and not trained.optimizer.built:
        trained.optimizer.build(trained.trainable_variables)

    def rows(part: Rows) -> tuple[Any, ...]:
        named = inputs_of(model, part[0])
        encoded = as_learned(loss, part[1], len(classes), model.outputs[0].shape)
        return (named if own is None else own.received(named), encoded)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(len(train[1]))

    at_places = target is not None and target.at_places
    if at_places:
        require_value_a_pixel(
            loss, options.class_weights is not None, weights[0] is not None and _of_rows(own)
        )
    data = (*rows(train), *_weights(options, train[1], classes, weights[0], at_places))
    held_weights = None if held_out is None else row_weights(weights[1], None, held_out[1], at_places)
    of_held_out = () if held_weights is None else (held_weights,)
    tested = held_out is not None and (own is None or own.tests)
    training = KerasFit(
        trained,
        options,
        seed,
        KerasRows(data, options.batch_size, order),
        None,
        hooks,
        medians,
        held_out=(*rows(held_out), *of_held_out) if held_out is not None and tested else None,
        own_callbacks=[_callback(entry) for entry in options.callbacks or ()],
    )
    hooks.on_loop(". ".join(_told(own, training, held_out is not None and not tested)))
    return training


def forget_training(model: Any) -> None:
    """Leave what a model was trained with out of what is stored of it: the optimizers, and how it was compiled."""
    import keras

    own = own_training(model)
    trained = model if own is None else own.model
    for name, value in list(vars(trained).items()):
        if isinstance(value, keras.optimizers.Optimizer):
            setattr(trained, name, None)
    trained.compiled = False


def _of_rows(own: OwnTraining | None) -> bool:
    """Whether a loss must be known to be one number a pixel; of compile() those of Keras that are not are known."""
    return own is None or not own.compiled or loss_name(own.model.loss).lower() in ("dice", "tversky")


def _require_ignoring(own: OwnTraining) -> None:
    """Refuse a loss of the user's compile() that counts pixels without a class, whose index is IGNORED."""
    held = getattr(own.model.loss, "ignore_class", None)
    if held != IGNORED:
        raise UserModelError(
            f"{own.why}, and data.target ignores some pixels, which are {IGNORED} among its class numbers, and its "
            f"loss has {'no ignore_class' if held is None else f'ignore_class {held}'}; expected "
            f"SparseCategoricalCrossentropy(ignore_class={IGNORED}), or a loss of your own with ignore_class = "
            f"{IGNORED}; compile it so, or leave ignore out"
        )


def _told(own: OwnTraining | None, training: KerasFit, untested: bool) -> Iterator[str]:
    why = "training.callbacks are given" if own is None else own.why
    yield f"trained by Keras' own fit (loop: keras), because {why}"
    anew = lost(list(training.own_callbacks))
    but = f", except that {', '.join(anew)} begins anew" if anew else ""
    yield f"A killed training resumes at the {'batch' if training.by_batch else 'epoch'}{but}"
    if untested:
        yield "epochs have no values of validation rows: it was compiled without a loss and has no test_step of its own"


def _weights(
    options: Training, truth: np.ndarray, classes: Sequence[Any], own: np.ndarray | None, at_places: bool
) -> tuple[Any, ...]:
    """The product of the weights of a row and of its class, if there are any."""
    asked = options.class_weights if classes else None
    sizes = class_sizes(truth, len(classes)) if asked is not None else None
    found = row_weights(own, class_weights(asked, sizes, classes), truth, at_places)
    return () if found is None else (found,)


def _callback(entry: str | dict[str, Any]) -> Any:
    options = {"name": entry} if isinstance(entry, str) else dict(entry)
    return own_callback(str(options.pop("name")), options)


def _refuse(
    own: OwnTraining | None,
    train: Any,
    options: Training,
    hooks: Hooks,
    stated: Collection[str],
    gpus: int,
) -> None:
    """Refuse what Keras' own loop does not do, and what compile() in build contradicts."""
    why = "training.callbacks are given" if own is None else own.why
    missing = {
        "training.privacy": options.privacy is not None,
        "training.augmentation": options.augmentation is not None,
        "training.backend: numpy": options.backend == "numpy",
        "resources.nodes": hooks.group is not None,
        "resources.gpus": gpus > 1,
        "data.stream": not isinstance(train, tuple),
    }
    for option, held in missing.items():
        if held:
            raise OptionsError(
                f"{why}, so Keras' own loop trains it, which has no {option}; expected one of the two; leave one out"
            )
    if own is None:
        return
    steps = sorted({"train_step", "compute_loss"} & set(own.hooks))
    if options.regularization is not None and steps:
        raise UserModelError(
            f"{own.why}, and option training.regularization is given, which nothing would add to its loss; expected "
            "the penalty in the layers, or in the step; leave the option out"
        )
    if own.compiled:
        _refuse_contradictions(own, options, stated)


def _refuse_contradictions(own: OwnTraining, options: Training, stated: Collection[str]) -> None:
    schedule = options.learning_rate_schedule
    given = {
        "optimizer": "optimizer" in stated or options.optimizer != "adam",
        "loss": options.loss is not None,
        "metrics": options.metrics is not None,
        "label_smoothing": options.label_smoothing > 0,
        "learning_rate_schedule": schedule is not None and not isinstance(schedule, Plateau),
        "xla": options.xla is not None,
    }
    found = [f"training.{name}" for name, held in given.items() if held]
    if found:
        raise UserModelError(
            f"{own.why}, and {', '.join(found)} {'is' if len(found) == 1 else 'are'} stated; expected one of the two, "
            "because compile() decides these; leave them out, or leave compile() out"
        )
