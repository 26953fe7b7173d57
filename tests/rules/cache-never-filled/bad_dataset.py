from torch.utils.data import DataLoader, Dataset


class Frames(Dataset):
    def __init__(self, paths, use_cache=True):
        self.paths = paths
        self.use_cache = use_cache
        self.cache = {}

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if index in self.cache:
            return self.cache[index]
        image = load(self.paths[index])
        if self.use_cache:
            self.cache[index] = image
        return image


class Slots(Dataset):
    def __init__(self, paths):
        self.paths = paths
        self._cached = [None] * len(paths)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self._sample(index)

    def _sample(self, index):
        if self._cached[index] is None:
            self._cached[index] = load(self.paths[index])
        return self._cached[index]


class Clips(Dataset):
    """Fills its cache before it knows its samples."""

    def __init__(self, root, use_ram_cache):
        self._samples = []
        self._cache = {}
        if use_ram_cache:
            self._preload_cache()
        self._samples = sorted(root.glob("*/blur"))

    def _preload_cache(self):
        for path in self._samples:
            self._cache[path] = load(path)
        print(f"Cache preloaded: {len(self._cache)} items")

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        path = self._samples[index]
        return self._cache.get(path) or load(path)


def load(path):
    return path.read_bytes()


def build(paths, args):
    train = DataLoader(Frames(paths), batch_size=8, shuffle=True, num_workers=4)
    slots = DataLoader(Slots(paths), batch_size=8, num_workers=args.workers, persistent_workers=False)
    return train, slots
