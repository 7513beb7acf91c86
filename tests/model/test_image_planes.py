"""Planes of images handed over at once: what processors make of images stays the same, to the bit."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmst_cli.model.image_planes import planes_of, take_planes


def noise(width, height, mode="RGB"):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def by_hand(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (4, 3), (3, 3), (640, 481), (2600, 3300)])
def test_planes_are_those_of_the_image(size):
    planes = planes_of(noise(*size))
    assert planes.is_contiguous() and torch.equal(planes, by_hand(noise(*size)))


def test_the_image_stays_what_it_is():
    image = noise(40, 30)
    planes = planes_of(image)
    planes += 1
    assert image.tobytes() == noise(40, 30).tobytes()


@pytest.mark.parametrize("convert", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P"])
def test_a_processor_gets_what_it_got(mode, convert):
    from transformers.image_processing_backends import TorchvisionBackend

    take_planes()
    take_planes()  # the second time changes nothing
    image = noise(3, 50, mode)
    theirs = TorchvisionBackend.process_image.__wrapped__
    assert not hasattr(theirs, "__wrapped__")
    if mode == "P" and not convert:
        return  # which is a grey image to them
    processor = TorchvisionBackend.__new__(TorchvisionBackend)
    found = processor.process_image(image, do_convert_rgb=convert)
    assert torch.equal(found, theirs(processor, image, do_convert_rgb=convert)) and found.is_contiguous()
