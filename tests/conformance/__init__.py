"""Real programs of others that must agree with us: here, the kubelet's own exec-plugin code, keyring and records.

* `go/kubelet`: a Go module that links the kubelet's packages and speaks JSON lines (`go/kubelet/plugins/protocol.go`).
* `go/ecr`: what builds ecr-credential-provider, AWS's plugin, from its Go module.
* `conformance.build` builds them into `.build/`, `conformance.kubelet` drives the first, `conformance.records` asks it
  about pull records, `conformance.scripted` makes plugins that answer what a test says.
* `conformance.examine`: the checks behind `scripts/conformance plugin`, for any plugin.
* `test_*.py`: the suites. They need Go and fail without it.

`scripts/conformance` runs all of it.
"""
