"""Several outputs in the experiment file: a mapping by name, and metrics of each in the gate."""

from typing import Any

import pytest

from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.gate import check_name
from tidegate.pipelines.experiment.ranking import lower_is_better
from tidegate.pipelines.experiment.spec import Experiment

MODEL = {"family": "mlp"}


def _experiment(target: Any, **training: Any) -> Experiment:
    data = {"source": "./a.csv", "target": target}
    return Experiment.model_validate({"name": "a", "data": data, "model": MODEL, "training": training})


def test_a_mapping_divides_what_an_output_is_from_how_it_is_learned() -> None:
    stated = {
        "animal": {"loss": "kl_divergence", "weight": 0.5},
        "weight": {"task": "regression"},
        "sold": None,
    }
    found = _experiment(stated)
    assert [(one.name, one.task) for one in found.data.target or () if not isinstance(one, str)] == [
        ("animal", None),
        ("weight", "regression"),
        ("sold", None),
    ]
    assert found.training.outputs is not None and list(found.training.outputs) == ["animal"]
    learned = found.training.outputs["animal"]
    assert (learned.loss, learned.weight, learned.metrics) == ("kl_divergence", 0.5, None)
    again = Experiment.model_validate(found.model_dump(mode="json"))
    assert again == found


def test_the_weight_of_a_loss_changes_the_training_and_not_the_data() -> None:
    one, other = (_experiment({"animal": {"weight": weight}, "weight": None}) for weight in (1.0, 2.0))
    assert one.data == other.data and one.training != other.training


def test_a_column_with_options_is_no_mapping_of_outputs() -> None:
    found = _experiment({"name": "tags", "kind": "labels"})
    assert found.data.stated_task == "multilabel" and found.training.outputs is None


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"animal": {"los": "mse"}, "weight": None}, "los"),
        ({"animal": {"weight": 0}, "weight": None}, "weight"),
        ({"animal": {"weight": 2.0}, "weight": None}, r"both have weight; expected one of the two"),
        ({"animal": {"task": "clasification"}, "weight": None}, "classification"),
    ],
)
def test_a_wrong_key_of_an_output_is_named(stated: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _experiment(stated, outputs={"animal": {"weight": 0.5}})


def test_what_the_training_section_says_of_an_output_is_kept() -> None:
    found = _experiment({"animal": None, "weight": None}, outputs={"weight": {"weight": 0.5}})
    assert found.training.outputs is not None and found.training.outputs["weight"].weight == 0.5


def test_a_gate_names_the_metric_of_an_output_and_knows_its_direction() -> None:
    check_name("test_animal_accuracy", None)
    check_name("test_weight_rmse", "multioutput")
    with pytest.raises(ExperimentError, match="no run has a metric"):
        check_name("test_animal_acuracy", "multioutput")
    assert lower_is_better("test_weight_rmse") and lower_is_better("test_animal_loss")
    assert not lower_is_better("test_animal_accuracy") and not lower_is_better("test_r2_loss")


def test_a_target_of_null_is_a_task_and_one_that_is_not_stated_is_missing() -> None:
    found = _experiment(None)
    assert (found.data.task, found.data.target) == ("reconstruction", None)
    assert Experiment.model_validate(found.model_dump(mode="json")) == found
    with pytest.raises(ValueError, match="target: null learns to answer the input"):
        Experiment.model_validate({"name": "a", "data": {"source": "./a.csv"}, "model": MODEL})
    with pytest.raises(ValueError, match="then the input is the target"):
        Experiment.model_validate(
            {
                "name": "a",
                "data": {"source": "./a.csv", "target": "y", "task": "reconstruction"},
                "model": MODEL,
            }
        )
