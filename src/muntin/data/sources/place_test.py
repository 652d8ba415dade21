import numpy as np
import pytest

from muntin.data.sources.place import UNMOVED, Place, apply, compose, invert

TURN, SCALE = (0.6, -0.8, 3.0, 0.8, 0.6, -2.0), (2.0, 0.5, -1.0, 0.0, 4.0, 7.0)


def _matrix(step):
    return np.array([step[:3], step[3:], (0, 0, 1)])


def test_composing_is_the_product_of_matrices():
    np.testing.assert_allclose(_matrix(compose(TURN, SCALE)), _matrix(TURN) @ _matrix(SCALE), atol=1e-12)
    assert compose(TURN, UNMOVED) == compose(UNMOVED, TURN) == TURN


def test_a_point_goes_back_where_it_came_from():
    np.testing.assert_allclose(_matrix(invert(SCALE)), np.linalg.inv(_matrix(SCALE)), atol=1e-12)
    assert apply(invert(TURN), *apply(TURN, 5.0, 11.0)) == pytest.approx((5.0, 11.0))
    with pytest.raises(ZeroDivisionError):
        invert((1.0, 1.0, 0.0, 1.0, 1.0, 0.0))


def test_the_last_step_is_undone_first():
    place = Place((20, 30)).then(TURN).then(SCALE)
    assert place.size == (20, 30)
    assert apply(place.to_original, 2.0, 3.0) == pytest.approx(apply(TURN, *apply(SCALE, 2.0, 3.0)))
