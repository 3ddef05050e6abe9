import numpy as np

from handletime.simulate.dice import Dice

N = 20_000


def test_the_same_seeds_give_the_same_columns() -> None:
    assert Dice(3, 1).uniform(N).tolist() == Dice(3, 1).uniform(N).tolist()
    assert Dice(3, 1).uniform(N).tolist() != Dice(3, 2).uniform(N).tolist()


def test_shares() -> None:
    assert 0.28 < Dice(1).share(N, 0.3).mean() < 0.32
    assert not Dice(1).share(N, 0).any()
    assert Dice(1).share(N, 1).all()
    each = Dice(1).share(N, np.repeat([0.1, 0.9], N // 2)).reshape(2, -1).mean(axis=1)
    assert abs(each - [0.1, 0.9]).max() < 0.02


def test_integers_are_below_their_limits() -> None:
    limits = np.repeat([0, 1, 5], 1000)
    drawn = Dice(1).below(limits).reshape(3, -1)
    assert [set(row) for row in drawn.tolist()] == [{0}, {0}, {0, 1, 2, 3, 4}]


def test_one_of_several() -> None:
    drawn = np.bincount(Dice(1).one_of(np.tile([0.5, 0, 0.2, 0.3], (N, 1)))) / N
    assert abs(drawn - [0.5, 0, 0.2, 0.3]).max() < 0.02


def test_spans_have_a_median_a_long_tail_and_limits() -> None:
    spans = Dice(1).spans(N, 60, 0.8)
    assert 57_000 < np.median(spans) < 63_000
    assert np.percentile(spans, 99) > 5 * np.median(spans)
    assert Dice(1).spans(N, 60, 0.8, 70_000).max() == 70_000
    assert Dice(1).spans(N, 0.000_001).min() == 1
