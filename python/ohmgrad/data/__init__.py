"""Data sets: the bundled handwritten digits, and arrays of one's own.

Nothing here downloads anything. Source and licence of the bundled data: ``README.md`` in this folder.
"""

from ._dataset import Dataset as Dataset
from ._dataset import arrays as arrays
from ._digits import digits as digits

__all__ = ["Dataset", "arrays", "digits"]
