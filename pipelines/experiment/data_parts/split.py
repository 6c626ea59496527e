"""The part of the experiment file that says how rows are divided."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tidegate.pipelines.experiment.part import Part


def _number(value: Any) -> Any:
    """A fraction that was written as a text, as a number."""
    with contextlib.suppress(ValueError, TypeError):
        return float(value) if isinstance(value, str) else value
    return value


Share = Annotated[float, Field(ge=0, lt=1)] | str
TestShare = Annotated[float, Field(gt=0, lt=1)] | str


class Split(Part):
    """How rows are divided: by their content and the seed, so that a row keeps its part, or as is stated here."""

    validation: Annotated[Share, BeforeValidator(_number)] = Field(
        0.1, description="share of rows that steers training, or a file or folder that has these rows"
    )
    test: Annotated[TestShare, BeforeValidator(_number)] = Field(
        0.2, description="share of rows held out for the gate, or a file or folder that has these rows"
    )
    seed: int = Field(7, ge=0, description="seed of the parts")
    time: str | Literal[True] | None = Field(
        None,
        description="a column of dates or numbers: the last rows in time are the test rows, those before them "
        "validate; rows of one time stay together; no input unless inputs names it; true: the rows stand in the order "
        "of time",
    )
    group: str | None = Field(
        None,
        description="a column, such as a customer's number, whose rows of one value stay in one part; no input unless "
        "inputs names it",
    )
    column: str | None = Field(
        None,
        description="a column that says train, validation or test for each row; what it does not name is divided by "
        "the shares; no input unless inputs names it",
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="cross-validation: this many extra models are trained on all but the test rows, each evaluated on "
        "the fold it did not see; the released model is trained on the training rows: with validation 0, all but the "
        "test rows",
    )

    @property
    def files(self) -> dict[str, str]:
        """By part, the file that has its rows."""
        parts = {"validation": self.validation, "test": self.test}
        return {part: value for part, value in parts.items() if isinstance(value, str)}

    @property
    def validated(self) -> bool:
        """Whether there may be validation rows."""
        return bool(self.validation) or self.column is not None

    def problems(self) -> Iterator[str]:
        shares = [value for value in (self.validation, self.test) if isinstance(value, float)]
        if sum(shares) >= 1:
            yield (
                f"validation {self.validation} + test {self.test} leave no rows to train on; "
                "their sum must be below 1"
            )
        if self.time is not None and self.group is not None:
            yield f"time {self.time} and group {self.group} are both stated; rows are divided by one; leave one out"
        if self.time is not None and "test" in self.files and (self.validation == 0 or len(self.files) == 2):
            yield (
                f"time {self.time} is stated, and no rows are left for it to divide: test is a file, and validation a "
                "file or 0; leave time out"
            )
