from datetime import UTC, datetime

import pytest

from mizzen.runtime.controllers.cronjob import times, zone


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_missed_starts_and_the_next():
    missed, following = times("*/5 * * * *", at("2026-01-01T00:00:00"), at("2026-01-01T00:11:00"), UTC)
    assert missed == [at("2026-01-01T00:05:00"), at("2026-01-01T00:10:00")]
    assert following == at("2026-01-01T00:15:00")


def test_schedules_follow_their_time_zone():
    _, following = times("0 9 * * *", at("2026-06-01T00:00:00"), at("2026-06-01T00:00:00"), zone("Europe/Berlin"))
    assert following == at("2026-06-01T07:00:00")


def test_unreadable_schedules_and_zones():
    with pytest.raises(ValueError, match="unparseable"):
        times("every day", 0.0, 0.0, UTC)
    with pytest.raises(ValueError, match="unknown time zone"):
        zone("Mars/Olympus")
