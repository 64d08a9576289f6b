"""Delivery under hostile profiles of the ClickHouse user (profiles.py)."""

import clickhoused
import profiles


def test_hostile_profiles(tmp_path):
    """Each delivers everything once, also through an answer that got lost; or
    holds all of it, says why, and delivers when the profile was put right."""
    assert len(profiles.names()) >= 40
    server = clickhoused.ClickHouse(tmp_path / "clickhouse")
    try:
        print(profiles.run(server, tmp_path))
    finally:
        server.stop()
