package main

import (
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/images/pullmanager"
)

// What goes into the kubelet's image pull records: the hash of a pull secret's credential, and the names of the files.
// Both are made by private functions; the calls here are the public ones that the kubelet itself reaches them by.

// pullSecret is what image_manager.go does with a pod's pull secret before it looks an image up. Texts are bytes, as
// the base64 in a docker config may hold what is no UTF-8.
func pullSecret(dockerConfig []byte, image string) (any, error) {
	secret := corev1.Secret{
		Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: dockerConfig},
	}
	answer := secretCredentials{Credentials: []secretCredential{}}
	keyring, err := secrets.MakeDockerKeyring([]corev1.Secret{secret}, &credentialprovider.BasicDockerKeyring{})
	if err != nil {
		answer.Error = err.Error()
		return answer, nil
	}
	found, _ := keyring.Lookup(image)
	for _, c := range found {
		answer.Credentials = append(answer.Credentials, secretCredential{
			Username: []byte(c.Username),
			Password: []byte(c.Password),
			Email:    []byte(c.Email),
			Hash:     c.AuthConfigHash,
		})
	}
	return answer, nil
}

// recordNames writes an intent and a record about text, as the pull manager does, and looks under which names.
func recordNames(text string) (answer named, err error) {
	root, err := os.MkdirTemp("", "kubelet-records-")
	if err != nil {
		return named{}, err
	}
	defer func() {
		if failed := os.RemoveAll(root); err == nil {
			err = failed
		}
	}()
	logger := klog.Background()
	records, err := pullmanager.NewFSPullRecordsAccessor(logger, root)
	if err != nil {
		return named{}, fmt.Errorf("the kubelet's record directory: %w", err)
	}
	if err := records.WriteImagePullIntent(logger, text); err != nil {
		return named{}, fmt.Errorf("writing an intent: %w", err)
	}
	if err := records.WriteImagePulledRecord(logger, &kubeletconfig.ImagePulledRecord{ImageRef: text}); err != nil {
		return named{}, fmt.Errorf("writing a record: %w", err)
	}
	if answer.Intent, err = onlyFile(filepath.Join(root, "image_manager", "pulling")); err != nil {
		return named{}, err
	}
	answer.Record, err = onlyFile(filepath.Join(root, "image_manager", "pulled"))
	return answer, err
}

func onlyFile(directory string) (string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return "", err
	}
	if len(entries) != 1 {
		return "", fmt.Errorf("%d files in %s, expected one", len(entries), directory)
	}
	return entries[0].Name(), nil
}
