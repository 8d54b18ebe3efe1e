"""Calls of each kind fail in turn, in each of three ways; the invariants hold at each point.

Some points of each kind; ``python -m tests.fault sweep`` takes all of them.
"""

from __future__ import annotations

import pytest

from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.fault.referee import Referee
from tests.fault.sweep import HOWS, LAYERS, How, Layer, Sweep, spread
from tests.support import Tenant


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("layer", LAYERS)
def test_invariants_hold_wherever_a_call_fails(
    place: Tenant, stranger: Tenant, referee: Referee, services: Services, settings: Settings, layer: Layer, how: How
) -> None:
    tally = Sweep(services, settings, place, stranger, referee).over(layer, how, spread)
    print(tally)
    assert tally.points > tally.unmet
    assert not tally.wrong
