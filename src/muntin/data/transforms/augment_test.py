import dataclasses

import pytest

from muntin.data import Augment
from muntin.errors import UserError


def test_all_problems_are_collected():
    with pytest.raises(UserError) as error:
        Augment(flip=1.5, crop="resised", crop_scale=(0.5, 0.1), mixup=-1)
    for part in ("did you mean resized", "flip is 1.5; it must be 0 to 1", "crop_scale is (0.5, 0.1)", "mixup is -1"):
        assert part in str(error.value)


NUMBERS = [f.name for f in dataclasses.fields(Augment) if not isinstance(f.default, str | bool)]


@pytest.mark.parametrize("field", NUMBERS)
def test_every_field_is_checked(field):
    bad = (0.0, 1e9) if isinstance(getattr(Augment(), field), tuple) else -1
    with pytest.raises(UserError, match=f"augmentation: {field} is"):
        Augment(**{field: bad})


def test_nan_is_refused():
    with pytest.raises(UserError, match="mixup is nan"):
        Augment(mixup=float("nan"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mix_mode": "elem"}, "unknown mix_mode 'elem': did you mean element"),
        ({"crop": "simpel"}, "unknown crop 'simpel': did you mean simple"),
        ({"repeats": 0}, "repeats is 0; it must be at least 1"),
        ({"pad": 10**9}, "pad is 1000000000; it must be 0 to 1024"),
        (
            {"cutmix": 1.0, "cutmix_sides": (0.5, 0.2)},
            r"cutmix_sides is \(0.5, 0.2\); it must be least and most",
        ),
        ({"cutmix_sides": (0.2, 0.5)}, "cutmix_sides needs CutMix: set cutmix above 0"),
        ({"three_augment": True, "randaugment": 9}, "three_augment takes the place of RandAugment"),
    ],
)
def test_what_cannot_work_is_said(values, message):
    with pytest.raises(UserError, match=message):
        Augment(**values)
