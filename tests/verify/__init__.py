"""Settling, with real accounts, what nobody has confirmed: `scripts/verify-cloud` starts it.

What pullpass and its documents say about the clouds comes from the clouds' documentation, from other programs' source
and from users' reports. Each such statement that matters and that one run can settle is a *claim* here. A run asks for
credentials with pullpass's own code (`obtaining`), shows them to the registry (`pulling`), and says of each claim
whether what came is what was claimed (`points`). It changes nothing in the cloud, and prints no token and no password.

`inputs` turns the command line into a case; `aws` and `google` hold the claims of each cloud and how each is tried;
`names` asks which host names exist; `telling` writes the result.
"""
