import numpy as np
import torch
from PIL import Image

from muntin.answers import Classes
from muntin.data import PictureInput
from muntin.draw import draw
from muntin.draw.classes import BAR, PAPER, SHORTEST, with_label


def test_picture_is_kept_and_the_bar_is_as_long_as_the_score():
    image = Image.effect_noise((300, 240), 50).convert("RGB")
    page = np.asarray(with_label(image, "cat", 0.5))
    assert (page[:240] == np.asarray(image)).all()
    last = page[-1]
    assert tuple(last[140]) == BAR
    assert tuple(last[160]) == PAPER


def test_small_picture_is_enlarged_by_a_whole_number():
    page = with_label(Image.new("L", (28, 28), 255), "7", 1.0)
    assert page.width == 28 * 8 >= SHORTEST
    assert page.mode == "RGB"


def test_an_answer_is_drawn_by_its_likeliest_class():
    answer = Classes(torch.tensor([[0.0, 0.0], [0.0, 9.0]]))
    picture = Image.new("L", (28, 28), 255)
    page = draw(picture, answer, 1, ("ant", "bee"), PictureInput())
    expected = with_label(picture, "bee", answer.logits[1].softmax(0)[1].item())
    assert (np.asarray(page) == np.asarray(expected)).all()
