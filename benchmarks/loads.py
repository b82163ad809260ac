"""Work D: MNIST to float32 tensors, by this package and by its peers, from the same files."""
import importlib.util, tempfile, time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mnist_sgd.data import IDX, URLs, fetch_mnist, load_mnist, read_idx, untar_data


def timed(func):
    "Seconds, and how many images came."
    start = time.perf_counter()
    n = func()
    return time.perf_counter() - start, int(n)


def ours_with_hashes():
    (x, _), (vx, _) = load_mnist()
    return len(x) + len(vx)


def ours_without_hashes():
    folder = IDX_FOLDER
    sets = [torch.from_numpy(read_idx(folder/f'{part}-images-idx3-ubyte').copy()).to(torch.float32).div_(255).view(-1, 784)
            for part in ('train', 't10k')]
    [torch.from_numpy(read_idx(folder/f'{part}-labels-idx1-ubyte').copy()).long() for part in ('train', 't10k')]
    return sum(map(len, sets))


def torchvision_mnist():
    from torchvision.datasets import MNIST
    with tempfile.TemporaryDirectory() as tmp:
        raw = Path(tmp)/'MNIST'/'raw'
        raw.mkdir(parents=True)
        for name in IDX: (raw/name).symlink_to(IDX_FOLDER/name)
        sets = [MNIST(tmp, train=t).data.to(torch.float32).div_(255).view(-1, 784) for t in (True, False)]
    return sum(map(len, sets))


def pil_over_png():
    files = sorted(untar_data(URLs.MNIST).glob('t*/*/*.png'))
    return len(torch.from_numpy(np.stack([np.asarray(Image.open(f)) for f in files])).to(torch.float32).div_(255))


def fastai_image_data_loaders():
    import fastai.vision.all as fastai
    dls = fastai.ImageDataLoaders.from_folder(untar_data(URLs.MNIST), 'training', 'testing', bs=1000, num_workers=0)
    return sum(len(xb) for dl in (dls.train.new(shuffle=False, drop_last=False), dls.valid) for xb, _ in dl)


IDX_FOLDER = fetch_mnist()
QUICK = {'torchvision MNIST': torchvision_mnist, 'ours, hashes verified': ours_with_hashes,
         'ours, no new check': ours_without_hashes}
SLOW = {'PIL over PNG': pil_over_png, 'fastai ImageDataLoaders': fastai_image_data_loaders}
NEEDS = {'torchvision MNIST': 'torchvision', 'fastai ImageDataLoaders': 'fastai'}


def is_there(name): return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None
