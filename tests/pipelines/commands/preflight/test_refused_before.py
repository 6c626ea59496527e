"""What a step would refuse is refused before a run begins, all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.models.errors import OptionsError, SourceError
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.state.home import Home

GOOD: dict[str, Any] = {"name": "a", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"model": {"family": "mlp", "hidden": [0]}}, OptionsError, "model.hidden"),
        ({"training": {"optimizer": {"name": "sgdd"}}}, OptionsError, "'sgd'"),
        ({"training": {"loss": {"name": "nothing"}}}, OptionsError, "unknown loss"),
        ({"gate": {"metric": "accuracy"}}, ExperimentError, "test_accuracy"),
        (
            {"gate": {"metric": "validation_f1"}, "data": {"dataset": "wine", "split": {"validation": 0}}},
            ExperimentError,
            "data.split.validation is 0; set it",
        ),
        ({"data": {"source": "/nowhere/x.csv", "target": "y"}}, SourceError, "does not exist"),
        ({"search": {"trials": 1, "space": {"model.hiden": [[8]]}}}, OptionsError, "'hidden'"),
        (
            {"search": {"trials": 1, "space": {"training.epochs": {"low": 0, "high": 3}}}},
            ExperimentError,
            "epochs",
        ),
        (
            {"search": {"trials": 1, "space": {"training.epochs": 3}}},
            OptionsError,
            "search.space.training.epochs",
        ),
        (
            {
                "training": {"optimizer": SGD},
                "search": {"trials": 1, "space": {"training.optimizer": [{"name": "sgd", "momentum": 0.5}]}},
            },
            ExperimentError,
            "has no learning_rate, which training.optimizer states",
        ),
        (
            {
                "training": {"optimizer": SGD},
                "search": {"trials": 1, "space": {"training.optimizer": ["adam"]}},
            },
            OptionsError,
            "unknown option 'momentum' of optimizer 'adam'",
        ),
        (
            {
                "search": {
                    "trials": 1,
                    "space": {"training.optimizer.momentum": [0.9], "training.optimizer": ["sgd", "adam"]},
                }
            },
            OptionsError,
            "optimizer 'adam' has no option 'momentum'",
        ),
        (
            {
                "search": {
                    "trials": 1,
                    "space": {
                        "training.early_stopping": [None, {"min_delta": 0.1}],
                        "training.early_stopping.patience": [3],
                    },
                }
            },
            ExperimentError,
            "is searched within the choice None of training.early_stopping",
        ),
        (
            {
                "model": {"family": "mlp", "dropout": 0.1},
                "search": {"trials": 1, "space": {"model.dropout.rate": [0.2]}},
            },
            ExperimentError,
            'search.space.model.dropout.rate: "model.dropout" is float 0.1, not a mapping',
        ),
    ],
)
def test_what_a_step_would_refuse_is_refused_before(
    change: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as raised:
        check(validate(GOOD | change, "here"), Home(tmp_path))
    assert words in str(raised.value)


@pytest.mark.parametrize("loss", ["pinball", {"name": "pinball", "quantile": 0.9}])
def test_a_loss_of_ones_own_is_no_spelling_mistake(loss: Any, tmp_path: Path) -> None:
    code = "def pinball(y_true, y_pred):\n    pass\n\n\ndef build(inputs, outputs):\n    pass\n"
    (tmp_path / "my_model.py").write_text(code)
    change = {"model": {"file": str(tmp_path / "my_model.py")}, "training": {"loss": loss}}
    with pytest.raises(
        ExperimentError, match=r"training.loss: pinball is defined in .*my_model.py; expected one of"
    ):
        check(validate(GOOD | change, "here"), Home(tmp_path))


def test_all_that_steps_would_refuse_is_told_at_once(tmp_path: Path) -> None:
    space = {"training.optimizer": ["adm", "sgdd"]}
    change: dict[str, Any] = {
        "data": {"source": "/nowhere/x.csv", "target": "y"},
        "model": {"family": "mpl"},
        "training": {"loss": "nothing"},
        "gate": [{"metric": "accuracy"}, {"metric": "test_acuracy"}],
        "search": {"trials": 1, "space": space},
    }
    with pytest.raises(ExperimentError) as raised:
        check(validate(GOOD | change, "here"), Home(tmp_path))
    told = str(raised.value).splitlines()
    words = ("/nowhere/x.csv", "'mpl'", "'nothing'", "'adm'", "'sgdd'", '"accuracy"', '"test_acuracy"')
    assert len(told) == len(words)
    for line, word in zip(told, words, strict=True):
        assert word in line
