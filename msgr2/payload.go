package msgr2

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Payloads of the handshake's frames (src/msg/async/frames_v2.h), the same in
// 16.2 to 20.2. Each is the first and only segment of its frame.

func readU32(r *denc.Reader) uint32 { return r.U32() }

func appendMode(b []byte, m Mode) []byte { return denc.AppendU32(b, uint32(m)) }

func readMode(r *denc.Reader) Mode { return Mode(r.U32()) }

// bannerPayload is what follows the banner's length: the features of the
// messenger itself. Newer ones may append to it.
type bannerPayload struct{ supported, required uint64 }

// Append appends both words.
func (p bannerPayload) Append(b []byte) []byte {
	return denc.AppendU64(denc.AppendU64(b, p.supported), p.required)
}

// Decode reads both words and leaves the rest.
func (p *bannerPayload) Decode(r *denc.Reader) { p.supported, p.required = r.U64(), r.U64() }

// helloPayload says who one is, and how one sees the peer.
type helloPayload struct {
	kind entity.Type
	peer entity.Addr
}

// Append appends u8 kind, address.
func (p helloPayload) Append(b []byte) []byte {
	return p.peer.Append(denc.AppendU8(b, uint8(p.kind)))
}

// Decode reads what Append wrote.
func (p *helloPayload) Decode(r *denc.Reader) {
	p.kind = entity.Type(r.U8())
	p.peer.Decode(r)
}

// authRequest opens the authentication.
type authRequest struct {
	method  uint32
	modes   []Mode
	payload []byte
}

// Append appends u32 method, modes, payload.
func (p authRequest) Append(b []byte) []byte {
	b = denc.AppendSlice(denc.AppendU32(b, p.method), p.modes, appendMode)
	return denc.AppendBytes(b, p.payload)
}

// Decode reads what Append wrote; payload is aliased.
func (p *authRequest) Decode(r *denc.Reader) {
	p.method = r.U32()
	p.modes = denc.Slice(r, 4, readMode)
	p.payload = r.Bytes()
}

// authBadMethod refuses an attempt.
type authBadMethod struct {
	method  uint32
	result  int32
	methods []uint32
	modes   []uint32
}

// Append appends u32 method, s32 result, methods, modes.
func (p authBadMethod) Append(b []byte) []byte {
	b = denc.AppendS32(denc.AppendU32(b, p.method), p.result)
	b = denc.AppendSlice(b, p.methods, denc.AppendU32)
	return denc.AppendSlice(b, p.modes, denc.AppendU32)
}

// Decode reads what Append wrote.
func (p *authBadMethod) Decode(r *denc.Reader) {
	p.method, p.result = r.U32(), r.S32()
	p.methods = denc.Slice(r, 4, readU32)
	p.modes = denc.Slice(r, 4, readU32)
}

// authMore is one step of the authentication in either direction.
type authMore struct{ payload []byte }

// Append appends the payload with its length.
func (p authMore) Append(b []byte) []byte { return denc.AppendBytes(b, p.payload) }

// Decode reads what Append wrote; payload is aliased.
func (p *authMore) Decode(r *denc.Reader) { p.payload = r.Bytes() }

// authDone lets the client in.
type authDone struct {
	globalID uint64
	mode     Mode
	payload  []byte
}

// Append appends u64 id, u32 mode, payload.
func (p authDone) Append(b []byte) []byte {
	b = appendMode(denc.AppendU64(b, p.globalID), p.mode)
	return denc.AppendBytes(b, p.payload)
}

// Decode reads what Append wrote; payload is aliased.
func (p *authDone) Decode(r *denc.Reader) {
	p.globalID, p.mode = r.U64(), readMode(r)
	p.payload = r.Bytes()
}

// authSignature is an HMAC-SHA256, raw.
type authSignature [32]byte

// Append appends the 32 bytes.
func (p authSignature) Append(b []byte) []byte { return append(b, p[:]...) }

// Decode reads the 32 bytes.
func (p *authSignature) Decode(r *denc.Reader) { copy(p[:], r.Raw(len(p))) }

// compressionRequest says whether the client wants compression, and by what.
type compressionRequest struct {
	want       bool
	algorithms []Algorithm
}

// Append appends bool, algorithms.
func (p compressionRequest) Append(b []byte) []byte {
	return denc.AppendSlice(denc.AppendBool(b, p.want), p.algorithms, func(b []byte, a Algorithm) []byte { return denc.AppendU32(b, uint32(a)) })
}

// Decode reads what Append wrote.
func (p *compressionRequest) Decode(r *denc.Reader) {
	p.want = r.Bool()
	p.algorithms = denc.Slice(r, 4, func(r *denc.Reader) Algorithm { return Algorithm(r.U32()) })
}

// compressionDone is the server's choice.
type compressionDone struct {
	use       bool
	algorithm Algorithm
}

// Append appends bool, u32 algorithm.
func (p compressionDone) Append(b []byte) []byte {
	return denc.AppendU32(denc.AppendBool(b, p.use), uint32(p.algorithm))
}

// Decode reads what Append wrote.
func (p *compressionDone) Decode(r *denc.Reader) {
	p.use, p.algorithm = r.Bool(), Algorithm(r.U32())
}

// identLossy is a bit of an ident's flags.
const identLossy = 1

// ident is the part that CLIENT_IDENT and SERVER_IDENT share.
type ident struct {
	addrs               entity.AddrVec
	target              entity.Addr // CLIENT_IDENT only
	gid                 int64
	globalSeq           uint64
	supported, required uint64
	flags, cookie       uint64
}

func (p ident) appendRest(b []byte) []byte {
	b = denc.AppendS64(b, p.gid)
	for _, v := range [...]uint64{p.globalSeq, p.supported, p.required, p.flags, p.cookie} {
		b = denc.AppendU64(b, v)
	}
	return b
}

func (p *ident) decodeRest(r *denc.Reader) {
	p.gid = r.S64()
	for _, v := range [...]*uint64{&p.globalSeq, &p.supported, &p.required, &p.flags, &p.cookie} {
		*v = r.U64()
	}
}

// clientIdent introduces the client: its addresses, the one it dialled, its
// number, features and policy.
type clientIdent struct{ ident }

// Append appends addresses, target, s64 number, then u64 global sequence,
// features supported and required, flags, cookie.
func (p clientIdent) Append(b []byte) []byte {
	return p.appendRest(p.target.Append(p.addrs.Append(b)))
}

// Decode reads what Append wrote.
func (p *clientIdent) Decode(r *denc.Reader) {
	p.addrs.Decode(r)
	p.target.Decode(r)
	p.decodeRest(r)
}

// serverIdent introduces the server: clientIdent without the target.
type serverIdent struct{ ident }

// Append appends addresses and what follows.
func (p serverIdent) Append(b []byte) []byte { return p.appendRest(p.addrs.Append(b)) }

// Decode reads what Append wrote.
func (p *serverIdent) Decode(r *denc.Reader) {
	p.addrs.Decode(r)
	p.decodeRest(r)
}

// sessionReconnect asks to go on with a session.
type sessionReconnect struct {
	addrs                                                  entity.AddrVec
	clientCookie, serverCookie, globalSeq, connSeq, msgSeq uint64
}

// Append appends addresses and the five words.
func (p sessionReconnect) Append(b []byte) []byte {
	b = p.addrs.Append(b)
	for _, v := range [...]uint64{p.clientCookie, p.serverCookie, p.globalSeq, p.connSeq, p.msgSeq} {
		b = denc.AppendU64(b, v)
	}
	return b
}

// Decode reads what Append wrote.
func (p *sessionReconnect) Decode(r *denc.Reader) {
	p.addrs.Decode(r)
	for _, v := range [...]*uint64{&p.clientCookie, &p.serverCookie, &p.globalSeq, &p.connSeq, &p.msgSeq} {
		*v = r.U64()
	}
}

// word is the payload of frames that are one u64: IDENT_MISSING_FEATURES,
// SESSION_RETRY, SESSION_RETRY_GLOBAL, SESSION_RECONNECT_OK, ACK.
type word uint64

// Append appends the word.
func (p word) Append(b []byte) []byte { return denc.AppendU64(b, uint64(p)) }

// Decode reads the word.
func (p *word) Decode(r *denc.Reader) { *p = word(r.U64()) }

// sessionReset tells the client to begin anew.
type sessionReset struct{ full bool }

// Append appends the bool.
func (p sessionReset) Append(b []byte) []byte { return denc.AppendBool(b, p.full) }

// Decode reads the bool.
func (p *sessionReset) Decode(r *denc.Reader) { p.full = r.Bool() }

// keepalive is the sender's time, which the answer repeats.
type keepalive struct{ stamp denc.Time }

// Append appends the time.
func (p keepalive) Append(b []byte) []byte { return denc.AppendTime(b, p.stamp) }

// Decode reads the time.
func (p *keepalive) Decode(r *denc.Reader) { p.stamp = r.Time() }
