"""Makes the files beside it: what Pillow and torchvision say, for tests/it/golden.rs to compare with.

Run from the repository's root, with the full environment: .venv/bin/python crates/smalti-data/tests/golden/make.py
Made with Pillow 12.2.0, torchvision 0.26.0; nothing here is random but the crop boxes, which are seeded.
"""

import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

HERE = Path(__file__).parent
TILE = 24


def picture(width: int, height: int) -> Image.Image:
    """Smooth colour, hard edges and fine stripes: what resizing gets wrong in three ways."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127.5 + 127.5 * np.sin(x / 9.0) * np.cos(y / 13.0)
    green = 255.0 * ((x // 8 + y // 8) % 2)
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 255.0 - 60.0 * (x % 2), y * 255.0 / height)
    return Image.fromarray(np.stack([red, green, blue], -1).round().astype(np.uint8))


def strip(tiles: list[Image.Image]) -> Image.Image:
    out = Image.new("RGB", (max(t.width for t in tiles), sum(t.height for t in tiles)))
    top = 0
    for tile in tiles:
        out.paste(tile, (0, top))
        top += tile.height
    return out


def crops(source: Image.Image) -> None:
    w, h = source.size
    boxes = [[0, 0, w, h], [0, 0, 24, 24], [3, 5, 24, 24], [10, 7, 1, 1], [0, 0, w, 1], [w - 1, 0, 1, h], [w - 2, h - 2, 2, 2]]
    boxes += [[7, 3, 12, 12], [7, 3, 13, 11], [20, 10, 48, 48], [21, 11, 47, 49], [5, 0, 90, 30], [0, 5, 30, 80], [33, 21, 7, 40]]
    boxes += [[1, 1, w - 2, h - 2], [50, 40, 61, 43], [17, 29, 36, 36], [0, h - 25, w, 25], [64, 2, 23, 25], [30, 30, 5, 5]]
    tiles = [
        F.resized_crop(source, top, left, height, width, [TILE, TILE], interpolation=v2.InterpolationMode.BILINEAR, antialias=True)
        for left, top, width, height in boxes
    ]
    strip(tiles).save(HERE / "crops.png", optimize=True)
    (HERE / "crops.json").write_text(json.dumps(boxes) + "\n")


def validation(source: Image.Image) -> None:
    cases = [[109, 83, 28, 24], [83, 80, 28, 24], [61, 90, 27, 24], [23, 17, 28, 24], [24, 24, 24, 24], [111, 9, 27, 24], [31, 87, 13, 24]]
    tiles = [
        v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(crop)])(source.crop((0, 0, width, height)))
        for width, height, resize, crop in cases
    ]
    strip(tiles).save(HERE / "validation.png", optimize=True)
    (HERE / "validation.json").write_text(json.dumps(cases) + "\n")


def boxes() -> None:
    """For each shape and quantity: points (value, share of draws at or below it)."""
    torch.manual_seed(20250211)
    n = 20_000
    out = []
    for width, height in [(160, 120), (50, 140)]:
        image = torch.empty(3, height, width)
        draw = v2.RandomResizedCrop(32)
        drawn = [draw.make_params([image]) for _ in range(n)]
        kinds = {
            "area": [d["width"] * d["height"] for d in drawn],
            "ratio": [d["width"] / d["height"] for d in drawn],
            "left": [d["left"] for d in drawn],
            "top": [d["top"] for d in drawn],
        }
        for kind, values in kinds.items():
            values = np.sort(np.array(values, dtype=np.float64))
            points = np.unique(values[np.linspace(0, n - 1, 61).astype(int)])
            share = np.searchsorted(values, points, side="right") / n
            points = [[float(p), float(s)] for p, s in zip(points, share)]
            out.append({"width": width, "height": height, "kind": kind, "points": points})
    lines = ",\n".join(json.dumps(entry) for entry in out)
    (HERE / "boxes.json").write_text(f'{{"draws": {n}, "entries": [\n{lines}\n]}}\n')


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes) -> None:
    """A PNG of a kind that Pillow does not write."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    stride = len(rows) // height
    raw = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def decode() -> None:
    folder = HERE / "decode"
    folder.mkdir(exist_ok=True)
    small = picture(45, 37)
    small.save(folder / "subsampled.jpg", quality=80, subsampling="4:2:0")
    small.save(folder / "halved.jpg", quality=80, subsampling="4:2:2")
    small.save(folder / "progressive.jpg", quality=80, subsampling="4:2:0", progressive=True)
    small.convert("L").save(folder / "grey.jpg", quality=80)
    black = Image.fromarray((np.mgrid[0:37, 0:45][0] * 6).astype(np.uint8))
    Image.merge("CMYK", [*small.split(), black]).save(folder / "cmyk.jpg", quality=80)
    small.quantize(17).save(folder / "palette.png")
    small.quantize(5).save(folder / "palette-clear.png", transparency=2)
    alpha = Image.fromarray((np.mgrid[0:37, 0:45][1] * 5).astype(np.uint8))
    rgba = small.copy()
    rgba.putalpha(alpha)
    rgba.save(folder / "alpha.png")
    grey_alpha = small.convert("LA")
    grey_alpha.putalpha(alpha)
    grey_alpha.save(folder / "grey-alpha.png")
    small.convert("1").save(folder / "bits.png")
    small.save(folder / "lossless.webp", lossless=True)
    small.save(folder / "lossy.webp", quality=80)
    small.save(folder / "plain.bmp")
    small.quantize(17).save(folder / "palette.gif")
    small.save(folder / "plain.ppm")
    small.convert("L").save(folder / "grey.pgm")
    small.save(folder / "lzw.tif", compression="tiff_lzw")
    y, x = np.mgrid[0:37, 0:45]
    deep = (x * 1400 + y * 37 + (x * y) % 251).astype(">u2")
    # Most values lie above 255, where Pillow clips 16-bit grey; the first columns lie below.
    png(folder / "grey16.png", 45, 37, 16, 0, np.where(x < 6, (x * 40 + y) % 256, deep).astype(">u2").tobytes())
    png(folder / "colour16.png", 45, 37, 16, 2, np.stack([deep, deep[::-1], 65535 - deep], -1).astype(">u2").tobytes())
    png(folder / "alpha16.png", 45, 37, 16, 6, np.stack([deep, deep[::-1], 65535 - deep, deep], -1).astype(">u2").tobytes())
    png(folder / "grey-alpha16.png", 45, 37, 16, 4, np.stack([deep, deep[::-1]], -1).astype(">u2").tobytes())
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("expected"))
    strip([Image.open(folder / name).convert("RGB") for name in names]).save(folder / "expected.png", optimize=True)
    (folder / "expected.json").write_text(json.dumps(names) + "\n")


if __name__ == "__main__":
    source = picture(111, 90)
    source.save(HERE / "source.png", optimize=True)
    crops(source)
    validation(source)
    boxes()
    decode()
    total = sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file())
    print(f"{total} bytes")
    assert total < 200 * 1024 and not math.isnan(total)
