"""What tests of more than one part of the house need."""

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType

import pytest

Lower = Callable[[ModuleType, str, int], None]


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch) -> Lower:
    """Lower a bound of a module; where it is compiled the bound is too, and the test is skipped."""

    def lower(module: ModuleType, name: str, bound: int) -> None:
        if str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES)):
            pytest.skip(f"{module.__name__} is compiled, {name} with it")
        assert bound < getattr(module, name)
        monkeypatch.setattr(module, name, bound)

    return lower
