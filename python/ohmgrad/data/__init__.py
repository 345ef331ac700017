"""Data sets: the bundled handwritten digits, well-known ones from files, and arrays of one's own.

Nothing here downloads anything. Source and licence of the bundled data: ``README.md`` in this folder.
"""

from ._cifar import cifar10 as cifar10
from ._cifar import cifar100 as cifar100
from ._dataset import Dataset as Dataset
from ._dataset import arrays as arrays
from ._digits import digits as digits
from ._idx import fashion_mnist as fashion_mnist
from ._idx import idx as idx
from ._idx import mnist as mnist
from ._npz import npz as npz

__all__ = ["Dataset", "arrays", "cifar10", "cifar100", "digits", "fashion_mnist", "idx", "mnist", "npz"]
