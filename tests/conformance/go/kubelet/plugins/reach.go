package main

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"k8s.io/client-go/tools/cache"
	credentialproviderapi "k8s.io/kubelet/pkg/apis/credentialprovider"
	credentialproviderplugin "k8s.io/kubernetes/pkg/credentialprovider/plugin"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/utils/clock"
)

// The kubelet's package gives its providers a real clock and keeps them private. This file reaches into the
// registered providers (the fields are those of plugin.go, type pluginProvider) for three things: a clock that the
// driver moves, the cache's keys, and a recorder in front of the exec code. A release in which a field is gone or
// has another type fails at registration with the field's name; nothing is skipped in silence.

// reached is one registered provider.
type reached struct {
	settings provider
	cache    cache.Store
}

// reachProviders gives every registered provider the clock and the recorder, and reads its settings.
func reachProviders(fake clock.Clock, runs *executions) (all []reached, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("the kubelet's plugin providers are built differently in this release: %v", failed)
		}
	}()
	keyring := reflect.ValueOf(credentialproviderplugin.NewExternalCredentialProviderDockerKeyring("", "", "", ""))
	pods := field(keyring.Elem(), "providers")
	for i := range pods.Len() {
		all = append(all, reachProvider(field(pods.Index(i).Elem().Elem(), "provider").Elem(), fake, runs))
	}
	return all, nil
}

func reachProvider(p reflect.Value, fake clock.Clock, runs *executions) reached {
	set(field(p, "clock"), fake)
	set(field(p, "lastCachePurge"), fake.Now())
	store := get[cache.Store](field(p, "cache"))
	policy := field(reflect.ValueOf(store).Elem(), "expirationPolicy").Elem().Elem()
	set(field(policy, "clock"), fake)

	name := get[string](field(p, "name"))
	plugin := field(p, "plugin")
	exec := get[credentialproviderplugin.Plugin](plugin)
	set[credentialproviderplugin.Plugin](plugin, recorder{name: name, plugin: exec, runs: runs})

	command := reflect.ValueOf(exec).Elem()
	settings := provider{
		Name:                 name,
		APIVersion:           get[string](field(command, "apiVersion")),
		MatchImages:          get[[]string](field(p, "matchImages")),
		Args:                 get[[]string](field(command, "args")),
		DefaultCacheDuration: get[time.Duration](field(p, "defaultCacheDuration")).Seconds(),
	}
	for _, variable := range get[[]kubeletconfig.ExecEnvVar](field(command, "envVars")) {
		settings.Env = append(settings.Env, [2]string{variable.Name, variable.Value})
	}
	if account := field(p, "serviceAccountProvider"); !account.IsNil() {
		a := account.Elem()
		settings.TokenAttributes = &tokenAttributes{
			Audience:               get[string](field(a, "audience")),
			CacheType:              string(get[kubeletconfig.ServiceAccountTokenCacheType](field(a, "cacheType"))),
			RequireServiceAccount:  get[bool](field(a, "requireServiceAccount")),
			RequiredAnnotationKeys: get[[]string](field(a, "requiredServiceAccountAnnotationKeys")),
			OptionalAnnotationKeys: get[[]string](field(a, "optionalServiceAccountAnnotationKeys")),
		}
	}
	return reached{settings: settings, cache: store}
}

// field is an accessible view of a private field of an addressable struct.
func field(structure reflect.Value, name string) reflect.Value {
	f := structure.FieldByName(name)
	if !f.IsValid() {
		panic(fmt.Sprintf("%s has no field %q", structure.Type(), name))
	}
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}

func get[T any](f reflect.Value) T {
	value, ok := f.Interface().(T)
	if !ok {
		panic(fmt.Sprintf("a field is a %s, expected %s", f.Type(), reflect.TypeFor[T]()))
	}
	return value
}

func set[T any](f reflect.Value, value T) {
	f.Set(reflect.ValueOf(value))
}

// recorder passes a run on to the kubelet's exec code and keeps what went in and what was decoded.
type recorder struct {
	name   string
	plugin credentialproviderplugin.Plugin
	runs   *executions
}

// ExecPlugin is plugin.Plugin.
func (r recorder) ExecPlugin(ctx context.Context, image, token string, annotations map[string]string) (*credentialproviderapi.CredentialProviderResponse, error) {
	start := time.Now()
	answer, err := r.plugin.ExecPlugin(ctx, image, token, annotations)
	run := execution{
		Provider:    r.name,
		Image:       image,
		Token:       token,
		Annotations: annotations,
		Seconds:     time.Since(start).Seconds(),
		Error:       text(err),
	}
	if answer != nil {
		run.Response = &response{CacheKeyType: string(answer.CacheKeyType), Auth: map[string]auth{}}
		if answer.CacheDuration != nil {
			seconds := answer.CacheDuration.Seconds()
			run.Response.CacheSeconds = &seconds
		}
		for key, entry := range answer.Auth {
			run.Response.Auth[key] = auth{Username: entry.Username, Password: entry.Password}
		}
	}
	r.runs.add(run)
	return answer, err
}

// executions collects runs until they are taken.
type executions struct {
	lock sync.Mutex
	runs []execution
}

func (e *executions) add(run execution) {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.runs = append(e.runs, run)
}

func (e *executions) take() []execution {
	e.lock.Lock()
	defer e.lock.Unlock()
	runs := e.runs
	e.runs = nil
	if runs == nil {
		runs = []execution{}
	}
	return runs
}
