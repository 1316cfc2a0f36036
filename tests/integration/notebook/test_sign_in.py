"""Who gets in, and how safely: HTTPS, headers, approval, the administrator's system password."""

import contextlib
import http.client
import json
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import ANY_CERTIFICATE, Guest
from student import RefusedError, Student

from provision.process import run

KEY = "/var/lib/notebook/tls/key.pem"
OPENSSL = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@pytest.fixture(autouse=True)
def clean(school: Guest) -> Iterator[None]:
    yield
    school.run("pkill -x ssh || true")


def _page(url: str, context: ssl.SSLContext = ANY_CERTIFICATE) -> http.client.HTTPResponse:
    answer: http.client.HTTPResponse = urllib.request.urlopen(
        f"{url}/hub/login", timeout=60, context=context
    )
    return answer


def _peer(url: str) -> bytes:
    where = urllib.parse.urlsplit(url)
    assert where.hostname and where.port
    return ssl.get_server_certificate((where.hostname, where.port)).encode()


def test_a_student_computes_over_https(school: Guest) -> None:
    school.run("printf 'alice,correct horse\\n' | notebook-accounts import -")
    alice = Student(school.url, "alice").sign_in().start()
    assert alice.kernel().run("6 * 7") == "42"
    assert [c.name for c in alice.cookies if not c.secure and c.path == "/hub/"] == []


def test_pages_carry_the_headers_that_protect(school: Guest) -> None:
    headers = _page(school.url).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_the_sign_in_page_shows_the_schools_name(school: Guest) -> None:
    assert "Gauss &lt;School&gt;" in _page(school.url).read().decode()


def test_plain_http_and_old_tls_are_refused(school: Guest) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        urllib.request.urlopen(school.url.replace("https", "http"), timeout=30)
    old = ssl._create_unverified_context()  # noqa: S323
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        _page(school.url, old)


def test_the_schools_own_certificate_is_served(school: Guest, tmp_path: Path) -> None:
    made = _peer(school.url)
    names = ("-nodes", "-subj", "/CN=school", "-addext", "subjectAltName=IP:127.0.0.1")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    run([*OPENSSL, *names, "-keyout", str(key), "-out", str(cert)])
    for file in (key, cert):
        school.run(
            f"cat > /var/lib/notebook/tls/{file.name} <<'E'\n{file.read_text()}E\n"
            f"chown notebook: /var/lib/notebook/tls/{file.name}"
        )
    school.run("systemctl reload notebook-proxy")
    trusting = ssl.create_default_context(cafile=str(cert))
    for _ in range(600):  # the proxy is slow to start on a busy host
        with contextlib.suppress(OSError):
            assert _page(school.url, trusting).status == 200
            break
        school.run("sleep 0.2")
    assert _peer(school.url) != made
    assert _page(school.url, trusting).status == 200


def test_a_certificate_without_its_key_is_named(school: Guest) -> None:
    with school.keeping(KEY):
        school.run(f"openssl ecparam -genkey -name prime256v1 > {KEY}")
        said = school.run("runuser -u notebook -- start-notebook proxy 2>&1 || true")
        assert f"cert.pem and {KEY} cannot be used together" in said


def test_a_damaged_file_is_named_in_one_line(school: Guest) -> None:
    for path, mend in (
        ("/var/lib/notebook/accounts.json", "appliance restore"),
        ("/etc/notebook/guest.json", "appliance configure"),
    ):
        with school.keeping(path):
            school.run(f"echo '[' > {path}")
            said = school.run("runuser -u notebook -- start-notebook hub 2>&1 || true")
        assert said.startswith(f"{path} is damaged: "), said
        assert mend in said
        assert said.count("\n") == 1, said


def _refused(student: Student) -> str:
    with pytest.raises(RefusedError) as refused:
        student.sign_in()
    return refused.value.body


def test_a_visitors_account_waits_for_approval(school: Guest) -> None:
    assert "waits for your teacher&#39;s approval" in _refused(Student(school.url, "new"))
    assert "waits for your teacher&#39;s approval" in _refused(Student(school.url, "new"))
    assert "Invalid username or password" in _refused(Student(school.url, "new", "wrong horse"))
    assert "new (waits for approval)" in school.run("notebook-accounts list")
    school.run("notebook-accounts approve new")
    Student(school.url, "new").sign_in()


def test_the_admin_approves_on_the_hubs_page(school: Guest) -> None:
    assert "approval" in _refused(Student(school.url, "newer"))
    password = school.run("cat /var/lib/notebook/first-password").strip()
    admin = Student(school.url, "sageadm", password).sign_in()
    admin.json("POST", "/hub/api/users", {"usernames": ["newer"]})
    Student(school.url, "newer").sign_in()


def test_the_admins_system_password_opens_by_pam(school: Guest) -> None:
    with pytest.raises(RefusedError):
        Student(school.url, "sageadm", "a system password").sign_in()
    school.run("echo 'sageadm:a system password' | chpasswd")
    try:
        admin = Student(school.url, "sageadm", "a system password").sign_in()
        assert admin.json("GET", "/hub/api/users/sageadm")["admin"]
        school.run("echo 'nb1:a system password' | chpasswd")
        with pytest.raises(RefusedError):
            Student(school.url, "nb1", "a system password").sign_in()
    finally:
        school.run("passwd -l sageadm; passwd -l nb1")


def test_sessions_reach_the_mirrors_and_nothing_else(school: Guest) -> None:
    school.run("systemctl start notebook-mirrors.service")
    hosts = school.run("cat /etc/notebook/hosts")
    name = hosts.split("# the package mirrors\n")[1].split()[1]
    school.run("printf 'bob,correct horse\\n' | notebook-accounts import -")
    kernel = Student(school.url, "bob").sign_in().start().kernel()
    reach = (
        "import socket\ndef reach(*a):\n    try:\n        socket.create_connection(a, 5).close()"
    )
    kernel.run(
        f"{reach}\n        return 'reached'\n    except OSError as e:\n        return 'refused'"
    )
    rules = json.loads(school.run("nft -j list set inet notebook mirrors"))
    assert rules["nftables"][1]["set"]["elem"]
    ports = school.run("apt-get indextargets --format '$(REPO_URI)'").split()
    port = 443 if ports[0].startswith("https") else 80
    assert kernel.run(f"reach({name!r}, {port})") == "'reached'"
    assert kernel.run(f"reach({name!r}, 25)") == "'refused'"
    assert kernel.run("reach('192.0.2.1', 80)") == "'refused'"
