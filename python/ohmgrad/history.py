"""The numbers of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


class History(Mapping[str, list[float]]):
    """Numbers of a training run: ``history["test_accuracy"]`` is a list with one number per epoch.

    Keys: `lr`, `train_loss`, and `validation_loss`, `test_loss` where such data were given; for targets that are class
    numbers also `train_accuracy`, `validation_accuracy`, `test_accuracy` in [0, 1]. The numbers of the training set
    are means over the epoch while it runs; the others are taken after it.

    >>> history = History()
    >>> history.append({"train_loss": 0.5}); history.append({"train_loss": 0.25})
    >>> history["train_loss"], history
    ([0.5, 0.25], History(2 epochs, train_loss=0.25))
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def append(self, epoch: Mapping[str, float]) -> None:
        """Add the numbers of one epoch."""
        for key, value in epoch.items():
            self._values.setdefault(key, []).append(float(value))

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return max((len(values) for values in self._values.values()), default=0)

    def epoch(self, number: int) -> dict[str, float]:
        """The numbers of one epoch, counted from 0.

        >>> history = History.from_dict({"lr": [0.1, 0.1], "train_loss": [0.5, 0.25]})
        >>> history.epoch(1)
        {'lr': 0.1, 'train_loss': 0.25}
        """
        if not 0 <= number < self.epochs:
            raise IndexError(f"epoch must be 0 to {self.epochs - 1} in {self!r}, got {number}")
        return {key: values[number] for key, values in self._values.items() if number < len(values)}

    def to_dict(self) -> dict[str, list[float]]:
        """Copies of all lists, JSON-able."""
        return {key: list(values) for key, values in self._values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float]]) -> History:
        """The history that :meth:`to_dict` described."""
        made = cls()
        made._values = {key: [float(value) for value in numbers] for key, numbers in values.items()}
        return made

    def __getitem__(self, key: str) -> list[float]:
        if key not in self._values:
            raise KeyError(f"no {key!r} in this history; it has {', '.join(self._values) or 'no epoch yet'}")
        return list(self._values[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        last = "".join(f", {key}={values[-1]:.4g}" for key, values in self._values.items())
        return f"History({self.epochs} epochs{last})"
