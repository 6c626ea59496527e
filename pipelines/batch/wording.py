"""What readers say of an experiment file, in words of the command line: where rows are predicted, there is none."""

import re

OF_CSV = re.compile(r"data\.csv: \{([^{}]*)\}")
WORDS = (
    (
        re.compile(r"set the right data\.format or data\.csv\.encoding"),
        "set --csv encoding=…, or give it its format's suffix",
    ),
    (
        re.compile(r"set (?:the right data\.format|data\.format: one of [\w, ]+)"),
        "give it its format's suffix",
    ),
    (re.compile(r"what data\.csv\.(\w+) says"), r"what --csv \1=… says"),
    (re.compile(r"data\.csv\.(\w+)"), r"--csv \1=…"),
    (re.compile(r"data\.csv\b"), "--csv"),
    (re.compile(r"data\.source (?=\S+ does not exist)"), ""),
    (re.compile(r"starts at the experiment file"), "starts at the current folder"),
)


def of_options(sentence: str) -> str:
    """A reader's sentence with the options of `predict` for the keys of an experiment."""
    said = OF_CSV.sub(
        lambda match: " ".join(f"--csv {key}=…" for key in re.findall(r"(\w+): ", match[1])), sentence
    )
    for known, option in WORDS:
        said = known.sub(option, said)
    return said
