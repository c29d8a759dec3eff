"""Campaigns: who joins which, and how long they are known."""

from random import Random
from typing import Any

import pytest

from policyd.clock import WallTime
from policyd.content.campaign import MOST_FORMS, Campaign, pack, read, unpack, write
from policyd.content.campaigns import Campaigns
from policyd.content.fingerprint import SKETCH, Fingerprint, Kind, are_alike
from policyd.content.index import Index

HOUR = 3600.0
NOW = WallTime(1e9)


def at(seconds: float) -> WallTime:
    return WallTime(NOW + seconds)


def sketched(hashes: set[int]) -> Fingerprint:
    return Fingerprint(Kind.SKETCH, tuple(sorted(hashes)[:SKETCH]))


def numbers(random: Random, many: int = 200) -> set[int]:
    return {random.getrandbits(32) for _ in range(many)}


def varied(random: Random, hashes: set[int], share: float) -> set[int]:
    kept = random.sample(sorted(hashes), round(len(hashes) * (1 - share)))
    return {*kept} | numbers(random, len(hashes) - len(kept))


def exact(number: int) -> Fingerprint:
    return Fingerprint(Kind.EXACT, (number, 7))


@pytest.fixture
def random() -> Random:
    return Random(1)


def test_the_first_opens_and_others_join(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    first, stranger = numbers(random), numbers(random)
    assert campaigns.find("a", sketched(first), NOW) is None
    assert len(campaigns) == 0
    assert campaigns.join("a", sketched(first), NOW) == "c1"
    assert campaigns.find("a", sketched(varied(random, first, 0.3)), NOW) == "c1"
    assert campaigns.join("a", sketched(varied(random, first, 0.3)), NOW) == "c1"
    assert campaigns.find("a", sketched(stranger), NOW) is None
    assert campaigns.join("a", sketched(stranger), NOW) == "c2"
    campaigns._check()


def test_scopes_are_apart(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    mail = sketched(numbers(random))
    assert campaigns.join("a", mail, NOW) == "c1"
    assert campaigns.find("b", mail, NOW) is None
    assert campaigns.join("b", mail, NOW) == "c2"
    assert campaigns.find("a", mail, NOW) == "c1"


def test_exact_ones_join_only_the_same(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    assert campaigns.join("a", exact(1), NOW) == "c1"
    assert campaigns.join("a", exact(2), NOW) == "c2"  # the half of its hash is the same
    assert campaigns.join("a", exact(1), NOW) == "c1"
    with_both = sketched({1, 7} | numbers(random, 20))
    assert campaigns.join("a", with_both, NOW) == "c3"


def test_the_closest_wins(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    first = numbers(random)
    other = varied(random, first, 0.75)
    assert campaigns.join("a", sketched(first), NOW) == "c1"
    assert campaigns.join("a", sketched(other), NOW) == "c2"
    assert campaigns.find("a", sketched(varied(random, other, 0.2)), NOW) == "c2"
    assert campaigns.find("a", sketched(varied(random, first, 0.2)), NOW) == "c1"


def test_what_is_unknown_is_not_joined() -> None:
    campaigns = Campaigns(HOUR)
    unknown = Fingerprint(Kind.UNKNOWN)
    assert campaigns.find("a", unknown, NOW) is None
    with pytest.raises(ValueError, match="nothing is known"):
        campaigns.join("a", unknown, NOW)
    assert len(campaigns) == 0


def test_what_drifts_stays_together(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    first = mail = numbers(random)
    for _ in range(20):
        mail = varied(random, mail, 0.15)
        assert campaigns.join("a", sketched(mail), NOW) == "c1"
    assert not are_alike(sketched(mail).hashes, sketched(first).hashes)
    assert campaigns.find("a", sketched(first), NOW) == "c1"  # the first form is kept for good
    (campaign,) = unpack("a", campaigns.whole()["a"])
    assert len(campaign.forms) == MOST_FORMS
    campaigns._check()


def test_life_and_prolonging(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    mail = sketched(numbers(random))
    campaigns.join("a", mail, NOW)
    assert campaigns.find("a", mail, at(3599)) == "c1"
    assert campaigns.find("a", mail, at(3600)) is None
    campaigns.join("a", mail, at(3000))
    assert campaigns.find("a", mail, at(6599)) == "c1"
    assert campaigns.join("a", mail, at(6600)) == "c2"
    campaigns.obey(2 * HOUR)
    assert campaigns.find("a", mail, at(6600 + 7199)) == "c2"
    campaigns.obey(60)
    assert campaigns.find("a", mail, at(6600 + 61)) is None


def test_tidying_in_slices(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    for number in range(100):
        campaigns.join("a", sketched(numbers(random, 80)), at(number))
    now = at(3600 + 49)
    forgotten = [campaigns.tidy(now, 30) for _ in range(4)]
    assert forgotten == [30, 20, 0, 0]
    assert len(campaigns) == 50
    assert campaigns.tidy(now, 0) == 0
    campaigns._check()


def test_a_clock_that_was_stepped_back(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    mail = sketched(numbers(random))
    campaigns.join("a", mail, at(10 * HOUR))
    campaigns.tidy(NOW, 10)
    assert campaigns.find("a", mail, at(3599)) == "c1"
    assert campaigns.find("a", mail, at(3601)) is None


def test_eviction_forgets_the_older_half_but_not_what_is_near(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    mails = [sketched(numbers(random, 80)) for _ in range(40)]
    for number, mail in enumerate(mails):
        campaigns.join("a", mail, at(number))
    # one walk to learn what is old, one to forget it
    evicted = [campaigns.evict(60, lambda *key: key == ("a", "c1")) for _ in range(3)]
    assert evicted == [0, 0, 19]
    found = [campaigns.find("a", mail, at(50)) for mail in mails]
    assert found[0] == "c1"
    assert found[1:20] == [None] * 19
    assert None not in found[20:]
    campaigns._check()


def test_eviction_of_everything_at_last(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    for number in range(10):
        campaigns.join("a", sketched(numbers(random, 80)), at(number))
    for _ in range(20):
        campaigns.evict(10, lambda _scope, _name: True)
    assert len(campaigns) == 0
    assert campaigns.weight == 0


def test_what_is_kept_is_taken_again(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    first, second = numbers(random), numbers(random)
    campaigns.join("a", sketched(first), NOW)
    campaigns.join("ü\ud800", sketched(second), NOW)
    taken: Any = campaigns.take().entries()
    assert not campaigns.take()
    campaigns.join("a", sketched(varied(random, first, 0.5)), at(9))
    campaigns.join("a", exact(5), at(9))
    later: Any = campaigns.take().entries()
    assert taken.keys() == {"a", "ü\ud800"}
    assert later.keys() == {"a"}
    restored = Campaigns(HOUR)
    restored.restore(taken)
    restored.restore(later)
    assert restored.whole() == campaigns.whole()
    assert len(restored) == 3
    assert restored.find("a", sketched(first), at(3605)) == "c1"
    assert restored.find("a", exact(5), at(3605)) == "c3"
    assert restored.find("ü\ud800", sketched(second), NOW) == "c2"
    assert restored.join("a", exact(6), NOW) == "c4"
    assert restored.weight > campaigns.weight
    restored._check()


def test_what_is_nothing_of_ours() -> None:
    campaign = Campaign("a", 1, NOW, ((1, 2, 3), (4, 5)))
    packed = pack((campaign,))
    assert list(unpack("a", packed)) == [campaign]
    assert read(write(campaign)) == campaign
    for end in range(1, len(packed)):
        with pytest.raises(ValueError, match="cut short"):
            list(unpack("a", packed[:end]))
    for broken in (
        pack((campaign._replace(forms=()),)),
        pack((campaign._replace(forms=((),)),)),
        pack((campaign._replace(forms=(tuple(range(65)),)),)),
        pack((campaign._replace(forms=((1,),) * 5),)),
        packed[:18] + bytes((9,)) + packed[19:],
    ):
        with pytest.raises(ValueError, match="campaign"):
            Campaigns(HOUR).restore({"a": broken})


def test_thousands_with_a_signature_in_common(random: Random) -> None:
    campaigns = Campaigns(HOUR)
    signature = numbers(random, 30)
    mails = [sketched(signature | numbers(random, 120)) for _ in range(600)]
    for number, mail in enumerate(mails):
        assert campaigns.join("a", mail, NOW) == f"c{number + 1}"
    assert all(campaigns.find("a", mail, NOW) == f"c{n + 1}" for n, mail in enumerate(mails))
    campaigns._check()


def test_the_index_forgets_what_is_gone() -> None:
    live = {2}
    index = Index(live.__contains__)
    for serial in (1, 2):
        index.add("a", (5,), serial)
    assert index.candidates("a", (5,)) == {1: 1, 2: 1}
    # more than its part can hold: it is made anew
    for number in range(30_000):
        index.add("b", (number,), 3)
    assert index.candidates("a", (5, 6)) == {2: 1}
    index._check()


def test_the_index_knows_some_of_very_many() -> None:
    index = Index(lambda _: True)
    for serial in range(1, 1001):
        index.add("a", (5,), serial)
    found = index.candidates("a", (5,))
    assert len(found) == 16
    assert max(found) == 1000
    index._check()


@pytest.mark.parametrize("seed", range(6))
def test_against_a_plain_search(seed: int) -> None:
    random = Random(seed)
    campaigns = Campaigns(HOUR)
    model: dict[tuple[str, str], list[tuple[int, ...]]] = {}
    last: dict[tuple[str, str], float] = {}
    roots = [numbers(random, random.choice((30, 80, 300))) for _ in range(12)]
    now = 0.0
    for step in range(300):
        now += random.expovariate(1 / 60)
        scope = random.choice("ab")
        mail = sketched(varied(random, random.choice(roots), random.choice((0, 0.1, 0.3, 0.9))))
        live = [key for key in model if key[0] == scope and last[key] + HOUR > now]
        alike = {key for key in live if any(are_alike(mail.hashes, f) for f in model[key])}
        found = campaigns.find(scope, mail, at(now))
        assert (found is not None) == bool(alike)
        assert found is None or (scope, found) in alike
        if random.random() < 0.7:
            name = campaigns.join(scope, mail, at(now))
            assert found in (name, None)
            last[scope, name] = now
            held = dict.fromkeys(unpack(scope, campaigns.whole()[scope]))
            model[scope, name] = next([*one.forms] for one in held if f"c{one.serial}" == name)
        if random.random() < 0.1:
            campaigns.tidy(at(now), 5)
        if random.random() < 0.02:
            kept, campaigns = campaigns.whole(), Campaigns(HOUR)
            campaigns.restore(kept)
        if step % 50 == 0:
            campaigns._check()
