"""Which reads count, and in which bins?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from simplechrome.errors import ConfigError
from simplechrome.sources.tracks.read_rule import ReadRule


def test_default_counts_what_multicov_counts_without_duplicates() -> None:
    rule = ReadRule()
    assert (rule.count, rule.shift, rule.min_mapping_quality) == ("overlap", 0, 0)
    # unmapped 4, failed 512, duplicate 1024, secondary 256, supplementary 2048
    assert rule.excluded_flags == 4 + 512 + 1024 + 256 + 2048


def test_kept_reads_leave_the_mask() -> None:
    assert ReadRule(keep_duplicates=True).excluded_flags == 4 + 512 + 256 + 2048
    assert ReadRule(keep_secondary=True).excluded_flags == 4 + 512 + 1024
    assert ReadRule(keep_duplicates=True, keep_secondary=True).excluded_flags == 4 + 512


def test_rule_survives_json() -> None:
    rule = ReadRule("five-prime", shift=-75, min_mapping_quality=30, keep_secondary=True)
    assert ReadRule(**json.loads(json.dumps(asdict(rule)))) == rule


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"count": "five_prime"}, "did you mean five-prime"),
        ({"count": "overlap", "shift": 75}, "shift of 75"),
        ({"count": "five-prime", "shift": 0.5}, "shift makes no sense"),
        ({"count": "five-prime", "shift": 2_000_000}, "-1000000 to 1000000"),
        ({"min_mapping_quality": -1}, "0 to 254"),
        ({"min_mapping_quality": 255}, "0 to 254"),
        ({"min_mapping_quality": True}, "min_mapping_quality makes no sense"),
        ({"keep_duplicates": "no"}, "keep_duplicates makes no sense"),
    ],
)
def test_senseless_rule_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ReadRule(**arguments)
