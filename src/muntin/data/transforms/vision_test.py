import subprocess
import sys

import pytest

from muntin.data.transforms import vision
from muntin.errors import UserError


def test_a_missing_torchvision_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setattr(vision, "find_spec", lambda name: None)
    vision.functional.cache_clear()
    with pytest.raises(UserError, match=r'pip install "muntin\[train\]"'):
        vision.functional()


def test_the_room_is_imported_without_torchvision_and_torchvision_works_afterwards():
    script = (
        "import sys, muntin.data; assert 'torchvision' not in sys.modules\n"
        "from muntin.data.transforms.vision import functional\n"
        "functional(); import torchvision.ops, torch; assert hasattr(torch.ops.torchvision, 'nms')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
