"""Sizes and lengths land on the grid, as near as can be."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.engines import RECIPES

GRIDS = st.sampled_from([recipe.grid for recipe in RECIPES])
CLIP_GRIDS = st.sampled_from([recipe.grid for recipe in RECIPES if recipe.kind == "video"])


@given(GRIDS, st.integers(16, 16_384))
def test_a_side_moves_by_half_a_step_at_most(grid, side):
    snapped = grid.snap_side(side)
    assert snapped % grid.side == 0
    assert snapped >= grid.least
    assert snapped == grid.snap_side(0) or abs(snapped - side) <= grid.side / 2


@given(CLIP_GRIDS, st.integers(1, 16_384))
def test_frames_move_by_half_a_stride_at_most(grid, frames):
    snapped = grid.snap_frames(frames)
    assert (snapped - 1) % grid.stride == 0
    assert snapped == grid.fewest or abs(snapped - frames) <= grid.stride / 2


@given(CLIP_GRIDS, st.integers(1, 1000), st.integers(1, 1000))
def test_frames_are_cut_to_no_more_than_the_most_and_never_added(grid, frames, most):
    frames = grid.snap_frames(frames)
    cut = grid.cut_frames(frames, most)
    assert (cut - 1) % grid.stride == 0
    assert cut <= frames
    assert cut <= max(most, grid.fewest)


@given(GRIDS, st.integers(16, 16_384), st.integers(16, 16_384), st.integers(300**2, 2**24))
def test_a_fit_keeps_to_the_area_and_the_grid(grid, width, height, pixels):
    size = grid.fit(width, height, pixels)
    assert all(side % grid.tidy == 0 and side >= grid.least for side in size)
    assert size[0] * size[1] <= pixels or min(size) <= grid.least + grid.tidy


@given(GRIDS, st.integers(512, 1536), st.integers(512, 1536))
def test_a_fit_keeps_proportions_within_a_step(grid, width, height):
    fitted = grid.fit(width, height, 768 * 768)
    assert abs(fitted[0] / fitted[1] / (width / height) - 1) < 0.3
