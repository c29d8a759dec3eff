"""The campaigns that there are, by serial number."""

from collections.abc import Iterator
from typing import Final

from policyd.content.campaign import Campaign, read, write

_SHARDS: Final = 256
"""Dicts that the campaigns are in, so that none is felt when it grows."""

_BLOCK: Final = 12
"""Bits of serial numbers that stay together: a dict sorts by the lowest, which must differ."""

_BESIDE: Final = 230
"""Bytes that a campaign takes beside its hashes and its scope, about."""

_INDEXED: Final = 24
"""Bytes that a hash in the index takes, about."""


class Store:
    """Campaigns, each in bytes: a million of them are nothing for the garbage collector.

    *indexed* is how many hashes of each form the index has. *weight* is the memory that is held, in
    bytes, about.
    """

    __slots__ = ("_indexed", "_shards", "count", "weight")

    def __init__(self, indexed: int) -> None:
        self._indexed = indexed
        self._shards: list[dict[int, bytes]] = [{} for _ in range(_SHARDS)]
        self.count = 0
        self.weight = 0

    def __contains__(self, serial: int) -> bool:
        return serial in self._shard(serial)

    def get(self, serial: int) -> Campaign | None:
        """Return the campaign of that *serial*, if it is there."""
        data = self._shard(serial).get(serial)
        return None if data is None else read(data)

    def put(self, campaign: Campaign) -> None:
        """Put in *campaign*, in the place of what it was before."""
        self.remove(campaign.serial)
        data = write(campaign)
        self._shard(campaign.serial)[campaign.serial] = data
        self.count += 1
        self.weight += self._weight_of(data)

    def remove(self, serial: int) -> None:
        """Take out the campaign of that *serial*, if it is there."""
        data = self._shard(serial).pop(serial, None)
        if data is not None:
            self.count -= 1
            self.weight -= self._weight_of(data)

    def walk(self) -> Iterator[Campaign]:
        """Yield all campaigns; while some come and go, those that are there all the time."""
        for shard in self._shards:
            for serial in list(shard):
                if serial in shard:
                    yield read(shard[serial])

    def _shard(self, serial: int) -> dict[int, bytes]:
        return self._shards[serial >> _BLOCK & (_SHARDS - 1)]

    def _weight_of(self, data: bytes) -> int:
        forms = 1 + len(data) // 300
        return _BESIDE + len(data) + forms * self._indexed * _INDEXED

    def _check(self) -> None:
        """Assert that what is counted is there."""
        assert self.count == sum(map(len, self._shards))
        assert self.weight == sum(
            self._weight_of(data) for shard in self._shards for data in shard.values()
        )
        for shard in self._shards:
            for serial, data in shard.items():
                assert self._shard(serial) is shard
                assert read(data).serial == serial
