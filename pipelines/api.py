"""Tidegate: from one experiment file to a live prediction endpoint. `import tidegate` loads nothing heavy."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when asked for: importlib.metadata takes longer to import than all else here."""
    if name != "__version__":
        raise AttributeError(f"module 'tidegate' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tidegate")
    except PackageNotFoundError:  # in an image or a bento, which hold the files alone
        return "0"
