import pytest
import torch

from muntin.data import Batch, PictureInput
from muntin.errors import UserError
from muntin.models import Swin, SwinConfig
from muntin.ops.local_norm import normalise_locally
from muntin.tasks import MaskGenerator, SimMIM

CONFIG = SwinConfig(dim=8, depths=(1, 1), heads=(1, 2), window=(4, 4), in_chans=2)


def task(**options) -> SimMIM:
    torch.manual_seed(0)
    return SimMIM(Swin(CONFIG), **options).eval()


def a_batch() -> Batch:
    random = torch.Generator().manual_seed(1)
    mask = (torch.rand(3, 4, 6, generator=random) < 0.6).long()
    return Batch({"image": torch.randn(3, 2, 16, 24, generator=random), "mask": mask}, {}, ["a", "b", "c"])


def test_the_loss_is_the_mean_distance_over_masked_pixels():
    model, batch = task(), a_batch()
    image, reconstruction = batch.inputs["image"], model.answer(batch).predicted
    distances = [
        (image[b, c, y, x] - reconstruction[b, c, y, x]).abs().item()
        for b in range(3)
        for c in range(2)
        for y in range(16)
        for x in range(24)
        if batch.inputs["mask"][b, y // 4, x // 4]
    ]
    assert model.losses(batch).terms["reconstruction"].item() == pytest.approx(
        sum(distances) / len(distances), rel=1e-5
    )


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
    assert torch.equal(model.answer(batch).pixel_mask == 0, seen)
    batch.inputs["mask"] = torch.zeros_like(batch.inputs["mask"])
    assert model.losses(batch).terms["reconstruction"] == 0


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


def test_the_option_chooses_the_target():
    batch = a_batch()
    image = batch.inputs["image"]
    assert torch.equal(task().target(image), image)
    assert torch.equal(task(normalised_target=5).target(image), normalise_locally(image, 5))
    assert task(normalised_target=5).answer(batch).window == 5
    with pytest.raises(ValueError, match="must be odd"):
        task(normalised_target=4)


def test_the_mask_token_does_not_decay():
    assert task().no_weight_decay() == {"mask_token"}


def test_one_forward_answers_and_tells_the_loss():
    model, batch = task(), a_batch()
    answer = model.answer(batch)
    assert torch.equal(answer.loss, model.losses(batch).terms["reconstruction"])
    meter = model.meter()
    meter.update(answer, batch)
    measured = meter.result()
    assert measured.numbers == {"loss": pytest.approx(float(answer.loss), rel=1e-12)}
    assert measured.samples == 3


def test_a_saved_task_answers_as_it_was_trained():
    inputs = PictureInput(image_size=(16, 24), mean=(0.5,), std=(0.5,))
    trained = task(normalised_target=5, masks=MaskGenerator((16, 24), 8, 4, 0.5))
    again = SimMIM.for_answering(task(), trained.answering(), inputs, ())
    assert again.answering() == trained.answering()
    assert again.masks.image_size == (16, 24)


def test_fresh_weights_reach_everything():
    model = task()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    model.initialise()
    assert not any((parameter == 7).all() for parameter in model.parameters())
