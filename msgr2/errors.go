package msgr2

import "errors"

var (
	// ErrClosed says that the connection was closed at this end.
	ErrClosed = errors.New("connection is closed")
	// ErrFrame says that the peer sent bytes that are no valid frame, or none
	// that may come at this point: a wrong checksum, an impossible length, an
	// unexpected tag.
	ErrFrame = errors.New("malformed msgr2 frame")
	// ErrMsgr1 says that the port speaks the old protocol only.
	ErrMsgr1 = errors.New("port speaks msgr1, the old protocol; the msgr2 port is needed (3300 on monitors)")
	// ErrNotCeph says that what listens there is no Ceph daemon with msgr2.
	ErrNotCeph = errors.New("not a Ceph msgr2 peer")
	// ErrSignature says that the peers have seen different handshakes or hold
	// different keys: something between them changed bytes.
	ErrSignature = errors.New("wrong signature of the handshake")
	// ErrPeerType says that another kind of daemon answers at the address.
	ErrPeerType = errors.New("another kind of daemon answers")
	// ErrFeatures says that one side lacks features that the other requires.
	ErrFeatures = errors.New("required features are missing")
	// ErrRetry says that the peer wants the connection to be tried again later.
	ErrRetry = errors.New("peer asks to connect again")
	// ErrSilent says that nothing came from the peer for too long.
	ErrSilent = errors.New("peer is silent")

	// errAborted marks a frame whose sender gave it up half-way; it is dropped.
	errAborted        = errors.New("frame aborted by its sender")
	errNonceExhausted = errors.New("nonce of the encrypted connection is used up")
)
