package main

import (
	"flag"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// verbosity is the kubelet's -v: 5 shows skipped look-ups (plugin.go) and every exec.
const verbosity = "5"

// logEntry is one line of the kubelet's log. Level is "error" or "info".
type logEntry struct {
	Level     string            `json:"level"`
	Verbosity int               `json:"verbosity"`
	Message   string            `json:"message"`
	Error     string            `json:"error"`
	Values    map[string]string `json:"values"`
}

// logStore is the sink behind klog; it keeps lines until they are taken.
type logStore struct {
	lock    sync.Mutex
	entries []logEntry
}

// captureLogs points klog, which the kubelet's code logs with, at a store.
func captureLogs() (*logStore, error) {
	store := &logStore{}
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", verbosity); err != nil {
		return nil, fmt.Errorf("setting klog's verbosity: %w", err)
	}
	klog.SetLogger(logr.New(store))
	return store, nil
}

func (s *logStore) take() []logEntry {
	klog.Flush()
	s.lock.Lock()
	defer s.lock.Unlock()
	entries := s.entries
	s.entries = nil
	if entries == nil {
		entries = []logEntry{}
	}
	return entries
}

func (s *logStore) add(entry logEntry, keysAndValues []any) {
	entry.Values = map[string]string{}
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		entry.Values[fmt.Sprint(keysAndValues[i])] = fmt.Sprint(keysAndValues[i+1])
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.entries = append(s.entries, entry)
}

// Init is part of logr.LogSink.
func (s *logStore) Init(logr.RuntimeInfo) {}

// Enabled is part of logr.LogSink; klog has compared the verbosity already.
func (s *logStore) Enabled(int) bool { return true }

// Info is part of logr.LogSink.
func (s *logStore) Info(level int, message string, keysAndValues ...any) {
	s.add(logEntry{Level: "info", Verbosity: level, Message: message}, keysAndValues)
}

// Error is part of logr.LogSink.
func (s *logStore) Error(err error, message string, keysAndValues ...any) {
	s.add(logEntry{Level: "error", Message: message, Error: text(err)}, keysAndValues)
}

// WithValues is part of logr.LogSink; the code under test logs without a derived logger.
func (s *logStore) WithValues(...any) logr.LogSink { return s }

// WithName is part of logr.LogSink.
func (s *logStore) WithName(string) logr.LogSink { return s }
