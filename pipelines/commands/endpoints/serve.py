"""serve: run the endpoint's server in the foreground."""

import json
import os
import sys
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from tidegate.infra.errors import InfraError
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.yaml_loader import parse, plain
from tidegate.pipelines.hosting.secret_files import check_issuers, secrets_of
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.ports import FIRST_PORT, port_is_free
from tidegate.serving.deployment.handover import MOST_PROCESSES, SECRETS, server_argv
from tidegate.serving.http.rates import RateLimit
from tidegate.serving.http.tokens.settings import ISSUERS

Wanted = TypeVar("Wanted")


def serve(
    home: Home,
    run_or_bundle: str,
    port: int | None,
    processes: int | Literal["auto"] = "auto",
    keys: str | None = None,
    jwt: str | None = None,
    rate_limit: str | None = None,
) -> Result:
    """Replace this process by the endpoint's server, until Ctrl-C; nothing is deployed.

    Args:
        home: the home.
        run_or_bundle: a run that was packaged, or the folder of a bundle.
        port: on 127.0.0.1; None for the first free one from 3000 on.
        processes: that share the port; auto: one, as for a deployment on this machine.
        keys: file of API keys; None: there are none.
        jwt: YAML or JSON file of the issuers whose tokens are accepted, as `serving.jwt`; None: there are none.
        rate_limit: YAML or JSON file of how often each caller may ask, as `serving.rate_limit`; None: any number.

    Raises:
        UsageError: too many or too few processes, a run that was not packaged, a file that cannot be read, or a limit
            of callers where anybody may ask.
        UserCodeError: others may read a secret of this home that an issuer's keys are in.
    """
    number = 1 if isinstance(processes, str) else processes
    if not 1 <= number <= MOST_PROCESSES:
        raise UsageError(
            f"--processes {number} is no number of servers; expected 1 to {MOST_PROCESSES}, or auto; correct it"
        )
    issuers = "" if jwt is None else _issuers(home, Path(jwt))
    limit = "" if rate_limit is None else _limit(Path(rate_limit), guarded=bool(keys or jwt))
    folder, name = _bundle(home, run_or_bundle)
    port = port or next(number for number in range(FIRST_PORT, 65536) if port_is_free(number))
    control = home.path / "endpoints" / f"serve-{os.getpid()}.sock"
    print(f"serving {folder} at http://127.0.0.1:{port}/predict; Ctrl-C ends it", file=sys.stderr, flush=True)
    file = None if keys is None else Path(keys)
    argv = server_argv(
        folder, name, None, control, port, processes=number, keys=file, jwt=issuers, rate_limit=limit
    )
    os.execve(argv[0], argv, {**os.environ, SECRETS: str(secrets_of(home))})


def _issuers(home: Home, path: Path) -> str:
    """The issuers in a file, as JSON; those whose keys are a secret of the home can be used."""
    expected = "issuers as of `serving.jwt`: issuer, audience and jwks of each"
    issuers = _read("--jwt", path, ISSUERS, expected)
    check_issuers(home, issuers, f"--jwt {path}")
    return ISSUERS.dump_json(issuers).decode()


def _limit(path: Path, *, guarded: bool) -> str:
    """The limit of each caller in a file, as JSON."""
    expected = "a limit as of `serving.rate_limit`, such as `requests: 100`, `per: 1m`"
    limit = _read("--rate-limit", path, TypeAdapter(RateLimit), expected)
    if not guarded:
        raise UsageError(
            "--rate-limit is for each caller, and nobody says who asks; expected --keys or --jwt beside it; add one"
        )
    return limit.model_dump_json()


def _read(option: str, path: Path, kind: TypeAdapter[Wanted], expected: str) -> Wanted:
    try:
        return kind.validate_python(plain(parse(path.read_text("utf-8"))))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(
            f"{option} {path} is not usable ({' '.join(str(error).split())}); expected {expected}; correct it"
        ) from error


def _bundle(home: Home, run_or_bundle: str) -> tuple[Path, str]:
    folder = Path(run_or_bundle)
    if (folder / "bundle.json").is_file():
        return folder, json.loads((folder / "bundle.json").read_text())["name"]
    record = home.run_folder(run_or_bundle).read()
    packaged = outputs_of(home, record, "package")
    if not packaged:
        raise UsageError(
            f"run {record.run} is {record.status} and was not packaged; expected a packaged run or a bundle's folder; "
            "`tidegate runs` lists the runs"
        )
    try:
        return fetch_bundle(home, packaged[0]["bundle"]), record.endpoint
    except InfraError as error:
        raise UsageError(f"run {record.run}: its bundle is gone: {error}; submit it again") from error
