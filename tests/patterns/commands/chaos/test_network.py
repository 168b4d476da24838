"""Where the processes of the chaos live."""

import os
import shutil

import pytest

from patterns.commands.chaos.network import Loopback, Namespaces, NetworkFailed, open_network


async def test_on_loopback_everybody_has_one_host_and_ports_of_his_own():
    network = Loopback()
    assert await network.place("primary") == await network.place("backup") == network.hub
    first, second = network.ports(3), network.ports(4)
    assert not set(first) & set(second)
    assert network.command("primary") == ()
    assert not network.plugs
    with pytest.raises(NotImplementedError):
        await network.plug("primary", False)
    await network.close()


async def test_without_namespaces_it_is_loopback():
    assert isinstance(await open_network(namespaces=False), Loopback)


@pytest.mark.skipif(
    bool(os.geteuid()) or shutil.which("ip") is None, reason="takes root and the command `ip`"
)
async def test_each_has_a_namespace_which_is_removed_in_the_end():
    network = Namespaces()
    try:
        await network.open()
        host = await network.place("primary")
    except NetworkFailed as failure:
        pytest.skip(f"no namespaces here: {failure}")
    finally:
        await network.close()
    assert host != network.hub and host.startswith(network.hub.rpartition(".")[0])
    assert network.command("primary")[:3] == ("ip", "netns", "exec")
    assert not os.path.exists(f"/run/netns/{network.command('primary')[3]}")
