//go:build unix

package rbdcmd

import (
	"errors"
	"syscall"

	"github.com/rbdm/rbdm/rados"
)

// sysError returns the system's errno in err as one of ours, else err.
func sysError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return rados.Errno(errno)
	}
	return err
}
