// Command plugins is the credential provider part of a kubelet behind JSON lines.
//
// It links the kubelet's own packages, unmodified: k8s.io/kubernetes/pkg/credentialprovider/plugin registers the
// providers of a CredentialProviderConfig and execs their binaries, k8s.io/kubernetes/pkg/credentialprovider finds
// credentials for an image, k8s.io/kubernetes/pkg/kubelet/images/pullmanager writes the records of pulls. What a node
// gets from the API server (service accounts, tokens) comes from the driver.
//
// One line in, one line out; a line is one operation (see protocol.go). Registration is global in the kubelet's
// package, so one process is one kubelet. End of input ends it.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine bounds one operation; tokens and annotations may be large (the 64 KiB limit of a cache key is tested).
const maxLine = 16 << 20

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "plugins: %v\n", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	node, err := newNode()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for lines.Scan() {
		answer, err := node.do(lines.Bytes())
		if err != nil {
			answer = failure{Failure: err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d bytes", maxLine)
	} else if err != nil {
		return fmt.Errorf("reading operations: %w", err)
	}
	return nil
}
