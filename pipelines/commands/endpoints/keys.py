"""`tidegate keys`: a new API key for an endpoint that others may reach."""

import sys

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.result import Result
from tidegate.serving.errors import ServerError
from tidegate.serving.http.api_keys import new_key


def keys(name: str, quiet: bool = False) -> Result:
    """Make a key: its line for the keys file on stdout, the key itself on stderr, shown once.

    Args:
        name: who will use it.
        quiet: return the key, and do not print it.

    Raises:
        UsageError: the name cannot be used in a keys file.
    """
    try:
        key, line = new_key(name)
    except ServerError as error:
        raise UsageError(str(error)) from error
    if not quiet:
        print(f"the key, shown once: {key}", file=sys.stderr)
    return Result({"name": name, "key": key, "line": line}, line)
