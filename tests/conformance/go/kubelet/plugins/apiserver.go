package main

import (
	"errors"
	"fmt"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// apiServer answers the two calls that the kubelet's plugin code makes, from what the driver has set, and records them.
type apiServer struct {
	lock     sync.Mutex
	accounts map[types.NamespacedName]serviceAccount
	calls    []apiCall
}

func newAPIServer() *apiServer {
	return &apiServer{accounts: map[types.NamespacedName]serviceAccount{}}
}

func (a *apiServer) set(account serviceAccount) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.accounts[types.NamespacedName{Namespace: account.Namespace, Name: account.Name}] = account
}

func (a *apiServer) takeCalls() []apiCall {
	a.lock.Lock()
	defer a.lock.Unlock()
	calls := a.calls
	a.calls = nil
	if calls == nil {
		calls = []apiCall{}
	}
	return calls
}

func (a *apiServer) find(namespace, name string, call apiCall) (serviceAccount, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	call.Namespace, call.Name = namespace, name
	a.calls = append(a.calls, call)
	account, ok := a.accounts[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return serviceAccount{}, fmt.Errorf("serviceaccounts %q not found", name)
	}
	return account, nil
}

// get is a plugin.GetServiceAccountFunc.
func (a *apiServer) get(namespace, name string) (*v1.ServiceAccount, error) {
	account, err := a.find(namespace, name, apiCall{Verb: "get"})
	if err != nil {
		return nil, err
	}
	if account.GetError != "" {
		return nil, errors.New(account.GetError)
	}
	return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(account.UID), Annotations: account.Annotations,
	}}, nil
}

// token has the signature of token.Manager.GetServiceAccountToken, which the kubelet passes here.
func (a *apiServer) token(namespace, name string, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	call := apiCall{
		Verb:              "token",
		UID:               string(request.UID),
		Audiences:         request.Spec.Audiences,
		ExpirationSeconds: request.Spec.ExpirationSeconds,
	}
	if bound := request.Spec.BoundObjectRef; bound != nil {
		call.BoundKind, call.BoundName, call.BoundUID = bound.Kind, bound.Name, string(bound.UID)
	}
	account, err := a.find(namespace, name, call)
	if err != nil {
		return nil, err
	}
	if account.TokenError != "" {
		return nil, errors.New(account.TokenError)
	}
	answer := request.DeepCopy()
	answer.Status.Token = account.Token
	for _, audience := range request.Spec.Audiences {
		if token, ok := account.Tokens[audience]; ok {
			answer.Status.Token = token
		}
	}
	return answer, nil
}
