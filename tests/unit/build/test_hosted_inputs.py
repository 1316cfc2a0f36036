"""What the keys of hosted sessions change in a build, and what they leave alone."""

from typing import Any

import pytest

from provision.build.variables import playbook_variables
from provision.config import read
from provision.config.distributions import DISTRIBUTIONS
from provision.errors import ConfigError
from provision.jeos.archive import SourceLine

SOURCES = (
    SourceLine("http://mirror.test/debian", "trixie", ("main",), DISTRIBUTIONS["debian"].keyring),
)


def told(*assignments: str) -> dict[str, Any]:
    config = read(assignments=assignments, environ={}).config
    return playbook_variables(config, SOURCES, epoch=1)


def test_all_is_off_by_default() -> None:
    variables = told()
    for name in (
        "kernels_languages",
        "extensions_names",
        "kernels_julia",
    ):
        assert not variables[name]
    told_of = variables["notebook_record"]
    assert not any(told_of[key] for key in told_of.keys() - {"version", "retention"})
    assert set(told_of["retention"].values()) == {0}
    assert (variables["notebook_egress"], variables["egress_squid"]) == (0, "")


def test_settings_become_variables() -> None:
    variables = told(
        "kernels={r: true, bash: true}",
        "profiles={stats: {title: Statistics, kernels: [r], forked: false, limits: {memory: 2G}}}",
        "pool.groups={seniors: {members: [emmy], limits: {cpu: 200}}}",
        "git={enabled: true, hosts: [github.com]}",
        "stores={enabled: true, hosts: ['cloud.example.org', github.com], every: 30m}",
        "sign_in={oidc: {issuer: 'https://id.example.org', client_id: nb}, admins: [emmy]}",
        "courses={algebra: {members: [carl]}}",
    )
    told_of = variables["notebook_record"]
    assert [each["kernel"] for each in variables["kernels_languages"]] == ["bash", "ir"]
    assert told_of["profiles"]["stats"]["kernels"] == ["ir"]
    assert variables["extensions_names"] == ["git", "signin", "stores", "courses"]
    assert told_of["profiles"]["stats"]["limits"] == {"memory": 2 << 30}
    assert told_of["profiles"]["stats"]["forked"] is False
    assert variables["notebook_egress"] == 3120
    assert "http_port 127.0.0.1:3120" in variables["egress_squid"]
    assert variables["egress_squid"].count("dstdomain -n github.com") == 1
    assert "dstdomain -n cloud.example.org" in variables["egress_squid"]
    assert told_of["stores"] == {"every": 1800}
    seniors = {"members": ["emmy"], "limits": {"cpu": 200}}
    assert told_of["groups"] == {"seniors": seniors}
    assert told_of["sign_in"]["oidc"]["client_id"] == "nb"
    assert "google" not in told_of["sign_in"]


MOODLE = (
    "{issuer: 'https://m.test', client_id: a, deployments: ['1'], authorization: 'https://m.test/a',"
    " keys: 'https://m.test/k', token: 'https://m.test/t'"
)


def test_learning_platforms_become_variables() -> None:
    course = "courses: [{context: '42', course: algebra}]"
    variables = told(f"sign_in.lti=[{MOODLE}, {course}}}]", "courses={algebra: {members: [carl]}}")
    assert variables["extensions_names"] == ["signin", "courses"]
    (moodle,) = variables["notebook_record"]["sign_in"]["lti"]
    assert (moodle["title"], moodle["deployments"]) == ("Moodle", ["1"])
    assert moodle["courses"] == [{"context": "42", "course": "algebra"}]


def test_a_group_learns_in_a_course() -> None:
    variables = told(
        "pool.groups={seniors: {members: [emmy, carl]}}",
        "courses={algebra: {members: [georg], group: seniors, teachers: [noether], quota: 2G}}",
    )
    algebra = {"members": ["carl", "emmy", "georg"], "teachers": ["noether"], "quota": 2 << 30}
    assert variables["notebook_record"]["courses"] == {"algebra": algebra}


@pytest.mark.parametrize(
    ("assignments", "complaint"),
    [
        (["profiles={a: {title: A, kernels: [r]}}"], "r is not in this appliance"),
        (["pool.students={emmy: {memory: 100G}}"], "100G for one session"),
        (["pool.groups={a: {limits: {cpu: 900}}}"], "900 % is more than all 2 processors"),
        (["pool.students={'A B': {}}"], "not a student's name"),
        (["courses={a: {group: seniors}}"], "there is no group seniors"),
        (["courses={a: {members: [b], teachers: [b]}}"], "b cannot both teach and hand in"),
        (["courses={a: {owner: b}}"], "owner"),
        (["sign_in.google={client_id: a, domains: ['@x']}"], "not a domain"),
        (
            ["sign_in.ldap={server: a, template: 'cn=x'}"],
            "it does not say where the name goes",
        ),
        (
            [
                "sign_in.google={client_id: a, domains: [a.org]}",
                "sign_in.oidc={issuer: 'https://a', client_id: a}",
            ],
            "google says already who a student is",
        ),
        (
            ["sign_in.google={client_id: a, domains: [a.org]}", f"sign_in.lti=[{MOODLE}}}]"],
            "google says already who a student is",
        ),
        ([f"sign_in.lti=[{MOODLE}}}]", "sign_in.admins=[emmy]"], "nobody administers the notebook"),
        ([f"sign_in.lti=[{MOODLE}}}, {MOODLE}}}]"], "a of https://m.test is there already"),
        ([f"sign_in.lti=[{MOODLE.replace(chr(39) + '1' + chr(39), '')}}}]"], "nothing opens"),
        (
            [f"sign_in.lti=[{MOODLE}, courses: [{{context: '4', course: algebra}}]}}]"],
            "there is no course algebra",
        ),
        (
            [
                f"sign_in.lti=[{MOODLE.replace('[', '[b, ')}, "
                "courses: [{context: '4', course: algebra}]}]",
                "courses={algebra: {}}",
            ],
            "Moodle has several deployments",
        ),
        (
            [
                f"sign_in.lti=[{MOODLE}, "
                "courses: [{context: '4', course: algebra, deployment: '2'}]}]",
                "courses={algebra: {}}",
            ],
            "Moodle has no deployment 2",
        ),
        (["sign_in.lti=[{issuer: m.test}]"], "not a URL"),
    ],
)
def test_what_cannot_work_is_refused(assignments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(assignments=assignments, environ={})
    assert complaint in str(refused.value)
