"""Runs examples/pytorch/smalti.py on a compressed set, for crates/smalti-learn/tests/example.rs.

    reference_crops.py DIR

DIR/views.json names a set and a list of {image, box, size, flip}; the pixels of each view, back in 0..255, go to DIR/views.bin one after
the other. Prints what the Dataset itself says of the set.
"""
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent.parent / "examples/pytorch"))
from smalti import MEAN, STD, CompressedSet, draw, view  # noqa: E402

torch.set_num_threads(1)
root = Path(sys.argv[1])
work = json.loads((root / "views.json").read_text())
mean, std = (torch.tensor(x).reshape(3, 1, 1) for x in (MEAN, STD))
with open(root / "views.bin", "wb") as out:
    for v in work["views"]:
        tensor = view(Image.open(root / work["folder"] / v["image"]).convert("RGB"), v["box"], v["size"], v["flip"])
        pixels = ((tensor * std + mean) * 255).round().byte().permute(1, 2, 0)
        out.write(pixels.contiguous().numpy().tobytes())

torch.manual_seed(0)
for name in (work["folder"], work["parquet"]):
    data = CompressedSet(root / name, size=20)
    tiles = [tile["box"] for tile in data.images[0]["tiles"]]
    visits = [0] * len(tiles)
    for _ in range(400):
        x, y, w, h = draw(tiles)
        inside = [l <= x and t <= y and x + w <= l + tw and y + h <= t + th for l, t, tw, th in tiles]
        visits[inside.index(True)] += 1  # ValueError where a crop crosses a border
    images, labels = next(iter(DataLoader(data, batch_size=len(data))))
    # Each picture is one colour plus noise, so the brightest channel tells whether image and label belong together.
    brightest = images.mean(dim=(2, 3)).argmax(1).tolist()
    print(json.dumps({"set": name, "shape": list(images.shape), "labels": labels.tolist(), "brightest": brightest, "visits": visits}))
