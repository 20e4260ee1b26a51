"""The foreign programs, each with a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cms.foreign import BouncyCastle, Gpgsm, Nss, Openssl
from tests.cms.people import person


@pytest.fixture(scope="session")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    return Openssl(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="session")
def gpgsm() -> Iterator[Gpgsm]:
    """Bob's gpgsm. Its folder is short: the path of a unix socket may have 107 octets."""
    with tempfile.TemporaryDirectory(prefix="gp") as folder:
        program = Gpgsm(Path(folder))
        program.hold(person("bob"))
        yield program
        program.close()


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Nss:
    """Bob's NSS."""
    program = Nss(tmp_path_factory.mktemp("nss"))
    program.hold(person("bob"))
    return program


@pytest.fixture(scope="session")
def bouncy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BouncyCastle]:
    program = BouncyCastle(tmp_path_factory.mktemp("bouncy"))
    yield program
    program.close()
