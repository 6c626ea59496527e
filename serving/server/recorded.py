"""What a server records of its requests, from its arguments."""

import argparse
from collections.abc import Callable

from pydantic import TypeAdapter

from tidegate.serving.errors import ServerError
from tidegate.serving.inference.engine import InferenceEngine
from tidegate.serving.inference.release_loader import served_bundle
from tidegate.serving.server.access import read_option

FORM = '{"share": 0.05, "rows_a_day": 10000, "keep": "14d"}'


def recorded(args: argparse.Namespace, load: Callable[[], InferenceEngine]) -> Callable[[], InferenceEngine]:
    """A function that loads the release as `load` does, and records what it answers where the arguments ask for it.

    Raises:
        ServerError: an argument is missing or wrong.
        RecordingError: the key or the folder cannot be used, or the release has no input that is to be dropped.
    """
    place = {"--recordings": args.recordings, "--recording-key": args.recording_key}
    given = [name for name, path in place.items() if path is not None]
    if args.record is None:
        if given:
            raise ServerError(f"{given[0]} is for what is recorded, and --record is not given; add it")
        return load
    if len(given) < len(place):
        missing = next(name for name in place if name not in given)
        raise ServerError(f"--record is given without {missing}; expected both of {', '.join(place)}; add it")
    # cryptography is imported, and memory shared, where something is recorded only.
    from tidegate.serving.recording.recording import Recording
    from tidegate.serving.recording.settings import Record

    settings = read_option("--record", args.record, TypeAdapter(Record), FORM)
    recording = Recording(settings, args.recordings, args.recording_key, served_bundle().contract)

    def loaded() -> InferenceEngine:
        engine = load()
        recording.add_to(engine)
        return engine

    return loaded
