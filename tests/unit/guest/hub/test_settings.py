"""What the hosted features add to the hub's configuration."""

from pathlib import Path

from provision.guest.hub.settings import extend
from provision.guest.pool.notebook import hub_config
from provision.guest.record import Record


def test_the_notebooks_own_addresses_stay(tmp_path: Path) -> None:
    config = hub_config(
        server_pool=["nb1@localhost"],
        bind_url="http://127.0.0.1:8000",
        sessions_above=443,
        timeout=0,
        session_expiry=0,
        patience=1,
        ulimit="",
        subdomain_host="",
        accounts=False,
        approval=False,
        title="",
        admin="sageadm",
        state=tmp_path,
    )
    own = {address for address, *_ in config.JupyterHub.extra_handlers}
    extend(config, Record("sageadm", ["nb1@localhost"], {}), tmp_path)
    all_of_them = {address for address, *_ in config.JupyterHub.extra_handlers}
    assert any("threejs" in address for address in own)
    assert own < all_of_them
