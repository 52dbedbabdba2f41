"""How long events take to be shown, from what is told of commits and read of checkpoints."""

from benchmarks.lag_client import Watch


def test_each_event_of_a_commit_counts_from_when_it_was_told() -> None:
    watch = Watch()
    watch.told(10, 0.0, counts=False)
    assert watch.is_empty
    watch.told(13, 1.0, counts=True)
    watch.told(14, 2.0, counts=True)
    assert watch.is_waiting

    watch.shown(12, 2.5)
    assert watch.seconds == []
    watch.shown(13, 3.0)
    assert watch.seconds == [2.0, 2.0, 2.0]
    watch.shown(20, 5.0)
    assert watch.seconds == [2.0, 2.0, 2.0, 3.0]
    assert not watch.is_waiting


def test_a_commit_is_not_counted_whose_first_event_nobody_knows() -> None:
    watch = Watch()

    watch.told(10, 0.0, counts=True)

    assert watch.is_empty
    assert not watch.is_waiting
