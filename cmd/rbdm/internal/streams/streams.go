// Package streams carries a program's standard streams, so that tests run
// programs in process and read what they print.
package streams

import (
	"io"
	"os"
)

// Streams are the three standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Terminal says that Err is a terminal, where progress may be redrawn.
	Terminal bool
}

// Std returns the streams of the process.
func Std() Streams {
	info, err := os.Stderr.Stat()
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}
}
