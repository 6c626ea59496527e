"""`python -m tests.bench.fairness`: how often the gate is wrong about a candidate whose quality is known.

"nights": each night's data is that of the night before, grown, shrunk, shuffled or with copies. The champion has
memorised the rows it learned from, and a candidate of known quality is compared with it: on the rows and by the rule of
the build of 2026-11-28 (parts drawn anew each night, two numbers compared), and by `prepare` and the gate as they are.
"intervals": how often the interval of each metric leaves out the true difference of two equal models.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.models.data.columns import Columns, concat, rows_of, take
from tidegate.models.evaluation.metrics import evaluate
from tidegate.models.evaluation.paired_difference import interval
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.row_identity import identify
from tidegate.models.preprocessing.splitting.rules import SplitRules, divide
from tidegate.pipelines.experiment.gate import Compared, Criterion, reasons_against

METRIC, NAME = "auc", "test_auc"
NIGHTS, ROWS = 200, 2500
SIGNAL = 1.0  # of the champion: AUC 0.76
# What a candidate is, and the strength of its signal beside the champion's.
CANDIDATES = {"much better": 1.4, "better": 1.15, "as good": 1.0, "worse": 0.85, "much worse": 0.6}
RULES = {
    "not worse (default)": {},
    "better by 0.001": {"improve_on_champion": 0.001},
    "the two numbers": {"confidence": None},
}


@dataclass
class Count:
    """Releases of one kind of candidate, by rule, and the rows compared."""

    released: dict[str, int] = field(default_factory=dict)
    nights: int = 0

    def add(self, rule: str, passes: bool) -> None:
        """One more decision."""
        self.released[rule] = self.released.get(rule, 0) + passes


def rows(count: int, random: np.random.Generator) -> Columns:
    """Rows whose label depends on what `x` shows; `z` makes each row another one."""
    label = random.integers(0, 2, count)
    return {"x": label + random.normal(size=count), "z": random.normal(size=count), "label": label}


def nights(random: np.random.Generator) -> Iterator[Columns]:
    """The data of one night after the other."""
    now = rows(ROWS, random)
    while True:
        yield now
        change = random.integers(0, 4)
        if change == 0:
            now = concat([now, rows(int(random.integers(20, 200)), random)])
        elif change == 1:
            now = take(now, np.flatnonzero(random.random(rows_of(now)) < 0.97))
        elif change == 2:
            now = take(now, random.permutation(rows_of(now)))
        else:
            now = concat([now, take(now, random.integers(0, rows_of(now), 50))])
        if rows_of(now) > 2 * ROWS:
            now = take(now, np.sort(random.permutation(rows_of(now))[:ROWS]))


def answers(columns: Columns, signal: float, known: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Probabilities `(n, 2)` of a model that sees the label with this signal, and knows some labels by heart."""
    label = columns["label"]
    seen = signal * (label - 0.5) + random.normal(size=len(label))
    logits = np.where(known, 8.0 * (label - 0.5), seen)
    positive = 1 / (1 + np.exp(-logits))
    return np.stack([1 - positive, positive], axis=1)


def by_place(columns: Columns, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Learned rows and test rows as before: each class shuffled and divided by place."""
    order = np.random.default_rng(seed).permutation(rows_of(columns))
    count = rows_of(columns) // 5
    return order[count:], order[:count]


def decide(rule: str, truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether the gate releases by a rule."""
    criterion = Criterion.model_validate({"metric": NAME, **RULES[rule]})
    values = [evaluate("classification", truth, one).values[METRIC] for one in (ours, theirs)]
    ends = interval(METRIC, "classification", truth, (ours, theirs), criterion.confidence or 0.95)
    found = Compared(
        NAME, *values, len(truth), criterion.confidence, *(ends if criterion.confidence else (None, None))
    )
    return not reasons_against([criterion], {NAME: values[0]}, {NAME: found})


def simulate(count: int, seed: int = 0) -> dict[str, Count]:
    """Decisions on `count` nights for each kind of candidate."""
    found = {kind: Count() for kind in CANDIDATES}
    random, data = np.random.default_rng(seed), nights(np.random.default_rng(seed + 1))
    before = next(data)
    for _ in range(count):
        now = next(data)
        schema = infer_schema(now, None, ["label"], None)
        identity, learned = identify(schema, now), _learned(before)
        test = divide(schema, now, SplitRules(0.1, 0.2, 7), identity=identity)["test"]
        test = test[~np.isin(identity.unit[test], learned)]
        old_learned = identify(schema, take(before, by_place(before, 7)[0])).content
        old_test = by_place(now, 7)[1]
        for kind, signal in CANDIDATES.items():
            found[kind].nights += 1
            known = np.isin(identity.content[old_test], old_learned)
            some = take(now, old_test)
            ours = answers(some, signal, np.zeros(len(known), bool), random)
            found[kind].add(
                "before", decide("the two numbers", some["label"], ours, answers(some, SIGNAL, known, random))
            )
            some, unknown = take(now, test), np.zeros(len(test), bool)
            both = [answers(some, one, unknown, random) for one in (signal, SIGNAL)]
            for rule in RULES:
                found[kind].add(rule, decide(rule, some["label"], *both))
        before = now
    return found


def _learned(columns: Columns) -> Digests:
    schema = infer_schema(columns, None, ["label"], None)
    identity = identify(schema, columns)
    parts = divide(schema, columns, SplitRules(0.1, 0.2, 7), identity=identity)
    return identity.copy[np.concatenate([parts["train"], parts["validation"]])]


def moved(count: int) -> tuple[list[int], list[int]]:
    """For each night, how many test rows the champion of the night before learned: as before, and now."""
    data, then, now = nights(np.random.default_rng(3)), [], []
    before = next(data)
    for _ in range(count):
        after = next(data)
        schema = infer_schema(after, None, ["label"], None)
        identity = identify(schema, after)
        old = identify(schema, take(before, by_place(before, 7)[0])).content
        then.append(int(np.isin(identity.content[by_place(after, 7)[1]], old).sum()))
        test = divide(schema, after, SplitRules(0.1, 0.2, 7), identity=identity)["test"]
        now.append(int(np.isin(identity.unit[test], _learned(before)).sum()))
        before = after
    return then, now


def coverage(count: int, size: int) -> dict[str, float]:
    """How often the 95 % interval leaves out 0 for two equal models, by metric."""
    random, names = np.random.default_rng(5), ("accuracy", "auc", "f1", "loss", "ece", "rmse", "mae", "r2")
    outside = dict.fromkeys(names, 0)
    for _ in range(count):
        label, number = random.integers(0, 2, size), random.normal(size=size)
        plain: Columns = {"label": label}
        both = [answers(plain, 1.5, np.zeros(size, bool), random) for _ in range(2)]
        numbers = [number + random.normal(size=size) for _ in range(2)]
        for name in names:
            task, truth, pair = (
                ("regression", number, numbers) if name in names[5:] else ("classification", label, both)
            )
            low, high = interval(name, task, truth, (pair[0], pair[1]), 0.95)
            outside[name] += not low <= 0 <= high
    return {name: one / count for name, one in outside.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=NIGHTS)
    asked = parser.parse_args()
    then, now = moved(20)
    print(f"20 nights, test rows that the champion learned: before {sum(then)} ({then}); now {sum(now)}")
    found = simulate(asked.nights)
    rules = ["before", *RULES]
    print(
        f"{asked.nights} nights, releases of a candidate that is ...".ljust(48),
        *(rule.rjust(22) for rule in rules),
    )
    for kind, one in found.items():
        shares = (f"{100 * one.released[rule] / one.nights:.1f} %".rjust(22) for rule in rules)
        print(kind.ljust(48), *shares)
    for size in (60, 500):
        told = "  ".join(f"{name} {100 * one:.1f} %" for name, one in coverage(200, size).items())
        print(f"{size} rows, equal models told apart at 95 %: {told}")


if __name__ == "__main__":
    main()
