//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// endBy ends the process by the signal, as one that does not catch it ends: its
// parent, a shell for example, can tell.
func endBy(got os.Signal) {
	signal.Reset(got)
	if s, ok := got.(syscall.Signal); ok && syscall.Kill(syscall.Getpid(), s) == nil {
		select {} // until it arrives
	}
}
