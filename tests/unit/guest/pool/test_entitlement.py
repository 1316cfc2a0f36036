import pytest

from provision.guest.pool.entitlement import Share, share_of

SHARES = {
    "default": {"memory": 100, "cpu": 100, "disk": 10},
    "profiles": {"big": {"memory": 200}, "any": {}},
    "groups": {
        "a": {"members": ["emmy"], "limits": {"memory": 300}},
        "b": {"members": ["emmy", "carl"], "limits": {"memory": 150, "disk": 20}},
    },
    "students": {"emmy": {"cpu": 50}},
}


@pytest.mark.parametrize(
    ("student", "profile", "expected"),
    [
        ("ada", "", Share(100, 100, 10)),
        ("ada", "big", Share(200, 100, 10)),
        ("ada", "gone", Share(100, 100, 10)),
        ("carl", "big", Share(150, 100, 20)),
        ("emmy", "any", Share(300, 50, 20)),
    ],
)
def test_the_nearest_counts(student: str, profile: str, expected: Share) -> None:
    assert share_of(student, profile, SHARES) == expected
