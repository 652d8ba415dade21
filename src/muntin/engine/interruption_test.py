import os
import signal
import threading

import pytest

from muntin.engine.interruption import Interruption, terminable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_old_handler_comes_back(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.asked
        os.kill(os.getpid(), number)
        assert interruption.asked
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once_but_a_second_sigterm_waits():
    with Interruption():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_work_that_may_be_broken_off_is_at_the_first_signal():
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt), interruption.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # no longer
        with pytest.raises(KeyboardInterrupt), interruption.at_once():
            raise AssertionError("asked for before, so it should not even begin")


def test_it_may_be_used_outside_of_the_main_thread():
    asked = []

    def work():
        with Interruption() as interruption:
            asked.append(interruption.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]


def test_sigterm_breaks_off_what_is_terminable_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
