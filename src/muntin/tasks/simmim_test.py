import pytest
import torch

from muntin.data import Batch
from muntin.errors import UserError
from muntin.models import Swin, SwinConfig
from muntin.tasks import SimMIM
from muntin.tasks.simmim import denormalise_locally, normalise_locally

CONFIG = SwinConfig(dim=8, depths=(1, 1), heads=(1, 2), window=(4, 4), in_chans=2)


def task(**options) -> SimMIM:
    torch.manual_seed(0)
    return SimMIM(Swin(CONFIG), **options).eval()


def a_batch() -> Batch:
    random = torch.Generator().manual_seed(1)
    mask = (torch.rand(3, 4, 6, generator=random) < 0.6).long()
    return Batch({"image": torch.randn(3, 2, 16, 24, generator=random), "mask": mask}, {})


def test_the_loss_is_the_mean_distance_over_masked_pixels():
    model, batch = task(), a_batch()
    image, reconstruction = batch.inputs["image"], model.predict(batch)["reconstruction"]
    distances = [
        (image[b, c, y, x] - reconstruction[b, c, y, x]).abs().item()
        for b in range(3)
        for c in range(2)
        for y in range(16)
        for x in range(24)
        if batch.inputs["mask"][b, y // 4, x // 4]
    ]
    assert model.losses(batch)["reconstruction"].item() == pytest.approx(sum(distances) / len(distances), rel=1e-5)


@pytest.mark.parametrize(
    ("image", "mask", "sentence"),
    [
        ((3, 2, 20, 24), (3, 5, 6), "20x24 pixels is not cut evenly by cells of 8"),
        ((3, 2, 16, 24), (3, 2, 3), r"needs? \(3, 4, 6\), one number a patch"),
        ((3, 2, 16, 24), (1, 4, 6), "one number a patch"),
    ],
)
def test_pictures_and_masks_that_do_not_fit_are_refused(image, mask, sentence):
    with pytest.raises(UserError, match=sentence):
        task().losses(Batch({"image": torch.zeros(image), "mask": torch.ones(mask)}, {}))


def test_pixels_that_are_seen_do_not_count():
    model, batch = task(), a_batch()
    seen = model.pixel_mask(batch.inputs["mask"]) == 0
    predicted = model.predict(batch)
    assert torch.equal(predicted["pixel_mask"] == 0, seen)
    batch.inputs["mask"] = torch.zeros_like(batch.inputs["mask"])
    assert model.losses(batch)["reconstruction"] == 0


def test_what_is_behind_the_mask_cannot_be_seen():
    model, batch = task(), a_batch()
    hidden = model.pixel_mask(batch.inputs["mask"])
    changed = batch.inputs["image"] + 10 * hidden
    torch.testing.assert_close(
        model.encode(changed, batch.inputs["mask"]), model.encode(batch.inputs["image"], batch.inputs["mask"])
    )


def test_the_decoder_lays_pixels_out_as_a_pixel_shuffle():
    model, batch = task(), a_batch()
    features = model.encode(batch.inputs["image"], batch.inputs["mask"])
    shuffled = torch.pixel_shuffle(model.decoder(features).permute(0, 3, 1, 2), model.stride[0])
    torch.testing.assert_close(model.reconstruct(batch.inputs["image"], batch.inputs["mask"]), shuffled)


def test_the_target_is_normalised_by_the_pixels_around_it():
    image = torch.randn(1, 2, 7, 9, generator=torch.Generator().manual_seed(0)).double()
    found = normalise_locally(image, 5)
    for c in range(2):
        for y in range(7):
            for x in range(9):
                around = image[0, c, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
                expected = (image[0, c, y, x] - around.mean()) / (around.var() + 1e-6).sqrt()
                torch.testing.assert_close(found[0, c, y, x], expected)


def test_normalising_is_undone_with_the_picture_it_was_taken_from():
    image = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(denormalise_locally(normalise_locally(image, 5), image, 5), image)


def test_a_flat_picture_has_a_finite_target():
    assert normalise_locally(torch.full((1, 1, 8, 8), 0.7), 5).isfinite().all()


def test_the_option_chooses_the_target():
    batch = a_batch()
    assert torch.equal(task().predict(batch)["target"], batch.inputs["image"])
    assert torch.equal(task(normalised_target=5).predict(batch)["target"], normalise_locally(batch.inputs["image"], 5))
    with pytest.raises(ValueError, match="must be odd"):
        task(normalised_target=4)


def test_the_mask_token_does_not_decay():
    assert task().no_weight_decay() == {"mask_token"}
