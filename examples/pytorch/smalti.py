"""A compressed set as a PyTorch data set, with the constrained crop that it was made for.

    from torch.utils.data import DataLoader
    from smalti import CompressedSet

    data = CompressedSet("photos-ipc10", size=96)  # folder or Parquet form
    loader = DataLoader(data, batch_size=50, shuffle=True, num_workers=2)
    for images, labels in loader:  # [B, 3, 96, 96] normalised, [B]
        loss = torch.nn.functional.cross_entropy(net(images), labels)

Needs torch, torchvision and Pillow; for the Parquet form pyarrow too. One file, made to be copied.
"""
import io
import json
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def view(image, box, size, flip):
    """The part `box` = (left, top, width, height) of a PIL image as a normalised tensor [3, size, size]."""
    left, top, width, height = box
    image = F.resized_crop(image, top, left, height, width, [size, size], antialias=True)
    return F.normalize(F.to_tensor(F.hflip(image) if flip else image), MEAN, STD)


def draw(tiles, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """One tile at random, RandomResizedCrop inside that tile only: a box in the pixels of the whole image."""
    left, top, width, height = tiles[int(torch.randint(len(tiles), ()))]
    y, x, h, w = RandomResizedCrop.get_params(torch.empty(1, height, width), list(scale), list(ratio))
    return left + x, top + y, w, h


class CompressedSet(Dataset):
    """The images of the compressed set in `root`; each epoch shows one view of each."""

    def __init__(self, root, size=None, scale=(0.08, 1.0)):
        self.root, self.scale = Path(root), scale
        manifest = json.loads((self.root / "manifest.json").read_text())
        self.images, self.classes, self.size = manifest["images"], manifest["classes"], size or manifest["size"]
        self.rows = None
        if manifest["format"] == "parquet":
            from pyarrow.parquet import read_table
            files = [read_table(self.root / file["file"], columns=["image"]) for file in manifest["parquet"]]
            self.rows = [row["bytes"] for file in files for row in file["image"].to_pylist()]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        entry = self.images[i]
        image = Image.open(io.BytesIO(self.rows[i]) if self.rows else self.root / entry["file"]).convert("RGB")
        box = draw([tile["box"] for tile in entry["tiles"]], self.scale)
        return view(image, box, self.size, torch.rand(()) < 0.5), entry["class_id"]
