"""The demo's blocking part: a torch training loop on the digits, with forked DataLoader workers."""

from __future__ import annotations

import math
import random
import sys
import time
from multiprocessing.sharedctypes import RawArray
from typing import Any, Final

from .needs import need
from .source import Source
from .tally import CELLS, Journal, Tally

WORKERS: Final = 2
BATCH: Final = 64
RATE: Final = 2e-3
HELD_OUT: Final = 360
"""How many images, the last ones of the data set, are not trained on."""


class Samples:
    """Map-style data set whose worker shifts each image a little, and logs it.

    Each worker counts its calls in shared memory, where the parent finds them when it is gone.

    Args:
        images: 8 x 8 numbers for each image.
        labels: Which digit each image shows.
        journal: Where the workers log.
        cells: One array for the counts of each worker.
    """

    def __init__(self, images: Any, labels: Any, journal: Journal, cells: list[Any]) -> None:
        self.images = images
        self.labels = labels
        self.journal: Journal = journal
        self.cells = cells

    def begin(self, worker: int) -> None:
        """Prepare one worker; the DataLoader calls it in each of them."""
        log = self.journal.log.bind(worker=worker)
        self.journal = Journal(log, Tally(self.cells[worker]), self.journal.switch)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        """Return one image, shifted, and its label."""
        label = int(self.labels[at])
        down, right = random.randint(-1, 1), random.randint(-1, 1)
        image = need("numpy").roll(self.images[at], (down, right), axis=(0, 1))
        self.journal.debug("sample loaded", index=at, label=label, down=down, right=right)
        return image[None], label


class Training(Source):
    """Trains a small convolutional network until it is told to stop.

    Args:
        images: One row of 64 numbers for each image.
        labels: Which digit each image shows.
        journal: Where steps are logged.
        loader_journal: Where the DataLoader's workers log.
    """

    def __init__(self, images: Any, labels: Any, journal: Journal, loader_journal: Journal) -> None:
        super().__init__("torch training loop", journal)
        self.steps: int = 0
        self.epochs: int = 0
        self.accuracy = math.nan
        self._torch = torch = need("torch")
        # More threads than that only take the service's cores away.
        torch.set_num_threads(1)
        torch.manual_seed(0)
        numpy = need("numpy")
        squares = (images.reshape(-1, 8, 8) / 16).astype(numpy.float32)
        self._held_out = (
            torch.from_numpy(squares[-HELD_OUT:, None]),
            torch.from_numpy(labels[-HELD_OUT:]),
        )
        self._cells: list[Any] = [RawArray("Q", CELLS) for _ in range(WORKERS)]
        self._samples = Samples(
            squares[:-HELD_OUT], labels[:-HELD_OUT], loader_journal, self._cells
        )
        nn = torch.nn
        self._model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 16, 10),
        )
        self._loss = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=RATE)

    def work(self) -> None:
        """Train until the switch says stop; with new workers when it says to log."""
        while not self.switch.stopping:
            loader = self._loader()
            logging = self.switch.logging
            while self.switch.logging == logging and not self.switch.stopping:
                self._epoch(loader, logging)
            del loader
        self.accuracy: float = self._evaluate()

    def worker_tallies(self) -> list[Tally]:
        """Return the tallies of the DataLoader's workers."""
        return [Tally(cells) for cells in self._cells]

    def _loader(self) -> Any:
        return self._torch.utils.data.DataLoader(
            self._samples,
            batch_size=BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            worker_init_fn=self._samples.begin,
            persistent_workers=True,
            multiprocessing_context="fork" if sys.platform == "linux" else None,
        )

    def _epoch(self, loader: Any, logging: bool) -> None:
        log = self.journal.bind(epoch=self.epochs)
        for images, labels in loader:
            began = time.perf_counter()
            self._optimizer.zero_grad()
            loss = self._loss(self._model(images), labels)
            loss.backward()
            self._optimizer.step()
            self.steps += 1
            elapsed_ms = round((time.perf_counter() - began) * 1e3, 3)
            # The tensor itself: on a GPU, asking for its value would wait for the GPU.
            log.metrics({"loss": loss.detach(), "elapsed_ms": elapsed_ms}, self.steps, "train")
            self.ready.set()
            if self.switch.stopping or self.switch.logging != logging:
                return
        self.epochs += 1
        self.accuracy = self._evaluate()
        log.metrics({"accuracy": self.accuracy}, self.steps, "val")

    def _evaluate(self) -> float:
        images, labels = self._held_out
        with self._torch.no_grad():
            return float((self._model(images).argmax(1) == labels).float().mean())
