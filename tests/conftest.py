"""What tests of more than one part of the house need."""

from collections.abc import Callable
from types import ModuleType

import pytest

Lower = Callable[[ModuleType, str, int], None]


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch) -> Lower:
    """Lower a bound of a module that is not compiled: there the bound is compiled as well."""

    def lower(module: ModuleType, name: str, bound: int) -> None:
        assert bound < getattr(module, name)
        monkeypatch.setattr(module, name, bound)

    return lower
