"""How much memory is left, of the machine and of control groups of both versions."""

from pathlib import Path

import pytest

from tidegate.infra.system import memory


def test_the_machine_has_some_left() -> None:
    assert 0.0 < memory.share_left() < 1.0


@pytest.mark.parametrize(
    ("limit", "use", "reclaimable"),
    [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_the_least_of_all_limits_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, use: str, reclaimable: str
) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, size, used in ((outer, "1000000", "950000"), (inner, "max", "10")):
        (folder / limit).write_text(f"{size}\n")
        (folder / use).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 900000\n{reclaimable} 50000\n")
    monkeypatch.setattr(memory, "groups", lambda: iter((inner, outer)))
    assert memory.share_left() == pytest.approx(0.1)
