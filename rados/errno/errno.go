// Package errno holds the error numbers that Ceph sends: Linux's, whatever the
// machine this runs on. It is a leaf, so that the wire types of every layer,
// the client and the fake cluster name the same values.
package errno

import "strconv"

// Errno is a positive Linux error number as a Go error. Two Errnos are the
// same error when they are equal, so errors.Is works by value.
type Errno int32

// The error numbers that the cluster's answers are tested for.
const (
	ErrPermission        Errno = 1   // EPERM
	ErrNotFound          Errno = 2   // ENOENT
	ErrInterrupted       Errno = 4   // EINTR
	ErrIO                Errno = 5   // EIO
	ErrNoDevice          Errno = 6   // ENXIO
	ErrTooBig            Errno = 7   // E2BIG
	ErrAgain             Errno = 11  // EAGAIN
	ErrNoMemory          Errno = 12  // ENOMEM
	ErrAccess            Errno = 13  // EACCES
	ErrBusy              Errno = 16  // EBUSY
	ErrExists            Errno = 17  // EEXIST
	ErrCrossDevice       Errno = 18  // EXDEV
	ErrNotDirectory      Errno = 20  // ENOTDIR
	ErrIsDirectory       Errno = 21  // EISDIR
	ErrInvalid           Errno = 22  // EINVAL
	ErrFileTooBig        Errno = 27  // EFBIG
	ErrNoSpace           Errno = 28  // ENOSPC
	ErrReadOnly          Errno = 30  // EROFS
	ErrDomain            Errno = 33  // EDOM
	ErrRange             Errno = 34  // ERANGE
	ErrDeadlock          Errno = 35  // EDEADLK
	ErrNameTooLong       Errno = 36  // ENAMETOOLONG
	ErrNotImplemented    Errno = 38  // ENOSYS
	ErrNotEmpty          Errno = 39  // ENOTEMPTY
	ErrNoMessage         Errno = 42  // ENOMSG
	ErrNoData            Errno = 61  // ENODATA
	ErrNoLink            Errno = 67  // ENOLINK
	ErrBadMessage        Errno = 74  // EBADMSG
	ErrOverflow          Errno = 75  // EOVERFLOW
	ErrIllegalSequence   Errno = 84  // EILSEQ
	ErrOldSnapContext    Errno = 85  // EOLDSNAPC (ERESTART on Linux)
	ErrTooManyUsers      Errno = 87  // EUSERS
	ErrNotSupported      Errno = 95  // EOPNOTSUPP
	ErrConnectionReset   Errno = 104 // ECONNRESET
	ErrNoBuffers         Errno = 105 // ENOBUFS
	ErrNotConnected      Errno = 107 // ENOTCONN
	ErrBlocklisted       Errno = 108 // EBLOCKLISTED (ESHUTDOWN)
	ErrTimedOut          Errno = 110 // ETIMEDOUT
	ErrConnectionRefused Errno = 111 // ECONNREFUSED
	ErrHostUnreachable   Errno = 113 // EHOSTUNREACH
	ErrInProgress        Errno = 115 // EINPROGRESS
	ErrStale             Errno = 116 // ESTALE
	ErrQuota             Errno = 122 // EDQUOT
	ErrCanceled          Errno = 125 // ECANCELED
	ErrRestart           Errno = 512 // ERESTART
)

// FromResult turns a result as Ceph sends it, negative for an error, into an
// error; nil when r is not negative.
func FromResult(r int32) error {
	if r >= 0 {
		return nil
	}
	return Errno(-r)
}

// Result turns e into the number that goes on the wire: negative.
func (e Errno) Result() int32 { return -int32(e) }

// Error returns Linux's sentence for the number.
func (e Errno) Error() string {
	if s, ok := texts[e]; ok {
		return s
	}
	return "error " + strconv.Itoa(int(e))
}

// texts is read-only.
var texts = map[Errno]string{
	ErrPermission:        "operation not permitted",
	ErrNotFound:          "no such file or directory",
	ErrInterrupted:       "interrupted system call",
	9:                    "bad file descriptor",
	25:                   "inappropriate ioctl for device",
	31:                   "too many links",
	ErrIO:                "input/output error",
	ErrNoDevice:          "no such device or address",
	ErrTooBig:            "argument list too long",
	ErrAgain:             "resource temporarily unavailable",
	ErrNoMemory:          "cannot allocate memory",
	ErrAccess:            "permission denied",
	ErrBusy:              "device or resource busy",
	ErrExists:            "file exists",
	ErrCrossDevice:       "invalid cross-device link",
	ErrNotDirectory:      "not a directory",
	ErrIsDirectory:       "is a directory",
	ErrInvalid:           "invalid argument",
	ErrFileTooBig:        "file too large",
	ErrNoSpace:           "no space left on device",
	ErrReadOnly:          "read-only file system",
	ErrDomain:            "numerical argument out of domain",
	ErrRange:             "numerical result out of range",
	ErrDeadlock:          "resource deadlock avoided",
	ErrNameTooLong:       "file name too long",
	ErrNotImplemented:    "function not implemented",
	ErrNotEmpty:          "directory not empty",
	ErrNoMessage:         "no message of desired type",
	ErrNoData:            "no data available",
	ErrNoLink:            "link has been severed",
	ErrTooManyUsers:      "too many users",
	ErrBadMessage:        "bad message",
	ErrOverflow:          "value too large for defined data type",
	ErrIllegalSequence:   "invalid or incomplete multibyte or wide character",
	ErrOldSnapContext:    "old snap context",
	ErrNotSupported:      "operation not supported",
	ErrConnectionReset:   "connection reset by peer",
	ErrNoBuffers:         "no buffer space available",
	ErrNotConnected:      "transport endpoint is not connected",
	ErrBlocklisted:       "client is blocklisted",
	ErrTimedOut:          "connection timed out",
	ErrConnectionRefused: "connection refused",
	ErrHostUnreachable:   "no route to host",
	ErrInProgress:        "operation now in progress",
	ErrStale:             "stale file handle",
	ErrQuota:             "disk quota exceeded",
	ErrCanceled:          "operation canceled",
	ErrRestart:           "interrupted system call should be restarted",
}
