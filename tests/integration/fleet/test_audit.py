"""`appliance audit` of appliances in use."""

import json
from dataclasses import replace
from pathlib import Path

from guests import Fleet

from provision.fleet.inventory import read, with_host, write
from tests.unit.audit.records import debian, osv

PLACE = "/opt/notebook/lib/python3"


def test_what_an_appliance_has_is_held_against_advisories(one: Fleet, tmp_path: Path) -> None:
    guest = one.guests[0]
    host = guest.host.name
    asked = "/opt/notebook/bin/pip list --format=json --disable-pip-version-check"
    installed = {each["name"]: each["version"] for each in json.loads(guest.run(asked))}
    zlib = guest.run("dpkg-query -W -f '${source:Version}' zlib1g").strip()
    server = installed["jupyter_server"]
    records = [
        osv("GHSA-1", "jupyter-server", f"{server}.post1"),
        osv("GHSA-2", "jupyter-server", server),
        debian("CVE-1", "zlib", f"{zlib}+deb13u9"),
        debian("CVE-2", "zlib", zlib),
    ]
    (tmp_path / "db.json").write_text(json.dumps(records))
    metrics = tmp_path / "appliances.prom"
    words = ("audit", "--fleet", "--advisories", str(tmp_path / "db.json"), "--json")
    words += ("--metrics", str(metrics))
    done = one.appliance(*words)
    assert done.code == 8, done
    document = json.loads(done.out)
    (target,) = document["targets"]
    assert (target["kind"], target["name"]) == ("host", host)
    found = {each["name"]: each for each in target["findings"]}
    assert found.keys() == {"GHSA-1", "CVE-1"}
    component = found["GHSA-1"]["component"]
    assert (component["version"], component["places"][0][: len(PLACE)]) == (server, PLACE)
    assert found["CVE-1"]["component"]["version"] == zlib
    assert found["CVE-1"]["mend"] == f"appliance upgrade system -c appliance.yml {host}"
    assert found["CVE-1"]["fixed"] == f"{zlib}+deb13u9"

    (tmp_path / "db.json").write_text(json.dumps([records[1], records[3]]))
    assert f'appliance_advisories_open{{host="{host}"}} 2' in metrics.read_text()
    (row,) = json.loads(one.appliance("fleet", "status", "--json").out)["hosts"]
    open_now = "VulnerabilitiesOpen: 2 known vulnerabilities of high severity are open"
    assert open_now in row["facts"]["alerts"]
    assert one.appliance(*words).code == 0
    assert f'appliance_advisories_open{{host="{host}"}} 0' in metrics.read_text()


def test_a_host_that_does_not_answer_is_not_safe(one: Fleet, tmp_path: Path) -> None:
    there = read(one.inventory)
    (known,) = there.select(())
    records = [osv("GHSA-1", "nothing"), debian("CVE-1", "nothing", None)]
    (tmp_path / "db.json").write_text(json.dumps(records))
    words = ("audit", "--fleet", "--advisories", str(tmp_path / "db.json"))
    try:
        write(with_host(there, replace(known, name="gone", port=1)))
        done = one.appliance(*words)
    finally:
        write(there)
    assert done.code == 6, done
    assert "gone: not judged: " in done.out
    assert f"{known.name}: " in done.out
