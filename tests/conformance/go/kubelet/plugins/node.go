package main

import (
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/kubernetes/pkg/credentialprovider"
	credentialproviderplugin "k8s.io/kubernetes/pkg/credentialprovider/plugin"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/util/parsers"
	clocktesting "k8s.io/utils/clock/testing"
)

// node is one kubelet as far as credential providers go.
type node struct {
	logs      *logStore
	api       *apiServer
	runs      *executions
	clock     *clocktesting.FakeClock
	providers []reached
	opened    bool
}

func newNode() (*node, error) {
	logs, err := captureLogs()
	if err != nil {
		return nil, err
	}
	return &node{
		logs:  logs,
		api:   newAPIServer(),
		runs:  &executions{},
		clock: clocktesting.NewFakeClock(time.Now()),
	}, nil
}

func (n *node) do(line []byte) (any, error) {
	op, err := readOperation(line)
	if err != nil {
		return nil, err
	}
	switch op.Op {
	case "register":
		return n.register(op)
	case "serviceAccount":
		n.api.set(op.ServiceAccount)
		return struct{}{}, nil
	case "lookup":
		return n.lookup(op.Lookups), nil
	case "advance":
		return n.advance(op.Duration)
	case "cache":
		return n.cacheKeys(), nil
	case "match":
		match, err := credentialprovider.URLsMatchStr(op.Pattern, op.Image)
		return matched{Match: match, Error: text(err)}, nil
	case "parse":
		repository, tag, digest, err := parsers.ParseImageName(op.Image)
		return parsed{Repository: repository, Tag: tag, Digest: digest, Error: text(err)}, nil
	case "metrics":
		return metrics()
	case "pullSecret":
		return pullSecret(op.DockerConfig, op.Image)
	case "recordNames":
		return recordNames(string(op.Text))
	}
	return nil, fmt.Errorf("unknown operation %q", op.Op)
}

// register is what kubelet.go does when the two image-credential-provider flags are set. An error of the kubelet's
// code is an answer, not a failure: it is what would stop the kubelet.
func (n *node) register(op operation) (any, error) {
	if n.opened {
		return nil, fmt.Errorf("registered already: the kubelet's registration is global, start another process")
	}
	n.opened = true
	gates := map[string]bool{
		string(features.KubeletServiceAccountTokenForCredentialProviders): true,
		string(features.KubeletEnsureSecretPulledImages):                  true, // hashes and attribution
	}
	for name, on := range op.Gates {
		gates[name] = on
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(gates); err != nil {
		return nil, fmt.Errorf("feature gates: %w", err)
	}
	n.logs.take()
	err := credentialproviderplugin.RegisterCredentialProviderPlugins(op.Config, op.BinDir, n.api.token, n.api.get)
	answer := registered{Error: text(err), Providers: []provider{}, Logs: n.logs.take()}
	if err != nil {
		return answer, nil
	}
	if n.providers, err = reachProviders(n.clock, n.runs); err != nil {
		return nil, err
	}
	for _, p := range n.providers {
		answer.Providers = append(answer.Providers, p.settings)
	}
	return answer, nil
}

// lookup makes one keyring for each pod, as image_manager.go does for each pull, and asks all of them at once.
func (n *node) lookup(lookups []lookup) lookedUp {
	n.logs.take()
	n.api.takeCalls()
	n.runs.take()
	results := make([]lookupResult, len(lookups))
	var group sync.WaitGroup
	for i, l := range lookups {
		group.Go(func() {
			keyring := credentialproviderplugin.NewExternalCredentialProviderDockerKeyring(
				l.Namespace, l.Pod, l.PodUID, l.ServiceAccount)
			found, ok := keyring.Lookup(l.Repository)
			results[i] = lookupResult{Found: ok, Credentials: credentials(found)}
		})
	}
	group.Wait()
	return lookedUp{Results: results, Executions: n.runs.take(), APICalls: n.api.takeCalls(), Logs: n.logs.take()}
}

func credentials(found []credentialprovider.TrackedAuthConfig) []credential {
	all := make([]credential, 0, len(found))
	for _, c := range found {
		one := credential{Username: c.Username, Password: c.Password, Hash: c.AuthConfigHash}
		if c.Source != nil && c.Source.ServiceAccount != nil {
			one.ServiceAccount = &serviceAccountCoordinates{
				UID:       c.Source.ServiceAccount.UID,
				Namespace: c.Source.ServiceAccount.Namespace,
				Name:      c.Source.ServiceAccount.Name,
			}
		}
		all = append(all, one)
	}
	return all
}

func (n *node) advance(duration string) (any, error) {
	step, err := time.ParseDuration(duration)
	if err != nil {
		return nil, err
	}
	n.clock.Step(step)
	return clockReading{Now: n.clock.Now()}, nil
}

// cacheKeys lists stored keys. Listing keys purges nothing, so an entry that has expired and was not asked for is shown.
func (n *node) cacheKeys() cached {
	all := cached{Keys: []cacheKey{}}
	for _, p := range n.providers {
		for _, key := range p.cache.ListKeys() {
			all.Keys = append(all.Keys, cacheKey{Provider: p.settings.Name, Key: hex.EncodeToString([]byte(key))})
		}
	}
	return all
}

func metrics() (any, error) {
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering metrics: %w", err)
	}
	answer := measured{Errors: map[string]float64{}, Executions: map[string]uint64{}}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			label := ""
			if len(metric.GetLabel()) == 1 {
				label = metric.GetLabel()[0].GetValue()
			}
			switch family.GetName() {
			case "kubelet_credential_provider_plugin_errors_total":
				answer.Errors[label] = metric.GetCounter().GetValue()
			case "kubelet_credential_provider_plugin_duration":
				answer.Executions[label] = metric.GetHistogram().GetSampleCount()
			case "kubelet_credential_provider_config_info":
				answer.ConfigHash = label
			}
		}
	}
	return answer, nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
