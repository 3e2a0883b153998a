package monc

import (
	"errors"
	"strings"

	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/errno"
)

var (
	// ErrClosed says that the Client was closed.
	ErrClosed = errors.New("monitor client is closed")
	// ErrUnreachable says that no monitor answered in time.
	ErrUnreachable = errors.New("no monitor can be reached")
)

// connectError is why there is no session, with the error number that Ceph's
// commands exit with then. errors.Is finds both.
type connectError struct {
	err error
	no  errno.Errno
}

// Error implements error: the number says nothing that err does not.
func (e *connectError) Error() string { return e.err.Error() }

// Unwrap returns both.
func (e *connectError) Unwrap() []error { return []error{e.err, e.no} }

// numbered adds the error number to an error of Start, as "rbd" of 20.2 exits: 13
// when refused and for a user whom the keyring lacks, 110 when no monitor
// answers, 2 when none is known and without a keyring or key that can be read
// (16.2 and 18.2: 5 if there is one), 22 for an address that is none.
func numbered(err error) error {
	no := errno.ErrInvalid
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, cephx.ErrDenied), errors.Is(err, cephx.ErrPeer), errors.Is(err, cephx.ErrNoKey):
		no = errno.ErrAccess
	case errors.Is(err, conf.ErrKey), errors.Is(err, cephx.ErrBadKey):
		no = errno.ErrNotFound
	case errors.Is(err, ErrUnreachable):
		no = errno.ErrTimedOut
	case errors.Is(err, conf.ErrNoMon):
		no = errno.ErrNotFound
	}
	return &connectError{err, no}
}

// hunted is what all monitors that were tried had to say, in one line.
type hunted []error

// Error implements error.
func (h hunted) Error() string {
	words := make([]string, len(h))
	for i, err := range h {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// Unwrap returns all of them.
func (h hunted) Unwrap() []error { return h }
