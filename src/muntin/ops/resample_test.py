import torch
import torch.nn.functional as F

from muntin.ops.resample import resize_bias_table, resize_grid


def test_a_grid_is_resized_as_pytorch_resizes_pictures():
    grid = torch.randn(5, 7, 3)
    resized = F.interpolate(grid.permute(2, 0, 1)[None], size=(8, 4), mode="bicubic", align_corners=False)
    torch.testing.assert_close(resize_grid(grid, (8, 4)), resized[0].permute(1, 2, 0))


def test_a_constant_stays_constant_for_any_number_of_axes():
    for size, target in (((4,), (7,)), ((4, 5), (9, 3)), ((2, 4, 5), (3, 6, 7))):
        torch.testing.assert_close(resize_grid(torch.full((*size, 2), 1.5), target), torch.full((*target, 2), 1.5))


def test_low_precision_is_resized_in_fp32():
    grid = torch.randn(5, 7, 3).bfloat16()
    resized = resize_grid(grid, (8, 4))
    assert resized.dtype == torch.bfloat16
    assert torch.equal(resized, resize_grid(grid.float(), (8, 4)).bfloat16())


def test_a_bias_table_is_resized_as_the_grid_of_its_offsets():
    table = torch.randn(3 * 7, 2)  # window (2, 4)
    resized = resize_bias_table(table, (2, 4), (3, 2))
    assert torch.equal(resized, resize_grid(table.view(3, 7, 2), (5, 3)).reshape(15, 2))


def test_the_centre_of_a_bias_table_stays_in_the_centre():
    table = torch.randn(7 * 7, 1)
    offsets = torch.arange(49.0).view(7, 7, 1) * 0 + torch.arange(-3.0, 4.0).view(7, 1, 1)
    resized = resize_bias_table(offsets.reshape(49, 1), (4, 4), (6, 6)).view(11, 11)
    torch.testing.assert_close(resized, -resized.flip(0))
    assert resize_bias_table(table, (4, 4), (4, 4)).allclose(table)


def test_corners_stay_where_they_are_with_aligned_corners():
    grid = torch.randn(3, 4, 2)
    resized = resize_grid(grid, (5, 7), "bilinear_corners")
    torch.testing.assert_close(resized[::4, ::6], grid[::2, ::3])
    torch.testing.assert_close(resized[2, 2], grid[1, 1])  # 3 -> 5 puts new points halfway, 4 -> 7 too
    torch.testing.assert_close(resized[1, 0], (grid[0, 0] + grid[1, 0]) / 2)


def test_antialias_averages_where_a_grid_shrinks():
    grid = torch.tensor([1.0, -1.0]).repeat(8).expand(16, 16)[..., None]  # stripes
    assert resize_grid(grid, (5, 5), "bicubic_antialias").abs().max() < 0.2
    assert resize_grid(grid, (5, 5), "bicubic").abs().max() > 0.5
