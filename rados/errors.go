package rados

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
)

// Errno is an error number as the cluster sends it, see package errno.
type Errno = errno.Errno

// The error numbers that callers test for with errors.Is.
const (
	ErrPermission     = errno.ErrPermission
	ErrNotFound       = errno.ErrNotFound
	ErrIO             = errno.ErrIO
	ErrAgain          = errno.ErrAgain
	ErrAccess         = errno.ErrAccess
	ErrBusy           = errno.ErrBusy
	ErrExists         = errno.ErrExists
	ErrInvalid        = errno.ErrInvalid
	ErrNoSpace        = errno.ErrNoSpace
	ErrReadOnly       = errno.ErrReadOnly
	ErrDomain         = errno.ErrDomain
	ErrRange          = errno.ErrRange
	ErrNotImplemented = errno.ErrNotImplemented
	ErrNotEmpty       = errno.ErrNotEmpty
	ErrNoData         = errno.ErrNoData
	ErrBadMessage     = errno.ErrBadMessage
	ErrOverflow       = errno.ErrOverflow
	ErrIllegal        = errno.ErrIllegalSequence
	ErrOldSnapContext = errno.ErrOldSnapContext
	ErrNotSupported   = errno.ErrNotSupported
	ErrNotConnected   = errno.ErrNotConnected
	ErrBlocklisted    = errno.ErrBlocklisted
	ErrTimedOut       = errno.ErrTimedOut
	ErrStale          = errno.ErrStale
	ErrQuota          = errno.ErrQuota
	ErrCanceled       = errno.ErrCanceled
	ErrRestart        = errno.ErrRestart
)

// ErrClosed is returned by every call on a Client after Close, and by the calls
// that Close interrupted.
var ErrClosed = errors.New("rados client is closed")

// OpError says which operation on which object failed. Err is an Errno when the
// cluster answered, a context's error when the caller gave up, ErrClosed when
// the Client was closed, ErrGarbage when the cluster's answers cannot be read.
type OpError struct {
	Op        string // the names of the vector's operations, or of the call
	Pool      int64
	Namespace string
	Object    string
	Epoch     uint32 // of the OSD map that the operation was aimed by
	Err       error

	maybe bool
}

// Error names the operation, the object and the reason.
func (e *OpError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d/", e.Op, e.Pool)
	if e.Namespace != "" {
		b.WriteString(e.Namespace + "/")
	}
	fmt.Fprintf(&b, "%s (epoch %d): %v", e.Object, e.Epoch, e.Err)
	if e.maybe {
		b.WriteString(", it may have been applied")
	}
	return b.String()
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// MaybeApplied reports whether err leaves open if the write behind it happened:
// it had been sent, and the caller's context or Client.Close ended the wait
// before the cluster answered, or its answers could not be read (ErrGarbage). An error that the cluster itself returned is
// never in doubt.
func MaybeApplied(err error) bool {
	var oe *OpError
	return errors.As(err, &oe) && oe.maybe
}

// isContextErr reports whether err is the end of a context.
func isContextErr(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
