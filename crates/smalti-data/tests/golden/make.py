"""Makes the files beside it: what Pillow and torchvision say, for tests/it/golden.rs to compare with.

Run from the repository's root, with the full environment: .venv/bin/python crates/smalti-data/tests/golden/make.py
Made with Pillow 12.2.0, torchvision 0.26.0; nothing here is random but the crop boxes, which are seeded. What Pillow does not write
comes from cjpeg (libjpeg-turbo 2.1.5) and from ImageMagick's convert (7.1).
"""

import json
import math
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
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
    # torchvision has a resizer of its own for tensors, with coefficients of 16 bits (on processors with AVX2).
    tensor = v2.functional.pil_to_tensor(source)
    tiles = [
        v2.functional.to_pil_image(F.resized_crop(tensor, top, left, height, width, [TILE, TILE], antialias=True))
        for left, top, width, height in boxes
    ]
    strip(tiles).save(HERE / "crops-of-tensors.png", optimize=True)
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


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes, clear: bytes = b"") -> None:
    """A PNG of a kind that Pillow does not write; `clear` is the colour that its tRNS chunk calls transparent."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    stride = len(rows) // height
    raw = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", clear) if clear else b"", chunk(b"IDAT", zlib.compress(raw, 9)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


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
    rare_jpegs(folder, small)
    rare_pngs(folder, small)
    rare_others(folder, small, alpha)
    stored_otherwise(folder)
    turned(folder)
    expected(folder)


def expected(folder: Path) -> None:
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("expected"))
    opened = [Image.open(folder / name) for name in names]
    strip([image.convert("RGB") for image in opened]).save(folder / "expected.png", optimize=True)
    # As Hugging Face `datasets` decodes: turned by EXIF where there is a tag.
    upright = [ImageOps.exif_transpose(Image.open(folder / name)).convert("RGB") for name in names]
    strip(upright).save(folder / "expected-exif.png", optimize=True)
    (folder / "expected.json").write_text(json.dumps(names) + "\n")


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


def rare_jpegs(folder: Path, small: Image.Image) -> None:
    ppm = folder / "plain.ppm"
    for name, switches in {
        "440": ["-sample", "1x2"],
        "411": ["-sample", "4x1"],
        "odd-sampling": ["-sample", "2x2,1x2,2x1"],
        "restart": ["-restart", "1"],
        "arithmetic": ["-arithmetic"],
        "arithmetic-progressive": ["-arithmetic", "-progressive"],
        "stored-rgb": ["-rgb"],
    }.items():
        run("cjpeg", "-quality", 80, *switches, "-outfile", folder / f"{name}.jpg", ppm)
    # Adobe's marker says how four colours are stored: 0 is CMYK, 2 is YCCK.
    data = bytearray((folder / "cmyk.jpg").read_bytes())
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    data[adobe + 11] = 2
    (folder / "ycck.jpg").write_bytes(data)


def rare_pngs(folder: Path, small: Image.Image) -> None:
    grey = small.convert("L")
    for bits in (2, 4):
        levels = np.asarray(grey) >> (8 - bits)
        packed = np.zeros((37, (45 * bits + 7) // 8), np.uint8)
        for x in range(45):
            packed[:, x * bits // 8] |= levels[:, x] << (8 - bits - x * bits % 8)
        png(folder / f"grey{bits}.png", 45, 37, bits, 0, packed.tobytes())
    for colours in (2, 4, 16):
        small.quantize(colours).save(folder / f"palette{colours}.png", bits={2: 1, 4: 2, 16: 4}[colours])
    run("convert", folder / "plain.ppm", "-interlace", "PNG", "-define", "png:exclude-chunks=date,time", folder / "interlaced.png")
    grey.save(folder / "grey-clear.png", transparency=100)
    small.save(folder / "colour-clear.png", transparency=(1, 2, 3))


def rare_others(folder: Path, small: Image.Image, alpha: Image.Image) -> None:
    rgba = small.copy()
    rgba.putalpha(alpha)
    small.quantize(17).save(folder / "palette.bmp")
    small.convert("1").save(folder / "bits.bmp")
    small.convert("L").save(folder / "grey.bmp")
    rgba.save(folder / "alpha.bmp")
    rgba.save(folder / "alpha.webp", lossless=True)
    rgba.save(folder / "alpha-lossy.webp", quality=80)
    frames = [rgba, rgba.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    rgba.save(folder / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)
    small.quantize(17).save(folder / "animated.gif", save_all=True, append_images=[small.quantize(9)])
    small.quantize(17).save(folder / "clear.gif", transparency=3)
    run("convert", folder / "plain.ppm", "-interlace", "GIF", folder / "interlaced.gif")
    for name, compression in {"raw": None, "deflate": "tiff_adobe_deflate", "packbits": "packbits"}.items():
        small.save(folder / f"{name}.tif", compression=compression)
    small.convert("L").save(folder / "grey.tif")
    small.convert("1").save(folder / "bits.tif")
    small.quantize(17).save(folder / "palette.tif")
    rgba.save(folder / "alpha.tif")
    small.convert("CMYK").save(folder / "cmyk.tif")
    small.convert("1").save(folder / "bits.pbm")
    (folder / "plain-text.ppm").write_bytes(b"P3\n# three by two\n3 2\n255\n" + b" ".join(b"%d" % (i * 13 % 256) for i in range(18)) + b"\n")
    (folder / "deep.pgm").write_bytes(b"P5 45 37 65535\n" + (np.mgrid[0:37, 0:45][0] * 1700).astype(">u2").tobytes())


def tiff(path: Path, width: int, height: int, bits: int, extra: int, planes: list[bytes]) -> None:
    """A deflated little-endian TIFF of colour and one more sample, in one strip, or in one for each sample."""
    strips = [zlib.compress(plane, 9) for plane in planes]
    starts = [8 + sum(len(strip) for strip in strips[:at]) for at in range(len(strips))]
    samples = [bits] * 4
    tags = {256: [width], 257: [height], 258: samples, 259: [8], 262: [2], 273: starts, 277: [4], 278: [height]}
    tags |= {279: [len(strip) for strip in strips], 284: [1 if len(strips) == 1 else 2], 338: [extra]}
    directory = starts[-1] + len(strips[-1])
    directory += directory % 2
    entries, rest = b"", b""
    for tag, values in tags.items():
        data = struct.pack(f"<{len(values)}H", *values)
        if len(data) > 4:
            place = directory + 2 + 12 * len(tags) + 4 + len(rest)
            rest, data = rest + data, struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, 3, len(values)) + data.ljust(4, b"\0")
    body = b"".join(strips).ljust(directory - 8, b"\0")
    path.write_bytes(b"II*\0" + struct.pack("<I", directory) + body + struct.pack("<H", len(tags)) + entries + bytes(4) + rest)


def stored_otherwise(folder: Path) -> None:
    """Colour that was multiplied by alpha, and 16-bit grey with a transparent value."""
    y, x = np.mgrid[0:17, 0:24]
    colour = np.asarray(picture(24, 17)).astype(np.uint16)
    # From none to all; the right half holds more colour than its alpha allows, which Pillow clips.
    alpha = np.where(y < 2, 255 * y, (x * 11 + y * 3) % 256).astype(np.uint16)[..., None]
    data = np.concatenate([np.where(x[..., None] < 12, colour * alpha // 255, colour), alpha], -1)
    tiff(folder / "multiplied.tif", 24, 17, 8, 1, [data.astype(np.uint8).tobytes()])
    tiff(folder / "multiplied-planar.tif", 24, 17, 8, 1, [data[..., at].astype(np.uint8).tobytes() for at in range(4)])
    tiff(folder / "multiplied16.tif", 24, 17, 16, 1, [(data * 256 + data[::-1] % 251).astype("<u2").tobytes()])
    grey = (x * 23 + y * 5 + np.where(y % 3 == 0, 0, x * 400)).astype(">u2")
    png(folder / "grey16-clear.png", 24, 17, 16, 0, grey.tobytes(), clear=grey[1, 1].tobytes())


def turned(folder: Path) -> None:
    """Every EXIF orientation in JPEG, one in each other format that carries the tag; TIFF is turned by Pillow while it loads."""
    small = picture(24, 17)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        small.save(folder / f"exif{orientation}.jpg", quality=80, exif=exif)
    exif = Image.Exif()
    exif[0x0112] = 6
    small.save(folder / "exif6.png", exif=exif)
    small.save(folder / "exif6.webp", lossless=True, exif=exif)
    small.save(folder / "exif6.tif", tiffinfo={0x0112: 6})
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="8"/></rdf:RDF></x:xmpmeta>'
    small.save(folder / "xmp8.jpg", quality=80, xmp=xmp)


def scaled() -> None:
    """What Pillow's draft and a resize make of a JPEG: decoded at a half, a quarter or an eighth, never below the size asked."""
    folder = HERE / "scaled"
    folder.mkdir(exist_ok=True)
    picture(131, 100).save(folder / "source.jpg", quality=85, subsampling="4:2:0")
    cases = [[131, 100], [65, 50], [66, 50], [40, 40], [32, 25], [16, 12], [7, 9]]
    tiles = []
    for width, height in cases:
        image = Image.open(folder / "source.jpg")
        image.draft("RGB", (width, height))
        tiles.append(image.convert("RGB"))
    strip(tiles).save(folder / "expected.png", optimize=True)
    (folder / "expected.json").write_text(json.dumps(cases) + "\n")


class Fixed:
    """A distribution of one value."""

    def __init__(self, value: float) -> None:
        self.value = value

    def sample(self, shape: tuple) -> float:
        return self.value


def mix() -> None:
    """CutMix and MixUp of torchvision on a small batch (NCHW there, written as NHWC), for given draws."""
    n, height, width = 3, 7, 9
    batch = ((torch.arange(n * 3 * height * width) * 37) % 251).reshape(n, 3, height, width).to(torch.float32)
    labels = torch.arange(n)
    cases = []
    for share, column, row in [(0.5, 4, 3), (0.9, 0, 0), (0.05, 8, 6), (1.0, 2, 2), (0.3, 8, 0)]:
        transform = v2.CutMix(num_classes=n)
        transform._dist = Fixed(share)
        draws = iter([column, row])
        original = torch.randint
        torch.randint = lambda *a, **k: torch.tensor([next(draws)])
        params = transform.make_params([batch])
        torch.randint = original
        x1, y1, x2, y2 = params["box"]
        out = transform.transform(batch, {**params, "labels": labels, "batch_size": n})
        cases.append(
            {
                "lambda": share,
                "column": column,
                "row": row,
                "box": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
                "kept": params["lam_adjusted"],
                "pixels": out.permute(0, 2, 3, 1).flatten().int().tolist() if share == 0.5 else None,
            }
        )
    up = v2.MixUp(num_classes=n).transform(batch, {"lam": 0.25, "labels": labels, "batch_size": n})
    document = {
        "shape": [n, height, width, 3],
        "batch": batch.permute(0, 2, 3, 1).flatten().int().tolist(),
        "cutmix": cases,
        "mixup": {"lambda": 0.25, "pixels": up.permute(0, 2, 3, 1).flatten().tolist()},
    }
    (HERE / "mix.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    source = picture(111, 90)
    source.save(HERE / "source.png", optimize=True)
    crops(source)
    validation(source)
    boxes()
    decode()
    scaled()
    mix()
    total = sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file())
    print(f"{total} bytes")
    assert total < 400 * 1024 and not math.isnan(total)
