//go:build !unix

package rbdcmd

// sysError returns err: this system's numbers are not Ceph's.
func sysError(err error) error { return err }
