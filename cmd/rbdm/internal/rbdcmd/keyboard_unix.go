//go:build linux || darwin

package rbdcmd

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

// keyWait is how long key waits, in the tenths of a second that a terminal counts.
const keyWait = 1

// ttyKeyboard reads single keys of a terminal. Without one on stdin there are no
// keys.
type ttyKeyboard struct {
	in, out *os.File // nil when they are no terminal
	before  unix.Termios
	read    []byte // and not yet looked at
}

// openKeyboard makes the terminal give every key at once and show none; signals
// keep theirs.
func openKeyboard(std streams.Streams) (keyboard, error) {
	k := &ttyKeyboard{}
	if f, ok := std.Out.(*os.File); ok {
		k.out = f
	}
	in, ok := std.In.(*os.File)
	if !ok {
		return k, nil
	}
	state, err := unix.IoctlGetTermios(int(in.Fd()), getTermios)
	if err != nil {
		return k, nil // no terminal
	}
	k.in, k.before = in, *state
	state.Lflag &^= unix.ICANON | unix.ECHO
	state.Cc[unix.VMIN], state.Cc[unix.VTIME] = 0, keyWait
	return k, sysError(unix.IoctlSetTermios(int(in.Fd()), setTermios, state))
}

func (k *ttyKeyboard) close() {
	if k.in != nil {
		unix.IoctlSetTermios(int(k.in.Fd()), setTermios, &k.before)
	}
}

func (k *ttyKeyboard) size() (rows, cols int) {
	if k.out != nil {
		if w, err := unix.IoctlGetWinsize(int(k.out.Fd()), unix.TIOCGWINSZ); err == nil && w.Row > 0 && w.Col > 0 {
			return int(w.Row), int(w.Col)
		}
	}
	return defaultScreen()
}

func (k *ttyKeyboard) key() key {
	if len(k.read) == 0 {
		if k.in == nil {
			time.Sleep(keyWait * time.Second / 10)
			return keyNone
		}
		began := time.Now()
		buf := make([]byte, 64)
		n, err := k.in.Read(buf)
		if n == 0 && err != nil && time.Since(began) < keyWait*time.Second/20 {
			time.Sleep(keyWait * time.Second / 10) // the terminal is gone
		}
		k.read = buf[:max(n, 0)]
	}
	var pressed key
	pressed, k.read = keyOf(k.read)
	return pressed
}
