"""A cluster refuses what only this machine records, and so does a promotion to one, before anything is asked of it."""

from pathlib import Path

import pytest

from tests.pipelines.walks.test_golden import TARGETS
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import EndpointState
from tidegate.serving.errors import RecordingError


def test_a_cluster_records_nothing(tmp_path: Path) -> None:
    place = hosting(Home(tmp_path, Target.model_validate(TARGETS["plain"])))
    serving = Serving.model_validate({"record": {"share": 0.5}})
    with pytest.raises(UsageError, match=r"serving\.record: requests are kept by endpoints on this machine"):
        place.check(EndpointState(name="wine"), serving)


def test_the_key_is_looked_at_before_a_run_begins(tmp_path: Path) -> None:
    home = Home(tmp_path)
    serving, state = Serving.model_validate({"record": {}}), EndpointState(name="wine")
    hosting(home).check(state, serving)  # it is made when it is needed
    key = tmp_path / "keys" / "recording.key"
    key.parent.mkdir()
    key.write_bytes(b"no key")
    key.chmod(0o600)
    with pytest.raises(RecordingError, match="is no key of recorded rows"):
        hosting(home).check(state, serving)
