"""How long a credential of Google's lives: the token's own end, the pod's token, and clocks that disagree."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from integration.exchanging_gcp import IAM, STS, impersonating, mint, run

if TYPE_CHECKING:
    from cloud import Cloud


@pytest.mark.parametrize("left_s", [45, 300, 1800])
def test_direct_life_ends_with_the_token(cloud: Cloud, left_s: int) -> None:
    """A federated token is good for what is left of the pod's token, and no longer."""
    before_s = time.time()
    credential = run(cloud, token=mint(cloud, lifetime_s=left_s))
    assert before_s + left_s - 2 <= credential.life_ends_s <= before_s + left_s + 1


def test_direct_life_is_never_longer_than_the_token(cloud: Cloud) -> None:
    """Whatever STS says: what the pod's token no longer vouches for is not served."""
    cloud.fault(STS, "set", fields={"expires_in": 7200})
    before_s = time.time()
    credential = run(cloud, token=mint(cloud, lifetime_s=600))
    assert credential.registry_expires_s == pytest.approx(before_s + 7200, abs=10)
    assert credential.life_ends_s <= before_s + 601


def test_impersonated_life_is_its_own(cloud: Cloud) -> None:
    """An impersonated token lives as long as was asked for, whatever is left of the pod's."""
    credential = run(cloud, impersonating(cloud), token=mint(cloud, lifetime_s=60))
    assert credential.life_ends_s == pytest.approx(time.time() + 3600, abs=10)


@pytest.mark.parametrize("skew_s", [600, -600])
def test_impersonated_life_with_clocks_ten_minutes_apart(cloud: Cloud, skew_s: int) -> None:
    """A node whose clock is wrong never believes that a token lives longer than was asked for."""
    cloud.configure(skew_s=skew_s, google_leeway_s=700)
    before_s = time.time()
    credential = run(cloud, impersonating(cloud))
    expected_s = before_s + 3600 + min(0, skew_s)
    assert credential.life_ends_s == pytest.approx(expected_s, abs=10)
    assert credential.life_ends_s <= time.time() + 3600


@pytest.mark.parametrize("skew_s", [600, -600])
def test_direct_life_with_clocks_ten_minutes_apart(cloud: Cloud, skew_s: int) -> None:
    """Google says how long a federated token lives, so a wrong clock changes nothing but the bound by the token."""
    cloud.configure(skew_s=skew_s, google_leeway_s=700)
    before_s = time.time()
    credential = run(cloud, token=mint(cloud, lifetime_s=1800))
    assert before_s + 1800 - max(0, skew_s) - 10 <= credential.life_ends_s <= before_s + 1801


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("{:%Y-%m-%dT%H:%M:%S}.123456789Z", id="fraction"),
        pytest.param("{:%Y-%m-%dT%H:%M:%S}+00:00", id="offset"),
        pytest.param("{:%Y-%m-%dT%H:%M:%S}.5-00:00", id="both"),
    ],
)
def test_times_of_rfc_3339(cloud: Cloud, value: str) -> None:
    """Fractions and offsets, which the library can't read, are times like any other."""
    ends = datetime.now(UTC) + timedelta(minutes=30)
    cloud.fault(IAM, "set", fields={"expireTime": value.format(ends)})
    assert run(cloud, impersonating(cloud)).life_ends_s == pytest.approx(ends.timestamp(), abs=1)


@pytest.mark.parametrize("value", ["299", "299.7", 299, 299.7])
def test_expires_in_as_servers_write_it(cloud: Cloud, value: object) -> None:
    """Text is taken as well as a number, and a fraction as well as whole seconds."""
    cloud.fault(STS, "set", fields={"expires_in": value})
    assert run(cloud).registry_expires_s == pytest.approx(time.time() + 299.5, abs=2)
