"""Data sets: preparing them is apart from reading them."""

from ostinato.data.images import ImageData, Images, load_images, load_test_images

__all__ = ["ImageData", "Images", "load_images", "load_test_images"]
