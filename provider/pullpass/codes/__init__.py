"""What an error code stands for: exit statuses, classes of upstream errors, and the tables of what the clouds say.

`pullpass.errors` puts the tables together; nothing else of the program reads this package.
"""

from __future__ import annotations

ANSWERED = 0
FINDINGS = 1
BAD_INPUT = 2
REFUSED = 3
CLOUD_REFUSED = 4
UNREACHABLE = 5
LOCAL_STATE = 6

# Classes of upstream errors (design: "When the exchange fails"): what they mean for credentials and waiters. "" is for
# everything that is not an answer, or a missing answer, of the cloud.
DENIED = "denied"
TOKEN_AT_FAULT = "token"  # noqa: S105 - the name of a class of errors
CLOUD_UNREACHABLE = "unreachable"
INVALID = "invalid"
