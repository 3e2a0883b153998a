//go:build !linux && !darwin

package rbdcmd

import (
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

// noKeyboard is that of a system whose terminals we do not know: an interrupt ends
// the program.
type noKeyboard struct{}

func openKeyboard(streams.Streams) (keyboard, error) { return noKeyboard{}, nil }

func (noKeyboard) size() (rows, cols int) { return defaultScreen() }
func (noKeyboard) close()                 {}
func (noKeyboard) key() key {
	time.Sleep(time.Second / 10)
	return keyNone
}
