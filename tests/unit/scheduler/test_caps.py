"""Places under the caps: exact, whatever happens."""

from hypothesis import given
from hypothesis import strategies as st

from hearth.core.function import FunctionName
from hearth.core.invocation import ThrottleReason
from hearth_scheduler.core.caps import Caps

NAMES = tuple(FunctionName(name) for name in ("a", "b", "c"))
A, B, _ = NAMES


def _full(caps: Caps, name: FunctionName) -> ThrottleReason | None:
    """Take places until one is refused; the reason."""
    for _ in range(1000):
        reason = caps.refusal(caps.quota(name))
        if reason is not None:
            return reason
        caps.occupy(caps.quota(name))
    return None


def test_the_account_cap_is_shared_by_all_that_is_unreserved() -> None:
    caps = Caps(account=3)
    caps.occupy(caps.quota(A))

    assert _full(caps, B) is ThrottleReason.ACCOUNT
    assert (caps.quota(A).in_flight, caps.quota(B).in_flight) == (1, 2)


def test_a_reservation_is_a_cap() -> None:
    caps = Caps(account=10)
    caps.limit(A, 2)

    assert _full(caps, A) is ThrottleReason.RESERVED
    assert caps.quota(A).in_flight == 2


def test_a_reservation_is_a_guarantee() -> None:
    caps = Caps(account=10)
    caps.limit(A, 2)

    assert _full(caps, B) is ThrottleReason.ACCOUNT
    assert caps.quota(B).in_flight == 8
    assert caps.refusal(caps.quota(A)) is None


def test_a_reservation_of_nothing_refuses_everything() -> None:
    caps = Caps(account=10)
    caps.limit(A, 0)

    assert caps.refusal(caps.quota(A)) is ThrottleReason.RESERVED


def test_lifting_a_reservation_moves_its_places_to_the_account() -> None:
    caps = Caps(account=3)
    caps.limit(A, 2)
    _full(caps, A)

    caps.limit(A, None)

    assert caps.cap(caps.quota(A)) == 3
    assert _full(caps, B) is ThrottleReason.ACCOUNT
    assert caps.quota(B).in_flight == 1


def test_a_deleted_function_is_forgotten_with_its_reservation() -> None:
    caps = Caps(account=3)
    caps.limit(A, 2)

    caps.forget(A)

    assert caps.quotas == {}
    assert caps.cap(caps.quota(B)) == 3


def test_what_a_deleted_function_still_runs_counts_until_it_ends() -> None:
    caps = Caps(account=1)
    quota = caps.quota(A)
    caps.occupy(quota)

    caps.forget(A)

    assert caps.refusal(caps.quota(B)) is ThrottleReason.ACCOUNT
    caps.vacate(quota)
    assert caps.refusal(caps.quota(B)) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["occupy", "vacate", "limit", "forget"]),
            st.sampled_from(NAMES),
            st.one_of(st.none(), st.integers(0, 3)),
        ),
        max_size=60,
    )
)
def test_admitting_only_what_is_not_refused_never_breaks_a_cap(
    steps: list[tuple[str, FunctionName, int | None]],
) -> None:
    caps = Caps(account=5)
    held = dict.fromkeys(NAMES, 0)
    for what, name, number in steps:
        quota = caps.quota(name)
        if what == "occupy" and caps.refusal(quota) is None:
            assert quota.in_flight < caps.cap(quota)
            caps.occupy(quota)
            held[name] += 1
        elif what == "vacate" and held[name]:
            caps.vacate(quota)
            held[name] -= 1
        elif what == "limit":
            caps.limit(name, number)
        elif what == "forget":
            caps.forget(name)
        assert {each: caps.quota(each).in_flight for each in NAMES} == held
        assert caps.in_flight == sum(held.values())
