"""Endpoints: asked for predictions, rolled back, deleted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.pipelines.batch.in_memory import open_batch_input
from tidegate.pipelines.commands.endpoints.eject import eject
from tidegate.pipelines.commands.endpoints.lifecycle import delete_endpoint, rollback
from tidegate.pipelines.commands.endpoints.lifecycle import endpoints as list_endpoints
from tidegate.pipelines.commands.prediction.predict import asking
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.python_api import notebook
from tidegate.pipelines.python_api.errors import UsageError, public
from tidegate.pipelines.python_api.results import EndpointRow, ReleaseRow
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home, mlflow_of, open_home
from tidegate.serving.deployment.client import api_key
from tidegate.serving.inference.bulk_scoring import chunk_rows, score


class Endpoint:
    """A live endpoint; every attribute is read anew.

    Attributes:
        name: its name, or the URL of one that others deployed, which can be asked and nothing else.
    """

    def __init__(self, home: Home, name: str, key: str | None = None) -> None:
        self._home = home
        self._key = key
        self.name = name

    @property
    def url(self) -> str:
        """Its base URL, which stays the same until it is deleted."""
        return self._url()

    @property
    def info(self) -> EndpointRow:
        """What `tidegate endpoints --json` prints of it."""
        return self._info()

    @property
    def release(self) -> int:
        """The number of the live release."""
        return self.info.release

    @property
    def releases(self) -> list[ReleaseRow]:
        """Every release, the oldest first."""
        return self.info.releases

    @property
    def contract(self) -> dict[str, Any]:
        """What a row and a prediction are, as `GET /contract` says."""
        return self._contract()

    @public
    def predict(self, rows: Any) -> list[Any]:
        """Predict any number of rows; an endpoint that does not run is started.

        Args:
            rows: a list of objects `{input name: value}`, or of bare values where there is one input; columns as
                `{input name: values}`; a NumPy array, one entry a row; a table of pandas, Polars or pyarrow. What is no
                input of it, such as a target, is left out.

        Returns:
            One prediction a row, in order: of a classifier `{"label", "probability", "probabilities"}`, of a regressor
            a number.

        Raises:
            EndpointError: it does not answer, or refuses a row; names the row.
            UsageError: the rows are none.

        Example:
            >>> tidegate.endpoint("churn").predict([{"age": 33, "city": "Pune", "visits": 17}])
            [{'label': 'no', 'probability': 0.97, 'probabilities': [0.97, 0.03]}]
        """
        with mlflow_of(self._home), asking(self._home, self.name, self._key) as (ask, contract):
            batch = open_batch_input(rows, contract["inputs"], chunk_rows(contract))
            return [prediction for part in score(batch.chunks, ask) for prediction in part.predictions]

    @public
    def rollback(self, to: int | None = None, *, message: str | None = None) -> int:
        """Serve an earlier release again, at the same address.

        Args:
            to: a release's number; None: the one before the live one.
            message: why, for the history.

        Returns:
            The number of the release that is live now.

        Raises:
            UnknownNameError: there is no such release, or none before the live one.
        """
        with mlflow_of(self._own()) as home:
            return int(rollback(home, self.name, to, message).data["release"])

    @public
    def eject(self, folder: str | Path) -> Path:
        """Write the live release as a folder that runs without Tidegate, see `tidegate eject`; return the folder.

        Raises:
            UsageError: the folder holds files.
        """
        with mlflow_of(self._own()) as home:
            return Path(eject(home, self.name, str(folder)).data["folder"])

    @public
    def delete(self, *, message: str | None = None) -> None:
        """Remove the endpoint: its server, its address and its alias in MLflow; runs and bentos stay.

        Args:
            message: why, for the history.
        """
        with mlflow_of(self._own()) as home:
            delete_endpoint(home, self.name, message)

    @public
    def _url(self) -> str:
        if "://" in self.name:
            return self.name.rstrip("/")
        return hosting(self._home).url(require_endpoint(self._home, self.name))

    @public
    def _info(self) -> EndpointRow:
        state = require_endpoint(self._own(), self.name)
        found = next(row for row in list_endpoints(self._home).data if row["name"] == state.name)
        return EndpointRow.model_validate(found)

    @public
    def _contract(self) -> dict[str, Any]:
        with mlflow_of(self._home), asking(self._home, self.name, self._key) as (_, contract):
            return contract

    def _own(self) -> Home:
        if "://" in self.name:
            raise UsageError(
                f"{self.name} is an endpoint that others deployed; expected one of this home, by its name"
            )
        return self._home

    def __repr__(self) -> str:
        return f"<tidegate.Endpoint {self.name}>"

    def _repr_html_(self) -> str:
        return notebook.endpoints_html([] if "://" in self.name else [self.info])


class Endpoints(list[Endpoint]):
    """A list of endpoints, which a notebook shows as a table; `rows`: what `tidegate endpoints --json` prints."""

    def __init__(self, home: Home, rows: Sequence[EndpointRow]) -> None:
        super().__init__(Endpoint(home, row.name) for row in rows)
        self.rows = list(rows)

    def _repr_html_(self) -> str:
        return notebook.endpoints_html(self.rows)


@public
def endpoint(
    name: str, *, key: str | None = None, target: str = "local", home: str | Path | None = None
) -> Endpoint:
    """An endpoint by its name, or by the URL of one that others deployed.

    Args:
        name: its name, or an http(s) URL.
        key: its API key; `$TIDEGATE_API_KEY` when not given.
        target, home: see `submit`.

    Raises:
        UnknownNameError: none of this name is live.
    """
    place = open_home(home, target)
    if "://" not in name:
        require_endpoint(place, name)
    return Endpoint(place, name, key or api_key())


@public
def endpoints(*, target: str = "local", home: str | Path | None = None) -> Endpoints:
    """Every live endpoint, by name; `target`, `home`: see `submit`."""
    place = open_home(home, target)
    return Endpoints(place, [EndpointRow.model_validate(row) for row in list_endpoints(place).data])
