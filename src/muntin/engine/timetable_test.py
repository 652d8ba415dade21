import itertools

import pytest

from muntin.engine.settings import Training
from muntin.engine.timetable import Timetable


def _slow(epochs, per_epoch, training):
    """What a run of whole epochs does after each of its updates, counted one by one."""
    update, found = 0, []
    for epoch in range(1, epochs + 1):
        for number in range(1, per_epoch + 1):
            update += 1
            ended, last = number == per_epoch, epoch == epochs
            logs = ended or (training.log_every and update % training.log_every == 0)
            evaluates = ended and (last or (training.eval_every and epoch % training.eval_every == 0))
            evaluates = evaluates or (training.eval_steps and update % training.eval_steps == 0)
            saves = ended and (last or (training.save_every and epoch % training.save_every == 0))
            saves = saves or (training.save_steps and update % training.save_steps == 0)
            found.append((epoch, ended, bool(logs), bool(evaluates), bool(saves)))
    return found


@pytest.mark.parametrize("per_epoch", [1, 3, 4])
def test_a_run_of_whole_epochs_does_everything_when_it_is_due(per_epoch):
    for every, steps in itertools.product([0, 1, 2], [0, 2, 5]):
        training = Training(
            eval_every=every, eval_steps=steps and 7, save_every=every + 1, log_every=steps, save_steps=steps
        )
        table = Timetable(5 * per_epoch, per_epoch, training)
        found = [
            (table.epoch(u), table.ends_epoch(u), table.logs(u), table.evaluates(u), table.saves(u))
            for u in range(1, table.updates + 1)
        ]
        assert found == _slow(5, per_epoch, training)
        assert table.epochs == 5


def test_the_last_epoch_may_be_cut_short():
    table = Timetable(10, 4, Training(eval_every=0, save_every=0))
    assert table.epochs == 3
    assert [table.last_of(epoch) for epoch in (1, 2, 3)] == [4, 8, 10]
    assert [u for u in range(1, 11) if table.ends_epoch(u)] == [4, 8, 10]
    assert [u for u in range(1, 11) if table.evaluates(u) or table.saves(u)] == [10]
