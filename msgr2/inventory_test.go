package msgr2

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

func of[T any, P interface {
	*T
	denctest.Codec
}]() denctest.Codec {
	return P(new(T))
}

// types are all codecs of this package but the frames, which have tests of their
// own.
var types = denctest.Types{
	"bannerPayload": of[bannerPayload], "helloPayload": of[helloPayload], "authRequest": of[authRequest], "authBadMethod": of[authBadMethod],
	"authMore": of[authMore], "authDone": of[authDone], "authSignature": of[authSignature], "clientIdent": of[clientIdent],
	"serverIdent": of[serverIdent], "sessionReconnect": of[sessionReconnect], "sessionReset": of[sessionReset], "word": of[word],
	"keepalive": of[keepalive], "compressionRequest": of[compressionRequest], "compressionDone": of[compressionDone],
}

// TestEveryTypeHasGoldenBytes holds the payloads of the handshake, and of what
// follows a broken connection, to what real daemons and clients sent each other.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(helloPayload{})
	inv.Golden(t, types, func(t *testing.T, release string, val denctest.Value, c denctest.Codec) {
		if !plausible(release, c) {
			t.Errorf("%s: unexpected %+v", val.From, c)
		}
	})
	inv.Complete(t, types, map[string]string{
		"compressionRequest": "16.2 has no compression on the wire",
		"compressionDone":    "16.2 has no compression on the wire",
		"sessionReset":       "hangs on how a connection breaks; 16.2's is there",
	})
}

func plausible(release string, c denctest.Codec) bool {
	switch v := c.(type) {
	case *bannerPayload:
		want := uint64(bannerRevision1 | bannerCompression)
		if release == "16.2" {
			want = bannerRevision1
		}
		return v.supported == want && v.required == 0
	case *helloPayload:
		return v.kind != 0 && v.peer.IP.Addr().IsLoopback()
	case *authRequest:
		return v.method == 2 && len(v.payload) > 0 && len(v.modes) > 0 && v.modes[0] == ModeCRC
	case *authBadMethod:
		return v.method == 2 && v.result == -13 && len(v.methods) == 1 && v.methods[0] == 2
	case *authDone:
		return v.mode == ModeCRC && len(v.payload) > 0
	case *clientIdent:
		return v.supported&(1<<57) != 0 && v.target.IP.Addr().IsLoopback()
	case *serverIdent:
		return len(v.addrs) > 0 && v.supported&(1<<57) != 0
	case *sessionReconnect:
		return v.clientCookie != 0 && v.serverCookie != 0 && v.globalSeq > 0
	case *keepalive:
		return !v.stamp.IsZero()
	case *compressionRequest:
		return !v.want || len(v.algorithms) > 0
	}
	return true
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }
