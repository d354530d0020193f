"""The three hooks, asked through plug-ins that are registered in this process; and what their declarations promise."""

import asyncio
from inspect import cleandoc
from textwrap import dedent
from types import ModuleType, SimpleNamespace

import pluggy
import pytest
from mcp_orchestra import (
    CacheBackendSpec,
    PluginError,
    PluginManager,
    RoutingPolicySpec,
    TransportSpec,
    hookimpl,
    hookspecs,
)

HOOKS = [
    name
    for name in dir(hookspecs)
    if pluggy.PluginManager(hookspecs.PROJECT).parse_hookspec_opts(hookspecs, name) is not None
]


def offering(**hooks) -> SimpleNamespace:
    """Return a plug-in whose hooks return these lists."""

    def hook(records):
        return hookimpl(lambda: records)

    return SimpleNamespace(**{f"mcp_orchestra_{name}": hook(records) for name, records in hooks.items()})


def test_hook_transports():
    manager = PluginManager()
    tcp = TransportSpec(name="tcp", open=print, aliases=("raw",), legacy_only=True)
    ws = TransportSpec(name="a-ws", open=print)
    manager.register(offering(transports=[tcp, ws]), "mine")
    assert manager.transports() == [ws, tcp]
    assert manager.transport("tcp") is tcp
    assert manager.transport("raw") is tcp
    assert manager.cache_backends() == []
    assert manager.installed()[0].offers == ("transport tcp", "transport a-ws")


def test_hook_cache_backends():
    manager = PluginManager()
    shelf = CacheBackendSpec(name="shelf", open=print, blocking=False)
    attic = CacheBackendSpec(name="attic", open=print)
    manager.register(offering(cache_backends=[shelf, attic]), "mine")
    assert manager.cache_backends() == [attic, shelf]
    assert manager.cache_backend("shelf") is shelf
    assert manager.installed()[0].offers == ("cache backend shelf", "cache backend attic")
    with pytest.raises(PluginError, match=r"unknown cache backend 'shelv' \(installed: attic, shelf\).*mean 'shelf'"):
        manager.cache_backend("shelv")


def test_hook_routing_policies():
    manager = PluginManager()
    dice = RoutingPolicySpec(name="dice", create=print, stateful=True)
    coin = RoutingPolicySpec(name="coin", create=print)
    manager.register(offering(routing_policies=[dice, coin]), "mine")
    assert manager.routing_policies() == [coin, dice]
    assert manager.routing_policy("dice") is dice
    assert manager.installed()[0].offers == ("routing policy dice", "routing policy coin")
    with pytest.raises(PluginError, match=r"unknown routing policy 'tcp' \(installed: coin, dice\)"):
        manager.routing_policy("tcp")


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_test(hook: str):
    assert f"test_hook_{hook.removeprefix('mcp_orchestra_')}" in globals()


def test_the_hooks_are_found():
    assert HOOKS == [
        "mcp_orchestra_cache_backends",
        "mcp_orchestra_routing_policies",
        "mcp_orchestra_transports",
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_each_hook_is_a_complete_plugin(hook: str):
    documentation = cleandoc(getattr(hookspecs, hook).__doc__)
    plugin = ModuleType("mcp_orchestra_example")
    exec(dedent(documentation.partition("Example::")[2]), vars(plugin))
    manager = PluginManager()
    manager.register(plugin, "example")
    kind = hook.removeprefix("mcp_orchestra_").replace("_", " ")
    (offer,) = manager.installed()[0].offers
    assert kind.startswith(offer.rpartition(" ")[0].removesuffix("y"))


def test_the_quick_start_is_a_complete_plugin():
    source = hookspecs.__doc__.partition("# mcp_orchestra_tcp/__init__.py\n")[2].partition("\nHooks only describe")[0]
    plugin = ModuleType("mcp_orchestra_tcp")
    exec(dedent(source), vars(plugin))
    manager = PluginManager()
    manager.register(plugin, "tcp")
    assert manager.transport("tcp").open is plugin.open_tcp


def test_a_plugin_may_implement_several_hooks_and_offer_nothing_in_some():
    manager = PluginManager()
    tcp = TransportSpec(name="tcp", open=print)
    manager.register(offering(transports=[tcp], cache_backends=[], routing_policies=None), "mine")
    assert manager.installed()[0].offers == ("transport tcp",)


def test_a_record_may_be_of_a_derived_type():
    class Special(TransportSpec):
        pass

    manager = PluginManager()
    manager.register(offering(transports=[Special(name="tcp", open=print)]), "mine")
    assert manager.installed()[0].offers == ("transport tcp",)


def test_a_registered_plugin_that_cannot_be_used_is_an_error_and_is_not_added():
    manager = PluginManager()
    with pytest.raises(PluginError) as caught:
        manager.register(offering(transports=["tcp"]), "mine")
    assert str(caught.value) == (
        "the plug-in 'mine' (registered in this process) cannot be used: "
        "its hook mcp_orchestra_transports yields a str where a TransportSpec belongs"
    )
    assert manager.installed() == []


def test_registered_plugins_of_one_name_are_an_error_and_the_first_stays():
    manager = PluginManager()
    tcp = TransportSpec(name="tcp", open=print)
    manager.register(offering(transports=[tcp]), "mine")
    with pytest.raises(PluginError, match=r"two plug-ins have one name: 'mine'.*give one of them another name"):
        manager.register(offering(), "mine")
    assert manager.transports() == [tcp]


def test_registered_plugins_that_offer_one_policy_are_an_error_and_the_first_stays():
    manager = PluginManager()
    dice = RoutingPolicySpec(name="dice", create=print)
    manager.register(offering(routing_policies=[dice]), "mine")
    with pytest.raises(PluginError, match=r"two plug-ins offer the routing policy 'dice': 'mine'.*'yours'"):
        manager.register(offering(routing_policies=[RoutingPolicySpec(name="dice", create=repr)]), "yours")
    assert manager.routing_policies() == [dice]


@pytest.mark.parametrize(
    ("hooks", "flag"),
    [
        ({"transports": [TransportSpec(name="bad", open=print, spawns_process="no")]}, "spawns_process"),
        ({"cache_backends": [CacheBackendSpec(name="bad", open=print, blocking="no")]}, "blocking"),
        ({"cache_backends": [CacheBackendSpec(name="bad", open=print, persistent=1)]}, "persistent"),
        ({"routing_policies": [RoutingPolicySpec(name="bad", create=print, stateful=None)]}, "stateful"),
    ],
)
def test_a_flag_that_is_neither_true_nor_false_is_refused(hooks: dict, flag: str):
    with pytest.raises(PluginError, match=f"'{flag}' of its .* 'bad' is .*: it must be True or False"):
        PluginManager().register(offering(**hooks), "mine")


def test_whatever_a_registered_plugin_raises_is_an_error_of_ours():
    class Mine:
        @hookimpl
        def mcp_orchestra_transports(self):
            raise asyncio.CancelledError

    with pytest.raises(PluginError, match="raises CancelledError in its hook mcp_orchestra_transports"):
        PluginManager().register(Mine(), "mine")


def test_looking_something_up_among_many_plugins_does_not_compare_each_with_each():
    read = []

    class Watched(TransportSpec):
        def __getattribute__(self, name: str) -> object:
            if name == "aliases":
                read.append(self)
            return super().__getattribute__(name)

    manager = PluginManager()
    for number in range(50):
        manager.register(offering(transports=[Watched(name=f"t{number}", open=print)]), f"p{number}")
    read.clear()
    assert manager.transport("t49").name == "t49"
    assert len(read) <= 5 * 50


def test_a_registered_plugin_whose_name_is_disabled_is_listed_and_not_asked():
    manager = PluginManager(disabled=["mine"])
    manager.register(offering(transports=["would be refused"]), "mine")
    (info,) = manager.installed()
    assert (info.state, info.reason) == ("disabled", "switched off by the configuration")
    assert manager.transports() == []


def test_managers_do_not_share_what_is_registered():
    one, other = PluginManager(), PluginManager()
    one.register(offering(transports=[TransportSpec(name="tcp", open=print)]), "mine")
    assert other.transports() == []
    assert other.installed() == []


def test_the_lists_are_the_callers_own():
    manager = PluginManager()
    manager.register(offering(transports=[TransportSpec(name="tcp", open=print)]), "mine")
    manager.transports().clear()
    manager.installed().clear()
    assert manager.transport("tcp").name == "tcp"
    assert len(manager.installed()) == 1
