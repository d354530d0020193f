"""Plug-ins as they are installed: found, isolated from each other, disabled, in conflict."""

import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest
from mcp_orchestra import ConfigurationError, PluginError, PluginInfo, PluginManager, TransportSpec, hookimpl

GOOD = """
    from mcp_orchestra import TransportSpec, hookimpl

    @hookimpl
    def mcp_orchestra_transports():
        yield TransportSpec(name="{name}", open=lambda endpoint: None, aliases={aliases!r})
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution of one module, the way pip leaves it on disk."""

    def install(
        distribution: str,
        source: str,
        *,
        plugin: str | None = None,
        entry: str | None = None,
        version: str = "1.0",
        folder: str = "site",
        entry_points: bool = True,
    ) -> Path:
        site = tmp_path / folder
        module = distribution.replace("-", "_")
        metadata = site / f"{module}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(
            f"import os\nos.environ['IMPORTED'] += ' {distribution}'\n" + dedent(source), encoding="utf-8"
        )
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        if entry_points:
            (metadata / "entry_points.txt").write_text(
                f"[mcp_orchestra]\n{plugin or distribution} = {entry or module}\n", encoding="utf-8"
            )
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        return site

    monkeypatch.setenv("IMPORTED", "")
    monkeypatch.delenv("MCP_ORCHESTRA_DISABLE_PLUGINS", raising=False)
    before = set(sys.modules)
    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def good(name: str, aliases: tuple[str, ...] = ()) -> str:
    return GOOD.format(name=name, aliases=aliases)


def plugin_of_this_process(name: str):
    class Plugin:
        def open_it(self, endpoint):
            raise AssertionError("nothing is opened here")

        @hookimpl
        def mcp_orchestra_transports(self):
            yield TransportSpec(name=name, open=self.open_it)

    return Plugin()


def imported() -> list[str]:
    return os.environ["IMPORTED"].split()


def discovered(**arguments) -> PluginManager:
    manager = PluginManager(**arguments)
    manager.discover()
    return manager


def info_of(manager: PluginManager, name: str) -> PluginInfo:
    (info,) = (info for info in manager.installed() if info.name == name)
    return info


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "mcp_orchestra.plugins"]


# Finding


def test_an_installed_plugin_is_active_and_what_it_offers_can_be_had_by_name(install: Install):
    install("acme-tcp", good("tcp"), plugin="tcp", version="2.1")
    manager = discovered()
    assert info_of(manager, "tcp") == PluginInfo(
        name="tcp",
        module="acme_tcp",
        distribution="acme-tcp",
        version="2.1",
        state="active",
        reason=None,
        offers=("transport tcp",),
    )
    assert manager.transport("tcp").name == "tcp"
    assert manager.transport("tcp") in manager.transports()


@pytest.mark.parametrize("alias", ["tcp_http", "tcpHttp", "web-tcp"])
def test_a_transport_is_found_by_its_aliases(install: Install, alias: str):
    install("acme-tcp", good("tcp-http", ("tcp_http", "tcpHttp", "web-tcp")))
    assert discovered().transport(alias).name == "tcp-http"


def test_an_entry_point_may_lead_to_an_object_in_a_module(install: Install):
    source = """
        from mcp_orchestra import TransportSpec, hookimpl

        class Plugin:
            @hookimpl
            def mcp_orchestra_transports(self):
                return [TransportSpec(name="tcp", open=print)]

        class Holder:
            plugin = Plugin()
    """
    install("acme-tcp", source, entry="acme_tcp:Holder.plugin")
    assert info_of(discovered(), "acme-tcp").offers == ("transport tcp",)


def test_nothing_is_imported_before_discovery_and_nothing_twice(install: Install):
    install("acme-tcp", good("tcp") + "\n    os.environ['IMPORTED'] += ' end'")
    manager = PluginManager()
    assert imported() == []
    assert manager.installed() == []
    manager.discover()
    manager.discover()
    assert imported() == ["acme-tcp", "end"]
    assert len([info for info in manager.installed() if info.name == "acme-tcp"]) == 1


def test_a_hook_is_asked_once_for_each_manager(install: Install):
    source = """
        from mcp_orchestra import TransportSpec, hookimpl

        @hookimpl
        def mcp_orchestra_transports():
            os.environ["IMPORTED"] += " asked"
            yield TransportSpec(name="tcp", open=print)
    """
    install("acme-tcp", source)
    manager = discovered()
    manager.discover()
    manager.transport("tcp")
    manager.transports()
    assert imported().count("asked") == 1
    discovered()
    assert imported().count("asked") == 2


def test_plugins_are_imported_in_the_order_of_their_names(install: Install):
    for distribution, plugin in [("acme-b", "zz-1"), ("acme-c", "zz-0"), ("acme-a", "zz-2")]:
        install(distribution, good(distribution), plugin=plugin)
    manager = discovered()
    assert imported() == ["acme-c", "acme-b", "acme-a"]
    assert [info.name for info in manager.installed() if info.name.startswith("zz")] == ["zz-0", "zz-1", "zz-2"]


def test_a_distribution_that_is_on_the_path_twice_counts_once_where_it_is_imported_from(install: Install):
    install("acme-tcp", good("old"), version="1.0", folder="wheels")
    editable = install("Acme.TCP", "", plugin="acme-tcp", entry="acme_tcp", version="2.0", folder="checkout")
    (editable / "Acme.TCP.py").unlink()
    (editable / "acme_tcp.py").write_text(dedent(good("new")), encoding="utf-8")
    info = info_of(discovered(), "acme-tcp")
    assert (info.version, info.state, info.offers) == ("2.0", "active", ("transport new",))


def test_a_distribution_that_hides_another_of_its_name_hides_its_plugins_too(install: Install):
    install("acme-tcp", good("old"), version="1.0", folder="wheels")
    install("Acme.TCP", "", version="2.0", folder="checkout", entry_points=False)
    assert [info.name for info in discovered().installed() if info.name == "acme-tcp"] == []
    assert imported() == []


def test_threads_that_discover_at_once_find_each_plugin_once_and_imported(install: Install):
    for number in range(5):
        install(f"acme-{number}", good(f"tcp-{number}"))
    expected = {f"tcp-{number}" for number in range(5)}
    manager = PluginManager()
    start = threading.Barrier(4, timeout=20)

    def discover() -> set[str]:
        start.wait()
        manager.discover()
        return expected & {spec.name for spec in manager.transports()}

    with ThreadPoolExecutor(4) as threads:
        seen = [future.result(20) for future in [threads.submit(discover) for _ in range(4)]]
    assert seen == [expected] * 4
    assert sorted(imported()) == [f"acme-{number}" for number in range(5)]


@pytest.mark.parametrize("damage", [b"[mcp_orchestra]\nno equals sign\n", b"[mcp_orchestra]\ntcp = \xff\n"])
def test_a_distribution_with_damaged_entry_points_is_left_out_with_a_warning(
    install: Install, caplog: pytest.LogCaptureFixture, damage: bytes
):
    site = install("acme-bad", good("bad"))
    (site / "acme_bad-1.0.dist-info" / "entry_points.txt").write_bytes(damage)
    install("acme-tcp", good("tcp"))
    manager = discovered()
    assert info_of(manager, "acme-tcp").state == "active"
    assert [message for message in warnings_in(caplog) if "distribution acme-bad cannot be read" in message]


def test_a_distribution_without_metadata_is_left_out_with_a_warning(install: Install, caplog: pytest.LogCaptureFixture):
    site = install("acme-bad", good("bad"))
    (site / "acme_bad-1.0.dist-info" / "METADATA").unlink()
    install("acme-tcp", good("tcp"))
    manager = discovered()
    assert info_of(manager, "acme-tcp").state == "active"
    assert [message for message in warnings_in(caplog) if "distribution without a name cannot be read" in message]
    assert imported() == ["acme-tcp"]


# Isolation


def hook(*body: str, marker: str = "@hookimpl", signature: str = "def mcp_orchestra_transports()") -> str:
    """Return a plug-in with one hook; the body begins in line 6 of the module."""
    lines = [f"    {line}" for line in body]
    return "\n".join(
        ["from mcp_orchestra import CacheBackendSpec, TransportSpec, hookimpl", marker, f"{signature}:", *lines]
    )


BROKEN = {
    "needs a module that is not installed": (
        "import surely_not_there",
        "it needs the module 'surely_not_there', which is not installed",
    ),
    "needs a later core": (
        "import mcp_orchestra.telepathy",
        "it needs 'mcp_orchestra.telepathy', which this version of mcp-orchestra does not have",
    ),
    "imports a name that is not there": (
        "from mcp_orchestra import TelepathySpec",
        "something that it imports from 'mcp_orchestra' is not there or cannot be loaded: "
        "the installed versions may not fit together",
    ),
    "is not Python": (
        "def (:",
        f"line 3 of acme_broken.py is not valid Python {sys.version_info.major}.{sys.version_info.minor}",
    ),
    "exits while imported": ("import sys; sys.exit(3)", "it tries to exit the interpreter while it is imported"),
    "raises while imported": (
        "raise RuntimeError('hunter2')",
        "it raises RuntimeError while it is imported (acme_broken, line 3)",
    ),
    "implements a hook of a later core": (
        hook("yield", signature="def mcp_orchestra_transport()"),
        "it implements the hook mcp_orchestra_transport, which this version of mcp-orchestra does not have; "
        "did you mean 'mcp_orchestra_transports'?",
    ),
    "asks for an unknown argument": (
        hook("yield", signature="def mcp_orchestra_transports(config)"),
        "its hook mcp_orchestra_transports asks for 'config', an argument that the hook does not have",
    ),
    "raises what is no Exception while imported": (
        "import asyncio; raise asyncio.CancelledError('hunter2')",
        "it raises CancelledError while it is imported (acme_broken, line 3)",
    ),
    "skips itself like a test": (
        "import pytest; pytest.skip('hunter2', allow_module_level=True)",
        "it raises Skipped while it is imported (acme_broken, line 3)",
    ),
    "raises in the hook": (
        hook("return int('hunter2')"),
        "it raises ValueError in its hook mcp_orchestra_transports (acme_broken, line 6)",
    ),
    "raises in the hook after a good record": (
        hook("yield TransportSpec(name='half', open=print)", "raise LookupError('hunter2')"),
        "it raises LookupError in its hook mcp_orchestra_transports (acme_broken, line 7)",
    ),
    "raises what is no Exception in the hook": (
        hook("raise GeneratorExit('hunter2')"),
        "it raises GeneratorExit in its hook mcp_orchestra_transports (acme_broken, line 6)",
    ),
    "exits in the hook": (
        hook("raise SystemExit"),
        "it tries to exit the interpreter in its hook mcp_orchestra_transports",
    ),
    "yields junk": (
        hook("yield {'name': 'tcp'}"),
        "its hook mcp_orchestra_transports yields a dict where a TransportSpec belongs",
    ),
    "yields another hook's record": (
        hook("yield CacheBackendSpec(name='tcp', open=print)"),
        "its hook mcp_orchestra_transports yields a CacheBackendSpec where a TransportSpec belongs",
    ),
    "returns one record": (
        hook("return TransportSpec(name='tcp', open=print)"),
        "its hook mcp_orchestra_transports returns a TransportSpec: yield TransportSpec records instead",
    ),
    "wraps a hook": (
        hook("return (yield)", marker="@hookimpl(wrapper=True)"),
        "it wraps the hook mcp_orchestra_transports: hooks only describe, so there is nothing to wrap",
    ),
    "wraps a hook in the old way": (
        hook("yield", marker="@hookimpl(hookwrapper=True)"),
        "it wraps the hook mcp_orchestra_transports: hooks only describe, so there is nothing to wrap",
    ),
    "has a coroutine for a hook": (
        hook("return []", signature="async def mcp_orchestra_transports()"),
        "its hook mcp_orchestra_transports is asynchronous: hooks only describe and are never awaited",
    ),
    "has an asynchronous generator for a hook": (
        hook("yield", signature="async def mcp_orchestra_transports()"),
        "its hook mcp_orchestra_transports is asynchronous: hooks only describe and are never awaited",
    ),
    "forgot to mark its hook": (
        hook("yield", marker=""),
        "its hook mcp_orchestra_transports is not marked: write @hookimpl above it",
    ),
    "gives a bad name": (
        hook("yield TransportSpec(name='My TCP', open=print)"),
        "it names a transport 'My TCP': a name is lower-case letters and digits, in words joined by hyphens",
    ),
    "gives no text for a name": (
        hook("yield TransportSpec(name=None, open=print)"),
        "it names a transport None: a name is lower-case letters and digits, in words joined by hyphens",
    ),
    "forgot the comma of a tuple": (
        hook("yield TransportSpec(name='tcp', open=print, aliases=('raw'))"),
        "the aliases of its transport 'tcp' are 'raw': "
        "aliases are a tuple of words of letters, digits, hyphens and underscores",
    ),
    "gives a factory that cannot be called": (
        hook("yield TransportSpec(name='tcp', open='tcp')"),
        "'open' of its transport 'tcp' cannot be called",
    ),
    "gives options that are no model": (
        hook("yield TransportSpec(name='tcp', open=print, options=dict)"),
        "'options' of its transport 'tcp' is not a pydantic model",
    ),
    "gives options that only look like a model": (
        hook(
            "Options = type('Options', (), {'model_validate': None})",
            "yield TransportSpec(name='tcp', open=print, options=Options)",
        ),
        "'options' of its transport 'tcp' is not a pydantic model",
    ),
    "gives a text for a flag": (
        hook("yield TransportSpec(name='tcp', open=print, legacy_only='no')"),
        "'legacy_only' of its transport 'tcp' is 'no': it must be True or False",
    ),
    "gives a number for a text": (
        hook("yield TransportSpec(name='tcp', open=print, deprecated=5)"),
        "'deprecated' of its transport 'tcp' is 5: it must be a text or None",
    ),
    "offers one name twice, without end": (
        hook("while True:", "    yield TransportSpec(name='tcp', open=print)"),
        "it offers the transport 'tcp' twice",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_plugin_is_failed_and_the_others_load_when_it(
    install: Install, caplog: pytest.LogCaptureFixture, source: str, reason: str
):
    install("acme-broken", source, plugin="broken", version="0.3")
    install("acme-after", good("after"), plugin="zz-after")
    manager = discovered()
    assert info_of(manager, "broken") == PluginInfo(
        name="broken",
        module="acme_broken",
        distribution="acme-broken",
        version="0.3",
        state="failed",
        reason=reason,
        offers=(),
    )
    assert info_of(manager, "zz-after").state == "active"
    warned = [message for message in warnings_in(caplog) if "broken" in message]
    assert warned == [f"the plug-in 'broken' (acme-broken 0.3) cannot be used: {reason}"]
    assert "half" not in [spec.name for spec in manager.transports()]
    assert "hunter2" not in caplog.text  # neither the exception's text nor its traceback


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("no_such_module", "its module 'no_such_module' is not there: reinstall it"),
        ("acme_tcp.deeper", "its module 'acme_tcp.deeper' is not there: reinstall it"),
        ("acme_tcp:nobody", "its entry point 'acme_tcp:nobody' leads nowhere"),
        ("acme_tcp:nothing", "its entry point leads to None"),
        ("not a module!", "its entry point 'not a module!' is not the name of a module"),
    ],
)
def test_a_plugin_whose_entry_point_leads_nowhere_is_failed(install: Install, entry: str, reason: str):
    install("acme-tcp", "nothing = None", entry=entry)
    info = info_of(discovered(), "acme-tcp")
    assert (info.state, info.reason) == ("failed", reason)


def test_a_hook_of_a_later_core_that_is_marked_optional_does_no_harm(install: Install):
    later = "\n    @hookimpl(optionalhook=True)\n    def mcp_orchestra_telepathy(minds):\n        yield\n"
    install("acme-tcp", good("tcp") + later)
    assert info_of(discovered(), "acme-tcp").offers == ("transport tcp",)


@pytest.mark.parametrize("place", ["while imported", "in the hook"])
def test_an_interrupt_passes_and_discovery_can_be_repeated(
    install: Install, monkeypatch: pytest.MonkeyPatch, place: str
):
    interrupt = "if os.environ.get('INTERRUPT'): raise KeyboardInterrupt"
    if place == "in the hook":
        source = good("tcp").replace("yield", f"{interrupt}\n        yield")
    else:
        source = f"\n    {interrupt}" + good("tcp")
    install("acme-tcp", source)
    monkeypatch.setenv("INTERRUPT", "1")
    manager = PluginManager()
    with pytest.raises(KeyboardInterrupt):
        manager.discover()
    assert manager.installed() == []
    monkeypatch.delenv("INTERRUPT")
    manager.discover()
    assert info_of(manager, "acme-tcp").state == "active"


def test_strict_mode_makes_a_failed_plugin_an_error_with_its_cause(install: Install):
    install("acme-broken", "raise RuntimeError('hunter2')", plugin="broken", version="0.3")
    with pytest.raises(PluginError) as caught:
        discovered(strict=True)
    error = caught.value
    assert isinstance(error, ConfigurationError)
    assert "'broken' (acme-broken 0.3) cannot be used: it raises RuntimeError while it is imported" in str(error)
    assert "MCP_ORCHESTRA_DISABLE_PLUGINS=broken" in str(error)
    assert "hunter2" not in str(error)
    assert error.context["plugins"] == ["broken"]
    assert error.context["distributions"] == ["acme-broken"]
    assert isinstance(error.__cause__, RuntimeError)


def test_strict_mode_fails_again_when_discovery_is_repeated(install: Install):
    install("acme-broken", "import surely_not_there")
    manager = PluginManager(strict=True)
    for _ in range(2):
        with pytest.raises(PluginError, match="surely_not_there"):
            manager.discover()


def test_strict_mode_does_not_mind_a_broken_plugin_that_is_disabled(install: Install):
    install("acme-broken", "import surely_not_there", plugin="broken")
    assert info_of(discovered(strict=True, disabled=["broken"]), "broken").state == "disabled"


# Disabling


def test_a_disabled_plugin_is_not_imported(install: Install):
    install("acme-tcp", good("tcp"), plugin="tcp")
    manager = discovered(disabled=["tcp"])
    assert imported() == []
    info = info_of(manager, "tcp")
    assert (info.state, info.reason, info.offers) == ("disabled", "switched off by the configuration", ())
    assert info.distribution == "acme-tcp"


def test_a_plugin_can_be_disabled_by_the_name_of_its_distribution(install: Install):
    install("acme-tcp", good("tcp"), plugin="tcp")
    assert info_of(discovered(disabled=["Acme_TCP"]), "tcp").state == "disabled"
    assert imported() == []


def test_plugins_can_be_disabled_by_the_environment(install: Install, monkeypatch: pytest.MonkeyPatch):
    for name in ("one", "two", "three"):
        install(f"acme-{name}", good(name), plugin=name)
    monkeypatch.setenv("MCP_ORCHESTRA_DISABLE_PLUGINS", " one, ,three,")
    manager = discovered(disabled=["three"])
    assert imported() == ["acme-two"]
    assert info_of(manager, "one").reason == "switched off by MCP_ORCHESTRA_DISABLE_PLUGINS"
    assert info_of(manager, "three").reason == "switched off by the configuration"


def test_disabling_what_is_not_there_warns_and_says_what_was_meant(install: Install, caplog: pytest.LogCaptureFixture):
    install("acme-tcp", good("tcp"), plugin="acme-wire")
    discovered(disabled=["ACME-wires", "acme-wire"])
    assert warnings_in(caplog) == [
        "there is no plug-in 'ACME-wires' to switch off, as the configuration asks; did you mean 'acme-wire'?"
    ]


# Conflicts


def test_two_distributions_with_one_plugin_name_are_an_error_and_neither_is_imported(install: Install):
    install("acme-tcp", good("tcp"), plugin="tcp", version="1.0")
    install("zenith-tcp", good("udp"), plugin="tcp", version="2.0")
    manager = PluginManager()
    with pytest.raises(PluginError) as caught:
        manager.discover()
    assert str(caught.value) == (
        "two plug-ins have one name: 'tcp' (acme-tcp 1.0) and 'tcp' (zenith-tcp 2.0): uninstall one, or switch it off "
        "by its distribution: plugins: {disabled: [zenith-tcp]} in the configuration, or "
        "MCP_ORCHESTRA_DISABLE_PLUGINS=zenith-tcp"
    )
    assert caught.value.context["distributions"] == ["acme-tcp", "zenith-tcp"]
    assert imported() == []
    listed = [(info.distribution, info.state) for info in manager.installed() if info.name == "tcp"]
    assert listed == [("acme-tcp", "failed"), ("zenith-tcp", "failed")]


def test_the_advice_for_two_plugins_of_one_name_works(install: Install):
    install("acme-tcp", good("tcp"), plugin="tcp")
    install("zenith-tcp", good("udp"), plugin="tcp")
    manager = discovered(disabled=["zenith-tcp"])
    assert manager.transport("tcp").name == "tcp"
    assert imported() == ["acme-tcp"]


def test_two_plugins_that_offer_one_transport_are_an_error_that_names_both(install: Install):
    install("acme-tcp", good("tcp"), plugin="acme", version="1.0")
    install("zenith-tcp", good("tcp"), plugin="zenith", version="2.0")
    manager = PluginManager()
    for attempt in (manager.discover, manager.discover, lambda: manager.transport("tcp"), manager.cache_backends):
        with pytest.raises(PluginError) as caught:
            attempt()
        assert str(caught.value) == (
            "two plug-ins offer the transport 'tcp': 'acme' (acme-tcp 1.0) and 'zenith' (zenith-tcp 2.0): switch one "
            "off: plugins: {disabled: [zenith]} in the configuration, or MCP_ORCHESTRA_DISABLE_PLUGINS=zenith"
        )
    assert {"acme", "zenith"} <= {info.name for info in manager.installed()}
    assert discovered(disabled=["zenith"]).transport("tcp").name == "tcp"


def test_a_name_and_an_alias_that_are_equal_are_a_conflict_too(install: Install):
    install("acme-tcp", good("tcp", ("raw", "wire")), plugin="acme")
    install("zenith-raw", good("raw", ("wire",)), plugin="zenith")
    with pytest.raises(PluginError, match="offer the transport 'raw' and the transport 'wire': 'acme'"):
        discovered()


def test_one_name_for_different_things_is_no_conflict(install: Install):
    backend = """
        from mcp_orchestra import CacheBackendSpec, hookimpl

        @hookimpl
        def mcp_orchestra_cache_backends():
            yield CacheBackendSpec(name="tcp", open=print)
    """
    install("acme-tcp", good("tcp"))
    install("zenith-tcp", backend)
    manager = discovered()
    assert manager.transport("tcp").name == "tcp"
    assert manager.cache_backend("tcp").name == "tcp"


def test_an_installed_plugin_does_not_displace_one_registered_in_this_process_under_its_name(install: Install):
    install("acme-tcp", good("udp"), plugin="tcp", version="1.0")
    manager = PluginManager()
    manager.register(plugin_of_this_process("tcp"), "tcp")
    with pytest.raises(PluginError) as caught:
        manager.discover()
    assert str(caught.value).startswith(
        "two plug-ins have one name: 'tcp' (registered in this process) and 'tcp' (acme-tcp 1.0): uninstall one, or "
        "switch it off by its distribution: plugins: {disabled: [acme-tcp]}"
    )
    assert imported() == []


def test_an_installed_plugin_is_replaced_by_disabling_it_and_registering_another(install: Install):
    install("acme-tcp", good("tcp"), plugin="acme")
    manager = PluginManager(disabled=["acme"])
    mine = plugin_of_this_process("tcp")
    manager.register(mine, "mine")
    manager.discover()
    assert manager.transport("tcp").open == mine.open_it


def test_a_plugin_registered_after_discovery_may_not_claim_what_is_offered_already(install: Install):
    install("acme-tcp", good("tcp"), plugin="acme")
    manager = discovered()
    before = manager.installed()
    with pytest.raises(
        PluginError, match=r"two plug-ins offer the transport 'tcp': 'acme' \(acme-tcp 1\.0\) and 'mine'"
    ):
        manager.register(plugin_of_this_process("tcp"), "mine")
    assert manager.installed() == before


# Asking for what is not there


def test_an_unknown_name_lists_what_there_is_and_suspects_what_is_not_active(install: Install):
    install("acme-tcp", good("tcp", ("raw-socket",)), plugin="acme")
    install("acme-broken", "import surely_not_there", plugin="broken", version="0.3")
    install("acme-off", good("off"), plugin="off")
    manager = discovered(disabled=["off"])
    with pytest.raises(PluginError) as caught:
        manager.transport("RAW-sockets")
    message = str(caught.value)
    names = [spec.name for spec in manager.transports()]
    assert message.startswith(f"unknown transport 'RAW-sockets' (installed: {', '.join(names)}); ")
    assert (
        "it may be in the plug-in 'broken' (acme-broken 0.3), which is failed: it needs the module 'surely_not_there', "
        "which is not installed"
    ) in message
    assert "'off' (acme-off 1.0), which is disabled: switched off by the configuration" in message
    assert message.endswith("; did you mean 'raw-socket'?")
    assert caught.value.context["installed"] == names
    assert set(caught.value.context["plugins"]) >= {"broken", "off"}


def test_before_discovery_an_unknown_name_says_that_nobody_has_looked():
    with pytest.raises(PluginError) as caught:
        PluginManager().routing_policy("priority")
    assert str(caught.value) == (
        "unknown routing policy 'priority' (none is installed); "
        "installed plug-ins have not been looked for: call discover()"
    )


def test_a_failed_plugin_leaves_the_log_of_the_root_alone(install: Install):
    before = logging.getLogger().level, list(logging.getLogger().handlers)
    install("acme-broken", "import surely_not_there")
    discovered()
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before
