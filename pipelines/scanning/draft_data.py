"""The part `data` of an experiment file that is written for a project."""

from collections.abc import Iterator

from tidegate.pipelines.scanning.candidates import loaders_among, transforms_among
from tidegate.pipelines.scanning.columns import columns_of, target_among, times_among
from tidegate.pipelines.scanning.files import Source, part_of
from tidegate.pipelines.scanning.functions import Function
from tidegate.pipelines.scanning.lines import SHOWN, UNSURE, Found, Line, few, yaml_value
from tidegate.pipelines.scanning.training_calls import UNKNOWN, arguments_of

PATHS = (
    "path",
    "folder",
    "file",
    "source",
    "dir",
    "root",
)  # in the name of an argument that says where data is


def data_lines(found: Found) -> Iterator[Line]:
    """`data`: the source, the target, the transform and the split."""
    yield Line("data:")
    whole = [source for source in found.sources if part_of(source) in (None, "train")]
    chosen = next(iter(whole or found.sources), None)
    columns = {} if chosen is None else columns_of(chosen)
    yield from _source(found, chosen, columns)
    yield from _target(found, chosen, columns)
    yield from _transform(found, columns)
    yield from _split(found, chosen, columns)


def _source(found: Found, chosen: Source | None, columns: dict[str, str]) -> Iterator[Line]:
    loader = next(iter(loaders_among(found.modules)), None)
    if chosen is None:
        yield from (
            _loaded(found, loader)
            if loader
            else [
                Line(f"  source: {found.path('./data')}", f"{UNSURE}no data was found; name a file or folder")
            ]
        )
        return
    told = f": {few(columns)}" if columns else ""
    count = "a" if chosen.files == 1 else str(chosen.files)
    yield Line(f"  source: {yaml_value(found.path(chosen.path))}", f"{count} {chosen.format}{told}")
    others = [one for one in found.sources if one != chosen and part_of(one) not in ("test", "validation")]
    if others:
        about = f"or {few(one.path for one in others)}"
        yield Line(f"  source: {yaml_value(found.path(others[0].path))}", about, False)
    if loader:
        about = f"{loader.place} reads files itself; in place of a reader"
        yield Line(f"  load: {loader.reference}", about, False)


def _loaded(found: Found, loader: Function) -> Iterator[Line]:
    """No reader's data, but a function that gives it; its first argument may be the source, the others are options."""
    given = arguments_of(loader, found.modules)
    first = loader.required[:1]
    sources = [name for name in first if isinstance(given[name], str) or any(word in name for word in PATHS)]
    for name in sources:
        known = isinstance(given[name], str)
        about = "as the project calls it" if known else f"{UNSURE}no call tells what {loader.name} reads"
        yield Line(f"  source: {yaml_value(found.path(given[name] if known else './data'))}", about)
    yield Line(f"  load: {loader.reference}", f"{UNSURE}{loader.place} gives the rows")
    others = [name for name in loader.required if name not in sources]
    if others:
        values = {name: None if given[name] is UNKNOWN else given[name] for name in others}
        yield Line(f"  options: {yaml_value(values)}", "as the project calls it; null where no call tells")


def _target(found: Found, chosen: Source | None, columns: dict[str, str]) -> Iterator[Line]:
    if chosen is not None and chosen.format == "image_folder":
        yield Line("  target: label", "the folders' names")
        return
    if chosen is not None and chosen.format == "masks":
        yield Line("  target: {name: mask, kind: mask}", "an image whose pixels are classes, for each image")
        return
    named = [name for module in found.modules for name in module.targets]
    likely = target_among(columns, named)
    if not likely:
        target = next(iter(named), "target")
        yield Line(
            f"  target: {yaml_value(target)}", f"{UNSURE}the columns are not known; name the one to predict"
        )
        return
    sure = likely[0] in named
    about = (
        "as the project's code takes it"
        if sure
        else f"{UNSURE}by its name; or {few(name for name in (*likely[1:], *columns) if name != likely[0])}"
    )
    yield Line(f"  target: {yaml_value(likely[0])}", about)


def _transform(found: Found, columns: dict[str, str]) -> Iterator[Line]:
    likely = transforms_among(found.modules, list(columns))
    for place, one in enumerate(likely[:SHOWN]):
        missing = set(one.columns) - set(columns)
        fits = place == 0 and (not missing or not columns)
        reads = f"{one.place} reads {few(one.columns)}" if one.columns else one.place
        about = (
            f"{UNSURE}{reads}" if fits else f"{reads}; the data has no {few(missing)}" if missing else reads
        )
        yield Line(f"  transform: {one.reference}", about, fits)


def _split(found: Found, chosen: Source | None, columns: dict[str, str]) -> Iterator[Line]:
    parts = {part_of(one): one for one in found.sources if chosen is not None and one.format == chosen.format}
    if chosen is not None and part_of(chosen) == "train" and "test" in parts:
        inside = [
            f"{name}: {yaml_value(found.path(parts[name].path))}"
            for name in ("validation", "test")
            if name in parts
        ]
        yield Line(f"  split: {{{', '.join(inside)}}}")
        return
    yield Line("  split: {validation: 0.1, test: 0.2}")
    for time in times_among(columns)[:1]:
        yield Line(
            f"  split: {{time: {yaml_value(time)}, test: 0.2}}",
            "the last rows in time are the test rows",
            False,
        )
