from pathlib import Path

from provision.build.description import address, how_to_reach
from provision.config import Config
from provision.config.model import Admin, Forward, Network, NotebookServer, Pool, Sage, SignIn


def test_a_teacher_reads_how_pupils_get_in() -> None:
    told = how_to_reach(Config(), Path("/home/a/key"))
    assert "https://localhost:8000/" in told
    assert (
        "ssh -i /home/a/key -p 2222 sageadm@localhost"
        " sudo cat /var/lib/notebook/first-password" in told
    )
    assert "notebook-accounts add NAME" in told
    assert "5 places at once (pool.count)" in told
    assert "this host alone reaches it, until network.forwards.notebook.public is true" in told


def test_what_was_configured_is_what_is_said() -> None:
    forwards = {
        "web": Forward(host=443, guest=8888, public=True),
        "ssh": Forward(host=2022, guest=22),
    }
    config = Config(
        admin=Admin(user="boss"),
        pool=Pool(count=1),
        notebook=NotebookServer(port=8888, secure=False, accounts=True),
        sage=Sage(source="none"),
        network=Network.model_construct(forwards=forwards, auto=True),
    )
    told = how_to_reach(config)
    assert "a multi-user notebook server" in told
    assert "http://localhost:443/" in told
    assert "ssh -i KEY -p 2022 boss@localhost" in told
    assert "they make their own accounts" in told
    assert "1 place at once (pool.count), and the room reaches it" in told


def test_where_no_port_leads_there_it_says_so() -> None:
    config = Config(network=Network.model_construct(forwards={}, auto=True))
    assert address(config) is None
    assert "add network.forwards.notebook" in how_to_reach(config)
    assert "ssh" not in how_to_reach(config)


def test_a_schools_sign_in_has_no_first_password() -> None:
    sign_in = SignIn.model_validate({"oidc": {"issuer": "https://id.test", "client_id": "n"}})
    told = how_to_reach(Config(sign_in=sign_in))
    assert "first-password" not in told
    assert "Students sign in as the school says" in told
