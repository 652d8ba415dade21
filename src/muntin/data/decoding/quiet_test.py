import threading
import warnings

import pytest
from PIL import Image

from muntin.data.decoding.quiet import without_pillow_warnings


def pillow_warns() -> None:
    Image._decompression_bomb_check((Image.MAX_IMAGE_PIXELS + 1, 1))


def test_only_pillows_warnings_are_kept_back():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with without_pillow_warnings():
            pillow_warns()
            with pytest.raises(UserWarning, match="mine"):
                warnings.warn("mine", stacklevel=1)
        with pytest.raises(Image.DecompressionBombWarning):
            pillow_warns()


def test_threads_that_overlap_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with without_pillow_warnings():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with without_pillow_warnings():  # enters second, leaves last
        leave.set()
        thread.join()
        assert warnings.filters != before
    assert warnings.filters == before
