"""Pictures a second of the loader, beside torchvision's ImageFolder in PyTorch's DataLoader.

    python benchmarks/loader.py [--pictures 600] [--rounds 5] [--workers 1 2]

Everybody reads the same JPEG photos of 500 x 375 pixels and does the same to them: random resized crop to 224 pixels,
flip, normalisation. The photos lie in a temporary folder, and once more in tar shards for a third contender.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tables import load, machine, markdown, publish, versions
from timing import compare, interleave
from torch.utils.data import DataLoader

from muntin.data import Augment, Loader, PictureInput, open_data, train_transform
from muntin.data.transforms.vision import functional

SIZE, CLASSES, SHARDS = (500, 375), 10, 4  # width and height of the median ImageNet photo
PREPROCESS = PictureInput()
OURS, SHARDED, PEER = "muntin, files", "muntin, shards", "torchvision"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=600, help="photos of an epoch (default 600)")
    parser.add_argument("--batch-size", type=int, default=32, help="photos a batch (default 32)")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each contender (default 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="worker processes (default 1 2)")
    parser.add_argument(
        "--gate", action="store_true", help="end with exit code 1 where muntin is more than 5 %% slower"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    options = parser.parse_args()
    torch.set_num_threads(1)

    rows, slower = [], False
    with tempfile.TemporaryDirectory() as place:
        photos = write_photos(Path(place), options.pictures)
        for workers in options.workers:
            how = {"batch_size": options.batch_size, "workers": workers}
            jobs = {
                OURS: partial(run_epoch, our_loader(photos, **how)),
                SHARDED: partial(run_epoch, our_loader(photos.parent / "shards", **how)),
                PEER: partial(run_peer_epoch, peer_loader(photos, **how)),
            }
            seconds = interleave(jobs, rounds=options.rounds)
            ours, sharded = (compare(seconds[name], seconds[PEER]) for name in (OURS, SHARDED))
            slower |= min(ours.of_minima, ours.median) > 1.05
            speeds = [speed(seconds[name], options.pictures) for name in jobs]
            rows.append([workers, *speeds, ours, sharded, compare(seconds[SHARDED], seconds[OURS])])

    header = ["workers", *(f"{name}, pictures/s" for name in jobs), "files / torchvision", "shards / torchvision"]
    said = (
        f"Pictures/s: median / best of {options.rounds} interleaved epochs of {options.pictures} photos of {SIZE[0]} x "
        f"{SIZE[1]} pixels in batches of {options.batch_size}, after one untimed epoch; ratios are of times. "
        f"{machine(1)}, {versions('torchvision', 'pillow')}. Load average {load()}."
    )
    publish("loader", f"{markdown([*header, 'shards / files'], rows)}\n\n{said}", options.markdown)
    raise SystemExit(options.gate and slower)


def our_loader(place: Path, *, batch_size: int, workers: int) -> Loader:
    transform = train_transform(PREPROCESS, Augment(crop="resized", flip=0.5))
    source = open_data(place, val_share=0).train
    return Loader(source, transform, batch_size=batch_size, workers=workers, shuffle=True, bad_share=0.05)


def run_epoch(loader: Loader) -> None:
    for batch in loader.epoch(0):
        assert batch.inputs["image"].dtype == torch.float32


def peer_loader(place: Path, *, batch_size: int, workers: int) -> DataLoader:
    functional()  # makes torchvision importable beside any build of torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(PREPROCESS.mean, PREPROCESS.std),
    ]
    crop = v2.RandomResizedCrop(PREPROCESS.image_size, interpolation=v2.InterpolationMode.BICUBIC)
    source = ImageFolder(str(place), v2.Compose([crop, v2.RandomHorizontalFlip(), *steps]))
    return DataLoader(source, batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def run_peer_epoch(loader: DataLoader) -> None:
    for images, _ in loader:
        assert images.dtype == torch.float32


def write_photos(place: Path, count: int) -> Path:
    """Class folders of JPEG files, the same in shards beside them; returns the former's root."""
    root = place / "photos"
    (place / "shards").mkdir()
    for shard in range(SHARDS):
        with tarfile.open(place / "shards" / f"{shard}.tar", "w") as tar:
            for number in range(shard, count, SHARDS):
                content, label = photo(number), number % CLASSES
                file = root / str(label) / f"{number:05d}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                for name, member in ((f"{number:05d}.jpg", content), (f"{number:05d}.cls", str(label).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(member)
                    tar.addfile(info, io.BytesIO(member))
    return root


def photo(number: int) -> bytes:
    """A JPEG with as much detail at every scale as a photograph has (amplitude falls with frequency): about 60 kB."""
    rng = np.random.default_rng(number)
    width, height = SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    spectrum /= np.maximum(frequency, 1 / width) ** 1.2
    pixels = np.fft.irfft2(spectrum, (height, width))
    pixels = 128 + 50 * pixels / pixels.std()
    image = Image.fromarray(pixels.transpose(1, 2, 0).clip(0, 255).astype(np.uint8))
    image.save(file := io.BytesIO(), "jpeg", quality=90)
    return file.getvalue()


def speed(seconds: list[float], pictures: int) -> str:
    return f"{pictures / statistics.median(seconds):.0f} / {pictures / min(seconds):.0f}"


if __name__ == "__main__":
    main()
