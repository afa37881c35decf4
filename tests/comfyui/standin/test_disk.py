"""Model files that really lie there are read as a loader would read their headers."""

from __future__ import annotations

import pytest

from holdfast.comfyui.standin.config import StandInConfig
from holdfast.comfyui.standin.disk import Disk
from tests.comfyui.models.weights import packed, safetensors

WHOLE = safetensors()


@pytest.mark.parametrize(
    ("content", "damaged"),
    [
        (WHOLE, False),
        (b"", False),
        (WHOLE[:-1], True),
        (WHOLE[:12], True),
        (b"abc", True),
        (b"<html>log in</html>", True),
        (packed(b"[]"), True),
        (packed({"a": {"data_offsets": []}}), True),
    ],
)
def test_a_file_is_damaged_if_its_header_does_not_fit(tmp_path, content, damaged):
    path = tmp_path / "models" / "diffusion_models" / "a.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    disk = Disk(StandInConfig(), tmp_path, frozenset)
    assert disk.is_damaged("unet", "a.safetensors") is damaged
    assert not disk.is_damaged("loras", "a.safetensors")
    assert not disk.is_damaged("unet", "none.safetensors")
