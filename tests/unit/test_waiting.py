"""Waiting for what comes about by itself."""

import itertools

import pytest

from provision.waiting import until


def test_the_first_true_answer_ends_the_wait():
    answers = iter(["", 0, None, "there"])
    assert until(lambda: next(answers), 60, pause=0) == "there"


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_the_last_answer_is_told_when_the_time_is_over(seconds):
    asked = itertools.count()
    assert until(lambda: next(asked) < 0, seconds, pause=0.001) is False
    assert next(asked) >= 1


def test_an_error_that_means_not_yet_is_raised_at_the_end():
    def ask():
        raise ConnectionRefusedError(next(asked))

    asked = itertools.count()
    with pytest.raises(ConnectionRefusedError):
        until(ask, 0.01, pause=0.001, despite=(OSError, ValueError))
    assert next(asked) > 1


def test_any_other_error_ends_the_wait_at_once():
    def ask():
        return [][next(asked)]

    asked = itertools.count()
    with pytest.raises(IndexError):
        until(ask, 60, despite=OSError)
    assert next(asked) == 1
