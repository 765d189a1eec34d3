"""Google's errors, as they are read before their texts are gone through for secrets."""

from __future__ import annotations

import json

from pullpass.exchange import gcp_errors


def test_only_the_first_details_are_read() -> None:
    """An error with thousands of reasons is one whose every reason costs time; its status comes last all the same."""
    details = [{"reason": f"REASON_{number}"} for number in range(10_000)]
    body = json.dumps({"error": {"status": "PERMISSION_DENIED", "message": "told", "details": details}})
    said = gcp_errors.read(body.encode())
    assert said is not None
    assert said.codes == (*(f"REASON_{number}" for number in range(gcp_errors.DETAILS_LIMIT)), "PERMISSION_DENIED")
