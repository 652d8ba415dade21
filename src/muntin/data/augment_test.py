import dataclasses

import pytest

from muntin.data import Augment
from muntin.errors import UserError


def test_all_problems_are_collected():
    with pytest.raises(UserError) as error:
        Augment(flip=1.5, crop="resised", crop_scale=(0.5, 0.1), mixup=-1)
    for part in ("did you mean resized", "flip is 1.5; it must be 0 to 1", "crop_scale is (0.5, 0.1)", "mixup is -1"):
        assert part in str(error.value)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Augment) if field.name != "crop"])
def test_every_field_is_checked(field):
    bad = (0.0, 1e9) if isinstance(getattr(Augment(), field), tuple) else -1
    with pytest.raises(UserError, match=f"augmentation: {field} is"):
        Augment(**{field: bad})


def test_nan_is_refused():
    with pytest.raises(UserError, match="mixup is nan"):
        Augment(mixup=float("nan"))
