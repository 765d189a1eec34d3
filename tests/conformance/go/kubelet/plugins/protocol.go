package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// operation is one line of input. Op says which of the other members count:
//
//	register        config, binDir, gates   what the kubelet does at start; once per process
//	serviceAccount  serviceAccount          what the API server answers from now on
//	lookup          lookups                 ask the keyring; several look-ups run at the same time
//	advance         duration                move the clock of registered providers
//	cache                                   the keys of each provider's credential cache
//	match           pattern, image          the kubelet's matcher
//	parse           image                   an image reference as the kubelet splits it
//	metrics                                 the kubelet's counters for plugins
//	pullSecret      dockerConfig, image     what the keyring of a pull secret has for an image, with the hashes
//	recordNames     text                    the names of an intent's and a record's file
type operation struct {
	Op             string          `json:"op"`
	Config         string          `json:"config"`
	BinDir         string          `json:"binDir"`
	Gates          map[string]bool `json:"gates"`
	ServiceAccount serviceAccount  `json:"serviceAccount"`
	Lookups        []lookup        `json:"lookups"`
	Duration       string          `json:"duration"`
	Pattern        string          `json:"pattern"`
	Image          string          `json:"image"`
	DockerConfig   []byte          `json:"dockerConfig"`
	Text           []byte          `json:"text"`
}

// serviceAccount is an account of the made-up API server. Tokens are issued by audience where tokens has it, and else
// whatever token says. With getError the account can't be read, with tokenError no token is issued for it; both are
// what the kubelet sees as the API server's error text.
type serviceAccount struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	UID         string            `json:"uid"`
	Annotations map[string]string `json:"annotations"`
	Token       string            `json:"token"`
	Tokens      map[string]string `json:"tokens"`
	GetError    string            `json:"getError"`
	TokenError  string            `json:"tokenError"`
}

// lookup is one pod asking for one repository, which has neither tag nor digest (see the parse operation).
type lookup struct {
	Repository     string `json:"repository"`
	Namespace      string `json:"namespace"`
	Pod            string `json:"pod"`
	PodUID         string `json:"podUID"`
	ServiceAccount string `json:"serviceAccount"`
}

type failure struct {
	Failure string `json:"failure"`
}

type registered struct {
	Error     string     `json:"error"`
	Providers []provider `json:"providers"`
	Logs      []logEntry `json:"logs"`
}

// provider is what the kubelet understood of one entry of the configuration.
type provider struct {
	Name                 string           `json:"name"`
	APIVersion           string           `json:"apiVersion"`
	MatchImages          []string         `json:"matchImages"`
	Args                 []string         `json:"args"`
	Env                  [][2]string      `json:"env"`
	DefaultCacheDuration float64          `json:"defaultCacheDurationSeconds"`
	TokenAttributes      *tokenAttributes `json:"tokenAttributes"`
}

type tokenAttributes struct {
	Audience               string   `json:"audience"`
	CacheType              string   `json:"cacheType"`
	RequireServiceAccount  bool     `json:"requireServiceAccount"`
	RequiredAnnotationKeys []string `json:"requiredAnnotationKeys"`
	OptionalAnnotationKeys []string `json:"optionalAnnotationKeys"`
}

type lookedUp struct {
	Results    []lookupResult `json:"results"`
	Executions []execution    `json:"executions"`
	APICalls   []apiCall      `json:"apiCalls"`
	Logs       []logEntry     `json:"logs"`
}

type lookupResult struct {
	Found       bool         `json:"found"`
	Credentials []credential `json:"credentials"`
}

// credential is one entry that the kubelet would try, in that order. ServiceAccount is the account it is attributed
// to; null means that the image pulled with it is open to every pod of the node.
type credential struct {
	Username       string                     `json:"username"`
	Password       string                     `json:"password"`
	Hash           string                     `json:"hash"`
	ServiceAccount *serviceAccountCoordinates `json:"serviceAccount"`
}

type serviceAccountCoordinates struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// execution is one run of a plugin binary by the kubelet's exec code, with what the kubelet's decoder made of its
// output. Response is null when Error is not empty.
type execution struct {
	Provider    string            `json:"provider"`
	Image       string            `json:"image"`
	Token       string            `json:"token"`
	Annotations map[string]string `json:"annotations"`
	Seconds     float64           `json:"seconds"`
	Error       string            `json:"error"`
	Response    *response         `json:"response"`
}

type response struct {
	CacheKeyType string          `json:"cacheKeyType"`
	CacheSeconds *float64        `json:"cacheSeconds"`
	Auth         map[string]auth `json:"auth"`
}

type auth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// apiCall is one call that the kubelet's code made to the API server.
type apiCall struct {
	Verb              string   `json:"verb"` // get or token
	Namespace         string   `json:"namespace"`
	Name              string   `json:"name"`
	UID               string   `json:"uid"`
	Audiences         []string `json:"audiences"`
	ExpirationSeconds *int64   `json:"expirationSeconds"`
	BoundKind         string   `json:"boundKind"`
	BoundName         string   `json:"boundName"`
	BoundUID          string   `json:"boundUID"`
}

// cacheKey is one key of a provider's cache, in hexadecimal since the kubelet's keys are binary.
type cacheKey struct {
	Provider string `json:"provider"`
	Key      string `json:"key"`
}

type cached struct {
	Keys []cacheKey `json:"keys"`
}

type clockReading struct {
	Now time.Time `json:"now"`
}

type matched struct {
	Match bool   `json:"match"`
	Error string `json:"error"`
}

type parsed struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
	Error      string `json:"error"`
}

// measured are the kubelet's own figures, by plugin name where there is one.
type measured struct {
	Errors     map[string]float64 `json:"errors"`
	Executions map[string]uint64  `json:"executions"`
	ConfigHash string             `json:"configHash"`
}

type secretCredentials struct {
	Error       string             `json:"error"`
	Credentials []secretCredential `json:"credentials"`
}

type secretCredential struct {
	Username []byte `json:"username"`
	Password []byte `json:"password"`
	Email    []byte `json:"email"`
	Hash     string `json:"hash"`
}

type named struct {
	Intent string `json:"intent"`
	Record string `json:"record"`
}

// readOperation is strict, so that a driver's typing error is not taken for a default.
func readOperation(line []byte) (operation, error) {
	var op operation
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&op); err != nil {
		return operation{}, fmt.Errorf("not an operation: %w", err)
	}
	return op, nil
}
