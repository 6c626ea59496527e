import numpy as np
import pytest

from tidegate.models.data.cells.spellings import spellings, without_zeros
from tidegate.models.preprocessing.schema import Field
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.contract.casting import cast_column
from tidegate.serving.errors import ContractError

FIELD = Field(name="x", kind="categorical", dtype="str")

# What training knew, what a client sends, and the category that is meant; None: no category.
SENT = [
    (("False", "True"), True, "True"),
    (("False", "True"), "true", "True"),
    (("False", "True"), "FALSE", "False"),
    (("false", "true"), "True", "true"),
    (("no", "yes"), True, "yes"),
    (("no", "yes"), "No", "no"),
    (("N", "Y"), False, "N"),
    (("True",), True, "True"),
    (("1", "2"), 1, "1"),
    (("1", "2"), 1.0, "1"),
    (("1.0", "2.0"), 1, "1.0"),
    (("1.0", "2.0"), "2", "2.0"),
    (("1", "1.0"), "1.0", "1.0"),
    (("00501", "501"), "501", "501"),
    (("00501",), "501", None),
    (("maybe", "no", "yes"), "No", None),
]


@pytest.mark.parametrize(("known", "sent", "meant"), SENT)
def test_a_category_may_be_written_in_another_way(known, sent, meant):
    content = {"names": [], "mean": [], "scale": [], "categories": {"x": list(known)}}
    inputs = [{"name": "features", "encoder": "features", "content": content}]
    column = cast_column(FIELD, known, [sent])
    (encoded,) = Transforms.from_dict({"inputs": inputs}).apply({"x": column})["features"]
    assert encoded.tolist() == [float(category == meant) for category in known]
    assert set(spellings(known)) & set(known) == set()


@pytest.mark.parametrize(
    ("known", "sent"), [(("00501",), 501), (("a", "b"), True), (("maybe", "no", "yes"), True)]
)
def test_a_number_or_boolean_that_is_no_category_is_refused(known, sent):
    with pytest.raises(ContractError, match="expected the name of a category"):
        cast_column(FIELD, known, [sent])


@pytest.mark.parametrize(
    ("value", "known", "meant"),
    [
        ("00501", {"501", "7"}, "501"),  # of a release that read its codes as numbers
        ("00501", {"00501", "501"}, "00501"),
        ("00502", {"00501", "502"}, "00502"),
        ("0", {"0"}, "0"),
        (None, {"0"}, None),
    ],
)
def test_leading_zeros_mean_nothing_where_no_category_has_them(value, known, meant):
    assert without_zeros(value, frozenset(known)) == meant


def test_a_long_list_of_categories_stays_fast():
    known = tuple(f"c{n}" for n in range(1000))
    assert spellings(known) == {}
    assert cast_column(FIELD, known, ["c1", None]).tolist() == np.array(["c1", None], object).tolist()
