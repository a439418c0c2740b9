import pytest

from mizzen.api.errors import Invalid
from mizzen.api.labels import from_map, from_message, parse

POD = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("other!=web", True),
        ("app in (api, web)", True),
        ("app notin (api,web)", False),
        ("missing notin (x)", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("n>4", True),
        ("n<5", False),
        ("missing>4", False),
        ("app=", False),
    ],
)
def test_strings(text, takes):
    assert parse(text)(POD) is takes


@pytest.mark.parametrize("text", ["app=web=x", "in (a)", "app in a", "n>x", "a b", "!app=web"])
def test_unreadable_strings(text):
    with pytest.raises(Invalid):
        parse(text)


def test_messages():
    assert from_message(None)(POD) is False
    assert from_message({})(POD) is True
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}],
    }
    assert from_message(selector)(POD) is True
    assert from_message({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})(POD) is False
    with pytest.raises(Invalid):
        from_message({"matchExpressions": [{"key": "app", "operator": "Near"}]})


def test_plain_maps_take_nothing_when_empty():
    assert from_map({})(POD) is False
    assert from_map({"app": "web"})(POD) is True
