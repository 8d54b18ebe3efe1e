"""What Schemathesis makes up from the OpenAPI document, the server answers as the document says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.security.contract_fuzz import Contract
from tests.security.serving import serving
from tests.support import temporary_home

SEED = 20261
# It makes up 20 to 70 requests a second, depending on what else the machine does.
SECONDS = int(os.environ.get("PROMPTCARDS_TEST_SCHEMATHESIS_S", "32"))


@pytest.mark.timeout(SECONDS + 280)
def test_what_is_made_up_from_the_contract_is_answered_by_the_contract(tmp_path: Path) -> None:
    with temporary_home() as home:
        home.parent.chmod(0o755)
        with serving(home) as server:
            done = Contract(server, home).fuzz(tmp_path, SECONDS, SEED)
    print(f"{done.cases} cases of Schemathesis, seed {SEED}; {done.phases}")
    assert done.failures == [], done.output
    # On a busy machine the time may not do for random requests and stories; the edges come first.
    assert done.phases["examples"] == "success", done.phases
    assert done.cases > 300, done.output
