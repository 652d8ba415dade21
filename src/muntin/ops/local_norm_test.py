import torch

from muntin.ops.local_norm import normalise_locally, painted


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
    torch.testing.assert_close(painted(normalise_locally(image, 5), image, 5), image)


def test_a_flat_picture_has_a_finite_target():
    assert normalise_locally(torch.full((1, 1, 8, 8), 0.7), 5).isfinite().all()
