"""Targets to addresses: own group, bare groups, literal addresses, everything here (D35)."""

import pytest

from resonate_mq.transports.api.requester import ServerFacts
from resonate_mq.wiring import Routing


class Known:
    """As much of a requester as routing asks for."""

    def __init__(self, **facts: object) -> None:
        self.known = ServerFacts(**facts)  # type: ignore[arg-type]
        self.asked = 0

    async def facts(self) -> ServerFacts:
        self.asked += 1
        return self.known


def routing(known: Known, *consumed: str, here: str | None = None) -> Routing:
    return Routing(known, "own", frozenset(consumed), here)  # type: ignore[arg-type]


async def test_a_bare_group_is_reached_over_the_servers_default_transport() -> None:
    official = Known()
    assert await routing(official, "poll").address("billing") == "poll://any@billing"
    ours = Known(default_transport="amqp", transports=("poll", "amqp"))
    assert await routing(ours, "poll", "amqp").address("a b/c") == "amqp://any@a%20b%2Fc"


async def test_the_own_group_is_reached_where_this_process_listens() -> None:
    server = {"default_transport": "amqp", "transports": ("poll", "amqp")}
    assert await routing(Known(**server), "poll", "amqp").address(None) == "amqp://any@own"
    assert await routing(Known(**server), "poll").address(None) == "poll://any@own"
    assert await routing(Known(**server)).address(None) == "amqp://any@own"


async def test_an_address_is_used_as_it_is_if_the_server_has_its_transport() -> None:
    known = Known(store_id="s", transports=("poll", "amqp-eu"))
    for address in ("poll://any@g/p", "poll://uni@g/p", "amqp-eu://any@g", "https://hook.example/x"):
        assert await routing(known).address(address) == address
    for address in ("kafka://any@g", "poll://uni@g", "poll://all@g"):
        with pytest.raises(ValueError, match="target"):
            await routing(known).address(address)


async def test_a_server_that_says_nothing_about_itself_decides_which_transports_it_has() -> None:
    assert await routing(Known()).address("nats://any@g") == "nats://any@g"
    with pytest.raises(ValueError, match="target"):
        await routing(Known()).address("nats://all@g")


async def test_the_server_is_asked_only_for_what_it_decides() -> None:
    known = Known()
    route = routing(known)
    await route.address("poll://any@g")
    assert known.asked == 0
    await route.address("g")
    assert known.asked == 1


async def test_another_server_resolves_anew() -> None:
    known = Known()
    route = routing(known, "poll", "amqp")
    assert (route.resolve("g"), route.resolve(None)) == ("poll://any@g", "poll://any@own")
    known.known = ServerFacts(default_transport="amqp", transports=("poll", "amqp"))
    assert (route.resolve("g"), route.resolve(None)) == ("amqp://any@g", "amqp://any@own")


async def test_local_mode_delivers_everything_here() -> None:
    route = routing(Known(), "poll", here="poll://any@own")
    for target in (None, "g", "amqp://any@g", "nats://subject"):
        assert await route.address(target) == "poll://any@own"
