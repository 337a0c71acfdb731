"""Real market data that travels with the package, so that the first run needs no download and no keys.

``btcusd_1m_2022-01-24_25.csv.gz``: the one-minute bars of two whole UTC days, 24 and 25 January 2022, cut
unchanged from the BTC-PERP test data of the nautilus_trader repository and used here under the symbol
``BTC/USD``. A violent day followed by a calmer one: the guards have something to do, and so
has a strategy. 2,880 rows, no gaps; ``timestamp`` is the start of the bar (UTC), prices are in USD, ``volume``
is in BTC (the source's USD volume divided by the close). The NOTICE of the project says where it comes from.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from holdfast.model.errors import DataError

BTCUSD_TWO_DAYS: Final = "btcusd_1m_2022-01-24_25.csv.gz"

# File name -> the symbol that its bars are used under.
SAMPLES: Final = {BTCUSD_TWO_DAYS: "BTC/USD"}


def path(name: str = BTCUSD_TWO_DAYS) -> Path:
    """Where a sample lies in the file system.

    Args:
        name: One of ``SAMPLES``.

    Raises:
        DataError: There is no sample of that name, or the package was installed as an archive without files.
    """
    if name not in SAMPLES:
        message = f"there is no sample {name!r}; expected one of {', '.join(SAMPLES)}"
        raise DataError(message)
    found = files(__name__).joinpath(name)
    if not isinstance(found, Path):
        message = f"the sample {name!r} is not a file of its own: Holdfast is installed inside an archive"
        raise DataError(message)
    return found
