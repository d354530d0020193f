"""S35 over real servers that are killed, hang and come back: what is served beyond its time, and what is not."""

import asyncio

import pytest
from mcp_orchestra import NoMCPAvailableError, ResourceFetchError
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
async def victim():
    """A server in a process of its own, whose answers are fresh for 50 ms."""
    async with ServerProcess(name="victim", resources=2, ttl_ms=50) as process:
        yield process


@pytest.fixture
def lose(until):
    """Kill a server and wait until that was noticed."""

    async def kill(orchestrator, process, server_id="victim"):
        await process.kill()
        await until(lambda: not orchestrator.registry.get_server(server_id).connected)

    return kill


def http(process, **fields):
    return {"transport": process.transport, "url": process.url, **fields}


def stats(orchestrator):
    return orchestrator.get_status()["cache_stats"]


async def is_stale(orchestrator, key="resources:victim"):
    return orchestrator.cache.describe([key])[key]["stale"]


@pytest.mark.parametrize("fail_fast", [False, True])
async def test_s35_a_copy_answers_for_a_server_that_was_killed_until_it_is_back(
    deploy, victim, lose, silent, until, fail_fast
):
    orchestrator = deploy({"victim": http(victim, domains=["d"])}, max_stale=600, fail_fast=fail_fast)
    gathered = await orchestrator.gather_all_resources()
    await lose(orchestrator, victim)
    with silent(victim.port):  # attempts to reconnect hang, and nobody waits for them
        await until(lambda: is_stale(orchestrator))
        async with asyncio.timeout(5):
            for _ in range(3):
                assert await orchestrator.gather_all_resources() == {"Victim": {**gathered["Victim"], "stale": True}}
            assert await orchestrator.get_resources_for_domain("d") == gathered["Victim"]["resources"]
        assert stats(orchestrator)["servers"]["victim"]["stale"] >= 3
    await victim.start()
    await until(lambda: orchestrator.registry.get_server("victim").connected, seconds=60)
    assert await orchestrator.gather_all_resources() == gathered


def listing_may_fail(server, status, fails):
    """Return the server's application; while it ``fails()``, resources are not listed but refused with a status."""
    app = server.app()

    async def answer(scope, receive, send):
        if fails() and scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"resources/list":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return answer


@pytest.mark.parametrize("fail_fast", [False, True])
async def test_s35_a_copy_answers_for_a_server_that_fails_though_it_is_connected(deploy, serving, until, fail_fast):
    server, failing = ScriptedServer("victim", ttl_ms=50), False
    answer = listing_may_fail(server, 503, lambda: failing)
    orchestrator = deploy({"victim": await serving(answer)}, max_stale=600, fail_fast=fail_fast)
    gathered = await orchestrator.gather_all_resources()
    failing = True
    await until(lambda: is_stale(orchestrator))
    assert await orchestrator.gather_all_resources() == {"Victim": {**gathered["Victim"], "stale": True}}
    assert orchestrator.registry.get_server("victim").connected
    failing = False
    assert await orchestrator.gather_all_resources() == gathered


async def test_s35_a_copy_answers_at_once_for_a_server_that_is_left_alone_and_nobody_waits_for_its_probe(
    deploy, serving, until
):
    server, failing = ScriptedServer("victim", ttl_ms=50), False
    answer = listing_may_fail(server, 500, lambda: failing)
    alone = {**await serving(answer), "request_timeout": 60, "failure_threshold": 1, "health_check_interval": 0}
    orchestrator = deploy({"victim": alone}, max_stale=600)
    gathered = await orchestrator.gather_all_resources()
    failing = True
    await until(lambda: is_stale(orchestrator))
    await orchestrator.gather_all_resources()
    assert orchestrator.registry.get_server("victim").state == "circuit_open"
    failing = False
    server.gate.clear()  # from now on it hangs
    async with asyncio.timeout(10):
        for _ in range(3):
            assert await orchestrator.gather_all_resources() == {"Victim": {**gathered["Victim"], "stale": True}}
    await until(lambda: server.requests["resources/list"] == 2)  # it is asked behind the answers
    server._hints["ttl_ms"] = 60_000
    server.gate.set()

    async def fresh():
        return await orchestrator.gather_all_resources() == gathered

    await until(fresh)


async def test_s35_beyond_max_stale_there_is_no_copy_any_more(deploy, victim, serving, lose, silent, until):
    orchestrator = deploy({"victim": http(victim), "other": await serving(ScriptedServer("other"))}, max_stale=2)
    await orchestrator.gather_all_resources()
    await lose(orchestrator, victim)
    with silent(victim.port):

        async def gone():
            gathered = await orchestrator.gather_all_resources()
            assert len(gathered["Other"]["resources"]) == 3
            assert "victim" not in gathered
            if (part := gathered.get("Victim")) is not None:
                assert (len(part["resources"]), part["stale"]) == (2, True)
            return part is None

        await until(gone)
        assert orchestrator.cache.describe(["resources:victim"]) == {}


@pytest.mark.parametrize("fail_fast", [False, True])
async def test_s21_without_max_stale_a_server_that_is_down_is_not_in_the_answer(
    deploy, victim, serving, lose, silent, until, fail_fast
):
    other = await serving(ScriptedServer("other"))
    orchestrator = deploy({"victim": http(victim, domains=["d"]), "other": other}, fail_fast=fail_fast)
    assert set(await orchestrator.gather_all_resources()) == {"Victim", "Other"}
    await lose(orchestrator, victim)
    with silent(victim.port):
        assert set(await orchestrator.gather_all_resources()) == {"Other"}

        async def nobody():
            try:
                await orchestrator.get_resources_for_domain("d")
            except NoMCPAvailableError as error:
                return set(error.context["candidates"]) == {"victim"}

        await until(nobody)  # S24: a copy that is fresh answers before


async def test_s24_a_fresh_copy_answers_for_a_domain_while_its_server_is_down(deploy, serving, lose, silent):
    async with ServerProcess(name="victim", resources=2) as victim:
        other = {**await serving(ScriptedServer("other")), "domains": ["d"], "priority": 500}
        orchestrator = deploy({"victim": http(victim, domains=["d"]), "other": other})
        before = await orchestrator.get_resources_for_domain("d")
        await lose(orchestrator, victim)
        with silent(victim.port):
            assert await orchestrator.get_resources_for_domain("d") == before
            orchestrator.cache.invalidate()
            after = await orchestrator.get_resources_for_domain("d")
            assert {entry["data"] for entry in after.values()} == {f"other text {i}" for i in range(3)}


async def test_s35_for_a_domain_a_fresh_answer_of_another_server_is_preferred(deploy, victim, lose, silent, until):
    async with ServerProcess(name="other", resources=1, ttl_ms=50) as other:
        orchestrator = deploy(
            {"victim": http(victim, domains=["d"], priority=1), "other": http(other, domains=["d"], priority=2)},
            max_stale=600,
        )
        gathered = await orchestrator.gather_all_resources()
        assert await orchestrator.get_resources_for_domain("d") == gathered["Victim"]["resources"]
        await lose(orchestrator, victim)
        with silent(victim.port):
            await until(lambda: is_stale(orchestrator))
            assert await orchestrator.get_resources_for_domain("d") == gathered["Other"]["resources"]
            await lose(orchestrator, other, "other")
            with silent(other.port):
                await until(lambda: is_stale(orchestrator, "resources:other"))
                assert await orchestrator.get_resources_for_domain("d") == gathered["Victim"]["resources"]


async def test_s35_what_a_server_has_said_is_outdated_answers_for_it_once_it_is_down(deploy, lose, silent, until):
    async with ServerProcess(name="victim", resources=1, tools="put") as victim:
        orchestrator = deploy({"victim": http(victim)}, max_stale=600, stale_while_revalidate=600)
        part = (await orchestrator.gather_all_resources())["Victim"]
        await orchestrator.call_tool("put", {"uri": "res://victim/0", "text": "new"})
        await until(lambda: orchestrator.cache.describe(["resources:victim"])["resources:victim"]["outdated"])
        await lose(orchestrator, victim)
        with silent(victim.port):
            assert await orchestrator.gather_all_resources() == {"Victim": {**part, "stale": True}}


@pytest.fixture
async def revalidated(deploy, serving, until):
    """An orchestrator that has a stale copy of a server's, which has changed and whose next answer is held back."""
    server = ScriptedServer("a", resources={"res://one": "old"}, ttl_ms=50)
    orchestrator = deploy({"a": {**await serving(server), "domains": ["d"]}}, stale_while_revalidate=600)
    old = (await orchestrator.gather_all_resources())["A"]
    assert old["resources"]["one"]["data"] == "old"
    await until(lambda: is_stale(orchestrator, "resources:a"))
    server.resources["res://one"] = "new"
    server._hints["ttl_ms"] = 60_000
    server.gate.clear()
    yield server, orchestrator, old
    server.gate.set()


async def test_s35_what_is_being_refreshed_is_served_at_once_and_marked(revalidated, until):
    server, orchestrator, old = revalidated
    async with asyncio.timeout(5):
        for _ in range(5):
            assert await orchestrator.gather_all_resources() == {"A": {**old, "stale": True}}
        assert await orchestrator.get_resources_for_domain("d") == old["resources"]
    await until(lambda: server.requests["resources/list"] == 2)
    server.gate.set()

    async def fresh():
        return "stale" not in (await orchestrator.gather_all_resources())["A"]

    await until(fresh)
    part = (await orchestrator.gather_all_resources())["A"]
    assert part["resources"]["one"]["data"] == "new"
    assert set(part) == {"priority", "domains", "capabilities", "resources"}
    assert (server.requests["resources/list"], server.requests["resources/read"]) == (2, 2)


async def test_s34_a_thousand_gathers_of_what_is_stale_cause_one_refresh(revalidated, until):
    server, orchestrator, old = revalidated
    answers = await asyncio.gather(*(orchestrator.gather_all_resources() for _ in range(1000)))
    assert all(answer == {"A": {**old, "stale": True}} for answer in answers)
    server.gate.set()
    await until(lambda: orchestrator.cache.get("resources:a"))
    assert (server.requests["resources/list"], server.requests["resources/read"]) == (2, 2)
    assert (await orchestrator.gather_all_resources())["A"]["resources"]["one"]["data"] == "new"


async def test_s35_an_orchestrator_can_be_closed_while_it_refreshes(revalidated, leftovers, until):
    server, orchestrator, old = revalidated
    assert await orchestrator.gather_all_resources() == {"A": {**old, "stale": True}}
    await until(lambda: server.requests["resources/list"] == 2)
    async with asyncio.timeout(5):
        await orchestrator.close()
    await until(lambda: not any(name.startswith(("refresh", "mcp-")) for name in leftovers()["tasks"]))


async def test_s35_a_refresh_that_fails_leaves_the_copy_and_is_tried_again(deploy, serving, until):
    server, failing = ScriptedServer("a", resources={"res://one": "old"}, ttl_ms=50), 0

    async def answer(scope, receive, send):
        nonlocal failing
        if failing and scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"resources/list":
            failing -= 1
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    app = server.app()
    orchestrator = deploy({"a": await serving(answer)}, stale_while_revalidate=600, fail_fast=True)
    old = (await orchestrator.gather_all_resources())["A"]
    failing, server.resources["res://one"], server._hints["ttl_ms"] = 2, "new", 60_000
    await until(lambda: is_stale(orchestrator, "resources:a"))

    async def fresh():
        part = (await orchestrator.gather_all_resources())["A"]
        assert part in ({**old, "stale": True}, {**old, "resources": part["resources"]})
        return "stale" not in part and part

    assert (await until(fresh))["resources"]["one"]["data"] == "new"
    assert failing == 0


async def test_s21_without_max_stale_a_failed_fetch_is_an_error(deploy, serving, until):
    server, failing = ScriptedServer("a", ttl_ms=50), False

    async def answer(scope, receive, send):
        if failing and scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"resources/list":
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    app = server.app()
    fields = {"a": await serving(answer)}
    patient, strict = deploy(fields), deploy(fields, fail_fast=True)
    for orchestrator in (patient, strict):
        await orchestrator.gather_all_resources()
    failing = True
    for orchestrator in (patient, strict):
        await until(lambda one=orchestrator: one.cache.get("resources:a") is None)
    part = (await patient.gather_all_resources())["A"]
    assert part["resources"] == {}
    assert "503" in part["error"]
    with pytest.raises(ResourceFetchError) as caught:
        await strict.gather_all_resources()
    assert caught.value.context["server"] == "A"
