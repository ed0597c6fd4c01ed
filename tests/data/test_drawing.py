"""Pictures from anywhere become digits as MNIST has them."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ostinato.data.drawing import read_digit
from ostinato.errors import DataError


def seven(size=(200, 300), paper=255, ink=0, offset=(0, 0), mode="L"):
    """A 7 in two strokes."""
    image = Image.new(mode, size, paper)
    draw = ImageDraw.Draw(image)
    x, y = 40 + offset[0], 60 + offset[1]
    draw.line([(x, y), (x + 90, y), (x + 30, y + 150)], fill=ink, width=18, joint="curve")
    return image


def read(image, tmp_path, name="digit.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return read_digit(path, 28, 28)


def test_fits_mnists_box_and_is_centred(tmp_path):
    digit = read(seven(), tmp_path)
    assert digit.shape == (28, 28)
    assert digit.dtype == torch.uint8
    drawn = (digit > 60).nonzero()
    height, width = (drawn.max(0).values - drawn.min(0).values + 1).tolist()
    assert height in (19, 20, 21)
    assert width < height
    mass = digit.double() / digit.sum()
    where = torch.arange(28, dtype=torch.double)
    assert abs(mass.sum(1) @ where - 13.5) <= 0.6
    assert abs(mass.sum(0) @ where - 13.5) <= 0.6


@pytest.mark.parametrize(
    "other",
    [
        seven(paper=0, ink=255),
        seven(paper=230, ink=40),
        seven(offset=(40, 60)),
        seven(size=(400, 420)),
        seven(paper=(255, 255, 240), ink=(20, 30, 90), mode="RGB"),
        seven(paper=(0, 0, 0, 0), ink=(0, 0, 0, 255), mode="RGBA"),
        seven(paper=(0, 0, 0, 0), ink=(255, 255, 255, 255), mode="RGBA"),
        seven().resize((800, 1200)),
    ],
    ids=[
        "light on dark",
        "grey",
        "elsewhere",
        "more paper",
        "blue",
        "clear, black",
        "clear, white",
        "big",
    ],
)
def test_the_same_digit_however_it_was_drawn(tmp_path, other):
    expected = read(seven(), tmp_path).float()
    assert (read(other, tmp_path).float() - expected).abs().mean() < 4


def test_jpeg_and_turned_by_the_camera(tmp_path):
    expected = read(seven(), tmp_path).float()
    assert (read(seven(), tmp_path, "digit.jpg", quality=70).float() - expected).abs().mean() < 4
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    turned = seven().rotate(90, expand=True)
    assert (read(turned, tmp_path, "turned.jpg", exif=exif).float() - expected).abs().mean() < 5


def test_a_prepared_digit_is_taken_as_it_is(tmp_path, digits):
    pixels = digits.test.pixels[0]
    assert torch.equal(read(Image.fromarray(pixels.numpy()), tmp_path), pixels)
    assert torch.equal(read(Image.fromarray(255 - pixels.numpy()), tmp_path), pixels)


def test_what_is_no_picture(tmp_path):
    (tmp_path / "text.png").write_text("seven")
    with pytest.raises(
        DataError, match=r"text.png: expected a picture \(PNG, JPEG, …\), found something"
    ):
        read_digit(tmp_path / "text.png", 28, 28)
    with pytest.raises(DataError, match="there is no such file"):
        read_digit(tmp_path / "none.png", 28, 28)
    with pytest.raises(DataError, match="cannot be read"):
        read_digit(tmp_path, 28, 28)
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read"):
        read_digit(path, 28, 28)
    with pytest.raises(DataError, match="it shows nothing: all its pixels are grey 200 to 200"):
        read(Image.new("L", (50, 50), 200), tmp_path)
