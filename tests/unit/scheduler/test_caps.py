"""Places under the caps: exact, whatever happens."""

from hypothesis import given
from hypothesis import strategies as st

from hearth.core.function import FunctionName
from hearth.core.invocation import ThrottleReason
from hearth_scheduler.core.caps import Caps, Share

NAMES = tuple(FunctionName(name) for name in ("a", "b", "c"))
A, B, _ = NAMES


def _share(caps: Caps, name: FunctionName, version: str = "1") -> Share:
    return caps.share((name, version))


def _full(caps: Caps, name: FunctionName) -> ThrottleReason | None:
    """Take places until one is refused; the reason."""
    for _ in range(1000):
        reason = caps.refusal(_share(caps, name))
        if reason is not None:
            return reason
        caps.occupy(_share(caps, name))
    return None


def test_the_account_cap_is_shared_by_all_that_is_unreserved() -> None:
    caps = Caps(account=3)
    caps.occupy(_share(caps, A))

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
    assert caps.refusal(_share(caps, A)) is None


def test_a_reservation_of_nothing_refuses_everything() -> None:
    caps = Caps(account=10)
    caps.limit(A, 0)

    assert caps.refusal(_share(caps, A)) is ThrottleReason.RESERVED


def test_a_version_has_a_cap_of_its_own_within_its_functions() -> None:
    caps = Caps(account=10)
    caps.bound(_share(caps, A), 2)

    assert _full(caps, A) is ThrottleReason.RESERVED
    assert caps.share((A, "1")).in_flight == 2 == caps.cap(_share(caps, A))
    assert caps.refusal(caps.share((A, "2"))) is None

    caps.limit(A, 1)

    assert caps.cap(_share(caps, A)) == 1


def test_a_version_that_is_gone_leaves_no_cap_to_its_namesake() -> None:
    caps = Caps(account=10)
    caps.bound(_share(caps, A), 0)
    caps.occupy(_share(caps, A))

    caps.withdraw((A, "1"))

    assert caps.refusal(_share(caps, A)) is None


def test_lifting_a_reservation_moves_its_places_to_the_account() -> None:
    caps = Caps(account=3)
    caps.limit(A, 2)
    _full(caps, A)

    caps.limit(A, None)

    assert caps.cap(_share(caps, A)) == 3
    assert _full(caps, B) is ThrottleReason.ACCOUNT
    assert caps.quota(B).in_flight == 1


def test_a_deleted_function_is_forgotten_with_its_reservation() -> None:
    caps = Caps(account=3)
    caps.limit(A, 2)

    caps.forget(A)

    assert caps.quotas == {}
    assert caps.cap(_share(caps, B)) == 3


def test_what_a_deleted_function_still_runs_counts_until_it_ends() -> None:
    caps = Caps(account=1)
    share = _share(caps, A)
    caps.occupy(share)

    caps.forget(A)

    assert caps.refusal(_share(caps, B)) is ThrottleReason.ACCOUNT
    caps.vacate(share)
    assert caps.refusal(_share(caps, B)) is None


def test_provisioned_concurrency_is_set_aside_from_what_all_share() -> None:
    caps = Caps(account=10)
    caps.guarantee(_share(caps, A), 4)

    _full(caps, B)

    assert caps.quota(B).in_flight == 6
    assert caps.refusal(_share(caps, A)) is None


def test_provisioned_concurrency_is_for_its_version_alone() -> None:
    caps = Caps(account=10)
    caps.limit(A, 4)
    caps.guarantee(_share(caps, A, "1"), 3)
    caps.occupy(_share(caps, A, "2"))

    assert caps.refusal(_share(caps, A, "2")) is ThrottleReason.RESERVED
    assert _full(caps, A) is ThrottleReason.RESERVED
    assert _share(caps, A, "1").in_flight == 3


def test_if_all_that_is_reserved_is_provisioned_the_unpublished_version_is_refused() -> None:
    caps = Caps(account=10)
    caps.limit(A, 3)
    caps.guarantee(_share(caps, A), 3)

    assert caps.refusal(_share(caps, A, "$LATEST")) is ThrottleReason.RESERVED


def test_traffic_beyond_what_is_provisioned_spills_over_into_what_all_share() -> None:
    caps = Caps(account=10)
    caps.guarantee(_share(caps, A), 4)
    for _ in range(6):
        caps.occupy(_share(caps, A))

    _full(caps, B)

    assert caps.quota(B).in_flight == 4


def test_a_guarantee_larger_than_the_cap_does_not_lift_it() -> None:
    caps = Caps(account=2)
    caps.guarantee(_share(caps, A), 5)

    assert _full(caps, A) is ThrottleReason.ACCOUNT
    assert caps.quota(A).in_flight == 2


def test_a_guarantee_that_is_taken_back_while_used_counts_as_spilled() -> None:
    caps = Caps(account=3)
    caps.guarantee(_share(caps, A), 2)
    caps.occupy(_share(caps, A))
    caps.occupy(_share(caps, A))

    caps.withdraw((A, "1"))
    _full(caps, B)

    assert caps.quota(B).in_flight == 1


VERSIONS = ("1", "2")


def _admit(caps: Caps, share: Share) -> bool:
    """Take a place if it is not refused; a refusal below all caps must not touch a guarantee."""
    quota, cap = share.quota, caps.cap(Share(share.quota, "one without a cap of its own"))
    shared = sum(each.in_flight for each in caps.quotas.values() if each.reserved is None)
    is_below = quota.in_flight < cap and (quota.reserved is not None or shared < cap)
    is_below = is_below and (share.most is None or share.in_flight < share.most)
    if caps.refusal(share) is None:
        assert is_below
        caps.occupy(share)
        return True
    assert not (is_below and share.in_flight < share.guaranteed), "a guarantee was not kept"
    return False


def _change(caps: Caps, what: str, share: Share, number: int | None) -> None:
    name = share.quota.name
    match what:
        case "limit":
            caps.limit(name, number)
        case "guarantee":
            caps.guarantee(share, number or 0)
        case "bound":
            caps.bound(share, number)
        case "withdraw":
            caps.withdraw((name, share.version))
        case "forget":
            caps.forget(name)
        case _:
            assert what == "vacate"  # of a place that nobody holds


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["occupy", "vacate", "limit", "guarantee", "bound", "withdraw", "forget"]),
            st.sampled_from(NAMES),
            st.sampled_from(VERSIONS),
            st.one_of(st.none(), st.integers(0, 3)),
        ),
        max_size=60,
    )
)
def test_admitting_only_what_is_not_refused_never_breaks_a_cap(
    steps: list[tuple[str, FunctionName, str, int | None]],
) -> None:
    caps = Caps(account=5)
    held = {(name, version): 0 for name in NAMES for version in VERSIONS}
    for what, name, version, number in steps:
        key = (name, version)
        share = caps.share(key)
        if what == "occupy":
            held[key] += _admit(caps, share)
        elif what == "vacate" and held[key]:
            caps.vacate(share)
            held[key] -= 1
        else:
            _change(caps, what, share, number)
        caps.check({caps.share(each): count for each, count in held.items()})
        assert caps.in_flight == sum(held.values())
