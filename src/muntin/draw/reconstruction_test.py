import numpy as np
import torch
from PIL import Image

from muntin.answers import Reconstruction
from muntin.data import PictureInput
from muntin.draw import draw

INPUTS = PictureInput(image_size=(8, 8), mean=(0.5,), std=(0.5,))


def test_three_pictures_stand_side_by_side():
    """Whole, with grey for what is hidden, and painted in: black, the upper half hidden, painted white."""
    image, mask = torch.full((1, 1, 8, 8), -1.0), torch.zeros(1, 1, 8, 8)
    mask[:, :, :4] = 1
    answer = Reconstruction(torch.ones(1, 1, 8, 8), image, mask, 0, torch.tensor(0.0))
    page = np.asarray(draw(Image.new("L", (8, 8)), answer, 0, (), INPUTS).convert("L"))
    side = page.shape[0]
    assert side == 112
    columns = [0, side + 4, 2 * (side + 4)]
    assert [page[0, c] for c in columns] == [0, 128, 255]
    assert [page[-1, c] for c in columns] == [0, 0, 0]
