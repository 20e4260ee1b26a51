"""One authority for all tests of trust: a root, an issuing CA below it, and Bob."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.trust.pki import Entity, new_intermediate, new_root


@dataclass
class Pki:
    root: Entity
    issuing: Entity
    bob: Entity


@pytest.fixture(scope="session")
def pki() -> Pki:
    root = new_root("Example Root")
    issuing = new_intermediate(root, "Example Issuing")
    return Pki(root, issuing, issuing.person())
