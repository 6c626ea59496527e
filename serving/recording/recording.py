"""What the processes of a server share of its recording, made before they are forked."""

import time
from pathlib import Path

from tidegate.serving.contract.contract import Contract
from tidegate.serving.errors import RecordingError
from tidegate.serving.inference.engine import InferenceEngine
from tidegate.serving.recording.cipher import Cipher
from tidegate.serving.recording.counted import PART, Counted
from tidegate.serving.recording.day_count import DayCount
from tidegate.serving.recording.recorder import Recorder
from tidegate.serving.recording.segment_writer import SegmentWriter
from tidegate.serving.recording.segments import locked, rows_of_day
from tidegate.serving.recording.settings import Record, check_drop, repeated_by


class Recording:
    """The recording of one server.

    Args:
        settings: what is recorded.
        folder: where, of this endpoint alone.
        key: the file of the home's key.
        contract: of the release.

    Raises:
        RecordingError: the key cannot be used, the folder not be written, or the release has no input that is dropped.
    """

    def __init__(self, settings: Record, folder: Path, key: Path, contract: Contract) -> None:
        inputs = [field.name for field in contract.inputs]
        check_drop(settings, inputs, repeated_by(contract.task, inputs, contract.prompt))
        self._settings, self._folder, self._cipher = settings, folder, Cipher.read(key)
        now = time.time()
        try:
            with locked(folder):
                self._days = DayCount(settings.rows_a_day, rows_of_day(folder, now), now)
        except OSError as error:
            raise RecordingError(
                f"requests cannot be recorded in {folder} ({error.strerror}); expected a folder that can be written; "
                "correct it, or leave serving.record out"
            ) from error

    def add_to(self, engine: InferenceEngine) -> None:
        """In the process that serves: record what this engine answers."""
        served = engine.served
        counted = Counted(served.name, served.release)
        writer = SegmentWriter(self._folder, self._cipher, self._settings.seconds, counted)
        engine.metrics.add(PART, counted)
        engine.recorder = Recorder(
            self._settings, served.contract, served.release, self._days, writer, counted
        )
