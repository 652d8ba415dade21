import pytest
import torch

from muntin.draw.pixels import from_tensor


def test_from_tensor_undoes_the_normalisation():
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    pixels = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    image = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    picture = from_tensor(image, mean, std)
    assert picture.size == (7, 5)
    assert picture.getpixel((2, 1)) == tuple(pixels[:, 1, 2].tolist())


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (6, "RGB")])
def test_any_number_of_channels_can_be_shown(channels, mode):
    assert from_tensor(torch.zeros(channels, 4, 4), [0.0] * channels, [1.0] * channels).mode == mode


def test_values_that_are_not_finite_become_black():
    assert from_tensor(torch.full((1, 1, 1), float("nan")), [0.0], [1.0]).getpixel((0, 0)) == 0
