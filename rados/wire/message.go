// Package wire holds the fronts of every message that a RADOS client exchanges
// with monitors, managers and OSDs, and the maps they carry. Each type is
// defined once, with both directions, so that the client and a server in tests
// share it. Formats are those of Ceph 16.2 to 20.2 as spoken to a peer that has
// at least the features of 14.2.
//
// Monitor and manager messages are in mon*.go, mgr*.go, auth.go, config.go,
// poolop.go, statfs.go and log.go.
package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Header says how a front is announced in its message's header.
type Header struct {
	Type, Version, Compat uint16
}

// Front is the payload of one message. Decode leaves its reader at the end of
// what it knows; fields that a newer sender appended are left unread.
type Front interface {
	Header() Header
	Append(b []byte) []byte
	Decode(r *denc.Reader)
}

// Decode reads front p into f. It fails on a truncated or invalid front. What
// f keeps of p it aliases.
func Decode(f Front, p []byte) error {
	r := denc.NewReader(p)
	f.Decode(r)
	return r.Err()
}

// readString and readU64 are method expressions in the shape that the generic
// readers of denc want.
func readString(r *denc.Reader) string { return r.String() }

func readU64(r *denc.Reader) uint64 { return r.U64() }

func appendStringMap(b []byte, m map[string]string) []byte {
	return denc.AppendMap(b, m, denc.AppendString, denc.AppendString)
}

func readStringMap(r *denc.Reader) map[string]string {
	return denc.Map(r, 8, readString, readString)
}

func appendStrings(b []byte, s []string) []byte {
	return denc.AppendSlice(b, s, denc.AppendString)
}

func readStrings(r *denc.Reader) []string { return denc.Slice(r, 4, readString) }
