"""How long is waited between tries."""

from itertools import islice

from tidegate.infra.system.backoff import pauses


def test_pauses_double_to_the_longest_and_are_never_the_same_twice() -> None:
    whole = [0.5, 1, 2, 4, 5, 5, 5]
    first, second = (list(islice(pauses(0.5, 5), len(whole))) for _ in range(2))
    assert all(most / 2 <= pause <= most for pause, most in zip(first, whole, strict=True))
    assert first != second
