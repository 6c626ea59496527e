"""`search`: several trials over a space of hyperparameters, and the rule that stops a hopeless one."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from tidegate.models.tuning.stopping import rungs
from tidegate.pipelines.experiment.part import Part

KEYS = {"median": ("warmup_epochs", "minimum_trials"), "asha": ("min_epochs", "reduction_factor")}


class Pruning(Part):
    """Stop a trial that does worse than earlier trials did at the same epoch."""

    rule: Literal["median", "asha"] = Field(
        "median",
        description="median: a trial whose best value is worse than the median of earlier trials' is stopped; asha: "
        "asynchronous successive halving, which lets only the best 1 / reduction_factor go on at each rung",
    )
    warmup_epochs: int | None = Field(
        None, ge=0, description="of median: epochs before a trial can be stopped; 3 when not given"
    )
    minimum_trials: int | None = Field(
        None,
        ge=1,
        description="of median: finished trials needed before a trial can be stopped; 4 when not given",
    )
    min_epochs: int | None = Field(
        None, ge=1, description="of asha: epochs of every trial, the first rung; 1 when not given"
    )
    reduction_factor: int | None = Field(
        None,
        ge=2,
        description="of asha: each rung has this many times the epochs of the one before it; 4 when not given",
    )

    def problems(self) -> Iterator[str]:
        for rule, keys in KEYS.items():
            given = [key for key in keys if getattr(self, key) is not None]
            if rule != self.rule and given:
                yield (
                    f"{', '.join(given)} is for the rule {rule}, and rule is {self.rule}; expected "
                    f"{' and '.join(KEYS[self.rule])}; leave it out, or set rule: {rule}"
                )

    @property
    def warmup(self) -> int:
        """Of median: epochs before a trial can be stopped."""
        return 3 if self.warmup_epochs is None else self.warmup_epochs

    @property
    def finished_trials(self) -> int:
        """Of median: finished trials needed before a trial can be stopped."""
        return self.minimum_trials or 4

    @property
    def first_rung(self) -> int:
        """Of asha: epochs of the first rung."""
        return self.min_epochs or 1

    @property
    def factor(self) -> int:
        """Of asha: how many times the epochs of the rung before it a rung has."""
        return self.reduction_factor or 4

    def rungs(self, epochs: int) -> list[int]:
        """Of asha: the epochs after which it decides, in a training of this many epochs; of median none."""
        return rungs(self.first_rung, self.factor, epochs) if self.rule == "asha" else []

    def rungless(self, epochs: int) -> Iterator[str]:
        """A sentence where asha could never stop a trial of this many epochs."""
        if self.rule == "asha" and not self.rungs(epochs):
            yield (
                f"search.pruning.min_epochs is {self.first_rung} and training.epochs is {epochs}, so that no trial can "
                "be stopped; expected fewer epochs at the first rung than a trial has; lower min_epochs, or leave "
                "pruning out"
            )

    def place(self, epochs: int, done: int) -> str:
        """Where a trial was stopped, in words: `epoch 5`, or `rung 2 of 3, epoch 4`.

        Args:
            epochs: of a whole training.
            done: epochs that the trial was trained.
        """
        steps = self.rungs(epochs)
        rung = f"rung {steps.index(done) + 1} of {len(steps)}, " if done in steps else ""
        return f"{rung}epoch {done}"


class Search(Part):
    """Several trials over a space of hyperparameters."""

    method: Literal["grid", "random", "tpe"] = Field("tpe", description="how the next trial is chosen")
    trials: int | None = Field(
        None,
        ge=1,
        description="number of trials; of a grid at most its size, and the whole grid when not given",
    )
    parallelism: int = Field(1, ge=1, description="trials that may run at once")
    pack: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        1,
        description="on a cluster: trials that one pod runs, one after the other, from one fork server; auto: a pod "
        "takes another trial until it is ten minutes old; changes no result",
    )
    seed: int = Field(0, ge=0, description="seed of the sampler")
    pruning: Pruning | None = Field(Pruning.model_construct(), description="null lets every trial finish")
    space: dict[str, Any] = Field(
        description="dotted key of the experiment -> {low, high, log, step}, {choices} or a list; with "
        "`when: {key: value}` it is searched only where another searched key has this value, or one of a list"
    )

    def problems(self) -> Iterator[str]:
        if not self.space:
            yield (
                "space is empty; name at least one key, e.g. training.optimizer.learning_rate: "
                "{low: 0.001, high: 0.1, log: true}"
            )
        for key in self.space:
            if key.split(".")[0] not in ("model", "training"):
                yield f'space key "{key}" must begin with model. or training.'
        if self.method != "grid" and self.trials is None:
            yield f"trials is missing; {self.method} needs a number of trials, e.g. trials: 8"
