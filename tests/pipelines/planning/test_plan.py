"""The plan is pure: equal content gives equal ids, and what changes changes only what depends on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tidegate.infra.store import Ref
from tidegate.models.errors import SourceError
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.facts import code_digest, gather
from tidegate.pipelines.planning.identity import Facts, digest_of, streamed_memory
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.step import STEPS as ALL_STEPS
from tidegate.pipelines.planning.trained_file import LocalFile, TrainedFile
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.base import From
from tidegate.pipelines.step_types.release import PromoteInputs
from tidegate.pipelines.step_types.select import SelectInputs
from tidegate.pipelines.step_types.train import TrainInputs

STEPS = tuple(step for step in ALL_STEPS if step != "import")  # of a model that is trained here
FACTS = Facts(
    data="d" * 64,
    model="",
    code={step: f"code of {step}" for step in STEPS},
    versions={step: {"numpy": "2"} for step in STEPS},
    trials=1,
)
GOOD: dict[str, Any] = {"name": "a", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}
SPACE = {"training.batch_size": [8, 16, 32, 64]}


FROM_PACKAGE = STEPS[STEPS.index("package") :]


def experiment(**change: Any) -> Experiment:
    return validate(GOOD | change, "here")


def searched(trials: int, facts: Facts = FACTS, **search: Any) -> Plan:
    asked = {"method": "random", "trials": trials, "space": SPACE} | search
    return make_plan(experiment(search=asked), replace(facts, trials=trials))


def keys(plan: Plan) -> dict[str, list[str]]:
    return {step: [known.key for known in plan.of(step)] for step in STEPS}


def changed(one: Plan, other: Plan) -> list[str]:
    return [step for step in STEPS if keys(one)[step] != keys(other)[step]]


def test_the_seven_steps_in_order() -> None:
    plan = make_plan(experiment(), FACTS)
    assert [step.step for step in plan.steps] == list(STEPS)
    known: set[str] = set()
    for step in plan.steps:
        assert known.issuperset(step.after)
        known.add(step.id)
    assert plan.run == make_plan(experiment(), FACTS).run
    assert plan.run.startswith("a-")


def test_rows_that_memory_does_not_hold_are_streamed() -> None:
    rows = {"source": "./rows.csv", "target": "y"}
    large = replace(FACTS, size=(1 << 27) + 1)

    def memory(facts: Facts, **data: Any) -> int | None:
        return streamed_memory(experiment(data=rows | data, resources={"memory": "1Gi"}), facts)

    assert memory(large) == 1 << 30
    assert memory(replace(large, size=1 << 27)) is None
    assert memory(large, stream=False) is None
    assert memory(FACTS, stream=True) == 1 << 30
    assert memory(large, split={"folds": 3}) is None
    assert memory(large, target={"name": "y", "kind": "text"}) is None
    small, streamed = (experiment(data=rows | more) for more in ({}, {"stream": True}))
    assert changed(make_plan(small, FACTS), make_plan(streamed, FACTS)) == list(STEPS)
    window = experiment(data=rows | {"stream": True, "shuffle_buffer": 99})
    assert changed(make_plan(window, FACTS), make_plan(streamed, FACTS)) == list(STEPS[1:])
    held = experiment(data=rows | {"stream": False})  # another run, of the same trials
    assert changed(make_plan(small, FACTS), make_plan(held, FACTS)) == list(FROM_PACKAGE)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"training": {"epochs": 3}}, STEPS[1:]),
        ({"model": {"family": "mlp", "hidden": [8]}}, STEPS[1:]),
        ({"resources": {"gpus": 1}}, STEPS[1:]),
        ({"data": {"dataset": "wine", "split": {"seed": 8}}}, STEPS),
        ({"gate": {"metric": "test_f1"}}, STEPS[2:]),
        ({"serving": {"runtime": "tensorflow"}}, FROM_PACKAGE),
        ({"serving": {"port": 3456}}, FROM_PACKAGE),
    ],
)
def test_what_changes_is_done_again_and_no_more(change: dict[str, Any], expected: tuple[str, ...]) -> None:
    before, after = make_plan(experiment(), FACTS), make_plan(experiment(**change), FACTS)
    assert changed(before, after) == list(expected)
    assert before.run != after.run


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"data": "e" * 64}, STEPS),
        ({"code": FACTS.code | {"train": "edited"}}, STEPS[1:]),
        ({"code": FACTS.code | {"verify": "edited"}}, FROM_PACKAGE),
        ({"versions": FACTS.versions | {"prepare": {"numpy": "3"}}}, STEPS),
        ({"tags": {"mlflow.user": "somebody else"}}, ()),
    ],
)
def test_a_fact_changes_what_depends_on_it(facts: dict[str, Any], expected: tuple[str, ...]) -> None:
    before, after = make_plan(experiment(), FACTS), make_plan(experiment(), replace(FACTS, **facts))
    assert changed(before, after) == list(expected)
    assert (before.run != after.run) == bool(expected)


def test_another_champion_is_the_same_run_judged_again() -> None:
    before, after = make_plan(experiment(), FACTS), make_plan(experiment(), replace(FACTS, champion="c"))
    assert before.run == after.run
    assert changed(before, after) == list(STEPS[2:])


def test_another_incarnation_of_the_endpoint_is_deployed_again() -> None:
    before, after = make_plan(experiment(), FACTS), make_plan(experiment(), replace(FACTS, incarnation=1))
    assert before.run == after.run
    assert changed(before, after) == ["deploy", "verify", "promote"]


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_more_trials_keep_the_old_ones(method: str) -> None:
    few, many = searched(3, method=method), searched(5, method=method)
    assert keys(many)["train"][:3] == keys(few)["train"]
    assert len({step.id for step in many.of("train")}) == 5
    assert few.run != many.run


def test_a_tpe_trial_sees_a_fixed_prefix_of_the_others() -> None:
    for parallelism, seen in ((1, [0, 1, 2, 3]), (2, [0, 0, 1, 2])):
        plan = searched(4, method="tpe", parallelism=parallelism)
        trials = plan.of("train")
        draws = [step.inputs.search for step in trials if isinstance(step.inputs, TrainInputs)]
        assert [draw.seen for draw in draws if draw] == seen
        assert set(trials[3].after) == {plan.of("prepare")[0].id, *(step.id for step in trials[: seen[3]])}


def test_trials_that_learn_nothing_from_each_other_wait_for_none() -> None:
    plan = searched(4, pruning=None, parallelism=4)
    assert all(step.after == (plan.of("prepare")[0].id,) for step in plan.of("train"))


def test_a_wrong_key_and_a_place_where_none_may_stand_are_found_when_the_plan_is_made() -> None:
    (step,) = make_plan(experiment(), FACTS).of("promote")
    right = dict(step.inputs)
    assert isinstance(right["release"], From) and right["release"].output == "release"
    assert PromoteInputs.model_validate(right) == step.inputs
    for wrong in ({"releese": 1}, {"endpoint": From("deploy-1")}, {"release": "first"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            PromoteInputs.model_validate(right | wrong)
    del right["release"]
    with pytest.raises(ValidationError, match="release"):
        PromoteInputs.model_validate(right)


def test_one_trial_must_succeed_and_one_of_several_may_fail() -> None:
    assert [step.optional for step in make_plan(experiment(), FACTS).of("train")] == [False]
    assert [step.optional for step in searched(2).of("train")] == [True, True]


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.5})


def test_gathered_facts_follow_the_content_not_the_place(tmp_path: Path) -> None:
    home, found = Home(tmp_path / "home"), []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / "rows.csv").write_text("a,y\n1,2\n")
        (folder / "m.py").write_text("def build(inputs, outputs): ...\n")
        data = {"source": str(folder / "rows.csv"), "target": "y"}
        wanted = experiment(data=data, model={"file": str(folder / "m.py")})
        found.append(make_plan(wanted, gather(wanted, home)))
    assert found[0].run == found[1].run
    assert not changed(*found)
    assert found[0].facts.project and list(found[0].facts.project.of("train").files) == ["m.py"]
    assert found[0].facts.champion is None
    (tmp_path / "two" / "m.py").write_text("def build(inputs, outputs): return None\n")
    assert changed(found[0], make_plan(wanted, gather(wanted, home))) == list(STEPS[1:])
    (tmp_path / "two" / "rows.csv").write_text("a,y\n1,3\n")
    assert changed(found[0], make_plan(wanted, gather(wanted, home))) == list(STEPS)


@pytest.mark.parametrize(
    ("search", "trials"),
    [
        (None, 1),
        ({"method": "random", "trials": 7, "space": SPACE}, 7),
        ({"method": "grid", "space": SPACE | {"model.hidden": [[8], [9]]}}, 8),
        ({"method": "grid", "trials": 3, "space": SPACE}, 3),
        ({"method": "grid", "trials": 30, "space": SPACE}, 4),
    ],
)
def test_the_number_of_trials(search: dict[str, Any] | None, trials: int, tmp_path: Path) -> None:
    assert gather(experiment(search=search), Home(tmp_path)).trials == trials


def test_data_that_is_not_here(tmp_path: Path) -> None:
    for source, kind in (("ftp://host/x.csv", ExperimentError), ("/nowhere/x.csv", SourceError)):
        with pytest.raises(kind, match=r"data\.source"):
            gather(experiment(data={"source": source, "target": "y"}), Home(tmp_path))


def test_the_code_of_every_step_is_known() -> None:
    digests = {step: code_digest(step) for step in STEPS}
    assert len(set(digests.values())) == len(STEPS)
    assert all(len(digest) == 64 for digest in digests.values())


def test_the_content_of_a_file_of_test_rows_counts_and_its_place_does_not(tmp_path: Path) -> None:
    def prepared(folder: str, rows: str) -> str:
        place = tmp_path / folder
        place.mkdir()
        (place / "rows.csv").write_text("x,y\n1,0\n2,1\n")
        (place / "test.csv").write_text(rows)
        data = {"source": str(place / "rows.csv"), "test": str(place / "test.csv"), "target": "y"}
        wanted = experiment(data=data)
        return make_plan(wanted, gather(wanted, Home(tmp_path))).of("prepare")[0].key

    first = prepared("a", "x,y\n1,0\n")
    assert prepared("b", "x,y\n1,0\n") == first != prepared("c", "x,y\n1,1\n")


def test_a_trained_models_steps_take_what_its_import_leaves() -> None:
    ref = Ref(digest="a" * 64, size=1, name="model.onnx")
    facts = replace(
        FACTS,
        trained=TrainedFile("onnx", LocalFile("model.onnx", ref)),
        code=FACTS.code | {"import": "code"},
        versions=FACTS.versions | {"import": {}},
    )
    plan = make_plan(experiment(model={"trained": "model.onnx"}), facts)
    assert [step.step for step in plan.steps] == [step if step != "train" else "import" for step in STEPS]
    imported, select = plan.steps[1].id, plan.steps[2].inputs
    assert isinstance(select, SelectInputs)
    assert (select.trials, select.prepared) == ([From(imported, "trained")], From(imported, "prepared"))
