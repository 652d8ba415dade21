import numpy as np
from PIL import Image

from muntin.draw.classes import BAR, PAPER, SHORTEST, draw, drawn_file


def test_picture_is_kept_and_the_bar_is_as_long_as_the_score():
    image = Image.effect_noise((300, 240), 50).convert("RGB")
    page = np.asarray(draw(image, "cat", 0.5))
    assert (page[:240] == np.asarray(image)).all()
    last = page[-1]
    assert tuple(last[140]) == BAR
    assert tuple(last[160]) == PAPER


def test_small_picture_is_enlarged_by_a_whole_number():
    page = draw(Image.new("L", (28, 28), 255), "7", 1.0)
    assert page.width == 28 * 8 >= SHORTEST
    assert page.mode == "RGB"


def test_drawings_get_names_of_their_own(tmp_path):
    original = tmp_path / "cat.png"
    taken = {original.resolve()}
    files = [drawn_file(tmp_path, name, taken).name for name in (str(original), "other/cat.jpg", "dog.jpg")]
    assert files == ["cat_2.png", "cat_3.png", "dog.png"]
