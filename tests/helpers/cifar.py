"""An archive of the layout of CIFAR-10's binary files, with random images."""

import io
import tarfile

import numpy as np


def archive(batches: int = 5, length: int = 3073, count: int = 3) -> bytes:
    """In each file ``count`` records of ``length`` bytes, whose labels ascend, modulo 10."""
    generator = np.random.default_rng(0)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as files:
        for name in [*(f"data_batch_{n + 1}" for n in range(batches)), "test_batch"]:
            records = generator.integers(0, 256, (count, length)).astype(np.uint8)
            records[:, 0] = (len(name) + np.arange(count)) % 10
            content = records.tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
    return target.getvalue()
