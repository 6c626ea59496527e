"""What `check` says of the service accounts of an installation."""

from typing import cast

from tidegate.infra.cluster.api import Cluster
from tidegate.pipelines.commands.checking.permissions import check_accounts

ALL = ("tidegate-driver", "tidegate-scheduler", "tidegate-step", "tidegate-endpoint")


class Accounts:
    """A namespace that has these accounts."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def get(self, kind: str, name: str) -> dict[str, str] | None:
        return {} if kind == "ServiceAccount" and name in self._names else None


def test_each_account_that_is_missing_is_named() -> None:
    assert check_accounts(cast(Cluster, Accounts(*ALL)))["ok"]
    for name in ALL:
        item = check_accounts(cast(Cluster, Accounts(*(one for one in ALL if one != name))))
        assert not item["ok"] and item["detail"] == f"missing: {name}"
