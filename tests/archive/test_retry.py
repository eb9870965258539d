"""When it is asked again, and after how long at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.plan import is_transient_status, retry_delay
from mirror.config.settings import HttpConfig
from mirror.errors import UpstreamError

POLICY = HttpConfig(retries=4, backoff=0.5, max_backoff=60)
FAULT = UpstreamError("cut short")


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        (400, False),
        (401, False),
        (403, False),
        (404, False),
        (407, False),
        (408, True),
        (410, False),
        (425, True),
        (429, True),
        (451, False),
        (499, False),
        (500, True),
        (502, True),
        (503, True),
        (504, True),
        (599, True),
    ],
)
def test_a_status_may_pass_by_itself_where_it_speaks_of_now(status, transient):
    assert is_transient_status(status) is transient


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.5), (2, 1), (3, 2), (4, 4)])
def test_the_ceiling_of_the_wait_doubles_and_the_jitter_is_full(attempt, ceiling):
    assert retry_delay(attempt, POLICY, FAULT, fraction=0) == 0
    assert retry_delay(attempt, POLICY, FAULT, fraction=0.25) == ceiling / 4
    assert retry_delay(attempt, POLICY, FAULT, fraction=1) == ceiling


def test_after_the_last_try_it_stops():
    assert retry_delay(5, POLICY, FAULT, fraction=0.5) is None
    assert retry_delay(1, HttpConfig(retries=0), FAULT, fraction=0.5) is None


def test_what_cannot_pass_is_not_asked_again():
    assert retry_delay(1, POLICY, UpstreamError("403", transient=False), fraction=0.5) is None


@pytest.mark.parametrize(
    ("asked", "delay"), [(None, 0.25), (0, 0.25), (0.1, 0.25), (20, 20), (60, 60), (3600, 60)]
)
def test_upstreams_own_wish_is_kept_where_it_is_longer_up_to_the_cap(asked, delay):
    error = UpstreamError("503", retry_after_s=asked)
    assert retry_delay(1, POLICY, error, fraction=0.5) == delay


@given(
    st.integers(1, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 1e9),
)
def test_no_wait_is_negative_or_over_the_cap(attempt, fraction, backoff, cap, asked):
    config = HttpConfig(retries=10**6, backoff=backoff, max_backoff=cap)
    error = UpstreamError("x", retry_after_s=asked)
    delay = retry_delay(attempt, config, error, fraction=fraction)
    assert delay is not None
    assert 0 <= delay <= cap


def test_a_thousand_tries_reach_the_cap_and_no_overflow():
    assert retry_delay(1000, HttpConfig(retries=1000), FAULT, fraction=1) == 60
    endless = HttpConfig(retries=1000, backoff=1, max_backoff=1e12)
    assert retry_delay(33, endless, FAULT, fraction=1) == 2**32
    assert retry_delay(34, endless, FAULT, fraction=1) == 2**32
