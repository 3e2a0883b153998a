package msgr2

import (
	"bytes"
	"net"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// FuzzFrame reads frames of crc mode. What can be read comes back the same.
func FuzzFrame(f *testing.F) {
	for _, rev0 := range []bool{false, true} {
		for _, s := range shapes()[:14] {
			f.Add(encode(f, crcCodec{rev0}, s), rev0, uint8(0))
		}
	}
	for a := Snappy; a <= LZ4; a++ {
		c, _ := newCompressCodec(crcCodec{}, a, 1, true)
		f.Add(encode(f, c, shapes()[12]), false, uint8(a))
	}
	f.Fuzz(func(t *testing.T, p []byte, rev0 bool, comp uint8) {
		var c codec = plainCodec{crcCodec{rev0}}
		if a := Algorithm(comp % 5); a != 0 {
			c, _ = newCompressCodec(crcCodec{rev0}, a, 1<<30, true)
		}
		in := bytes.NewReader(p)
		for range 4 {
			var got, again inFrame
			if err := c.read(in, &got, false); err != nil {
				return
			}
			out := &outFrame{tag: got.tag, seg: [dataSegment][]byte(got.seg[:dataSegment]), data: NewData(got.seg[dataSegment])}
			if err := c.read(bytes.NewReader(encode(t, c, out)), &again, false); err != nil || again.tag != got.tag {
				t.Fatalf("tag %d became %d, %v", got.tag, again.tag, err)
			}
			for i := range got.seg {
				if !bytes.Equal(got.seg[i], again.seg[i]) {
					t.Fatalf("segment %d: %x became %x", i, got.seg[i], again.seg[i])
				}
			}
			got.release()
			again.release()
		}
	})
}

// FuzzSecureFrame seals what a peer that holds the key might send.
func FuzzSecureFrame(f *testing.F) {
	p := appendPreamble(nil, (&outFrame{tag: tagMessage, seg: [dataSegment][]byte{make([]byte, 41), make([]byte, 9)}}).preamble())
	f.Add(p, make([]byte, 48), make([]byte, 32), false)
	f.Add(p, make([]byte, 48), make([]byte, 32), true)
	f.Fuzz(func(t *testing.T, head, second, third []byte, rev0 bool) {
		if len(head) < preambleSize {
			return
		}
		sealPreamble(head[:preambleSize])
		a, _ := newSecureCodec(testSecret, true, rev0)
		b, _ := newSecureCodec(testSecret, false, rev0)
		var wire []byte
		if rev0 {
			wire = a.tx.seal(bytes.Clone(append(append(head, second...), third...)))
		} else {
			full := make([]byte, preambleSize+inlineSize, 200)
			copy(full, head)
			wire = a.tx.seal(full)
			wire = append(wire, a.tx.seal(bytes.Clone(second))...)
			wire = append(wire, a.tx.seal(bytes.Clone(third))...)
		}
		var got inFrame
		if b.read(bytes.NewReader(wire), &got, false) == nil {
			got.release()
		}
	})
}

// wirePayload is a payload in both directions.
type wirePayload interface {
	appender
	decoder
}

// payloads returns a value for each kind of payload, by tag.
func payloads() map[uint8]wirePayload {
	return map[uint8]wirePayload{
		0: &bannerPayload{}, tagHello: &helloPayload{}, tagAuthRequest: &authRequest{}, tagAuthBadMethod: &authBadMethod{},
		tagAuthReplyMore: &authMore{}, tagAuthRequestMore: &authMore{}, tagAuthDone: &authDone{}, tagAuthSignature: &authSignature{},
		tagClientIdent: &clientIdent{}, tagServerIdent: &serverIdent{}, tagIdentMissing: new(word), tagSessionReconnect: &sessionReconnect{},
		tagSessionReset: &sessionReset{}, tagSessionRetry: new(word), tagSessionRetryGlobal: new(word), tagSessionReconnectOK: new(word),
		tagKeepalive2: &keepalive{}, tagKeepalive2Ack: &keepalive{}, tagAck: new(word),
		tagCompressionRequest: &compressionRequest{}, tagCompressionDone: &compressionDone{},
	}
}

// FuzzPayload reads every payload of the handshake. Encoding what was read and
// reading that must end the same.
func FuzzPayload(f *testing.F) {
	addrs := entity.AddrVec{testServer, testServer.WithType(entity.AddrLegacy)}
	id := ident{addrs: addrs, target: testServer, gid: 5, supported: 1, cookie: 2}
	for tag, p := range map[uint8]appender{
		0: bannerPayload{3, 0}, tagHello: helloPayload{entity.TypeMon, testServer}, tagAuthRequest: authRequest{2, []Mode{2, 1}, []byte("x")},
		tagAuthBadMethod: authBadMethod{2, -13, []uint32{2}, []uint32{2, 1}}, tagAuthReplyMore: authMore{[]byte("y")},
		tagAuthDone: authDone{7, ModeSecure, []byte("z")}, tagAuthSignature: authSignature{1}, tagClientIdent: clientIdent{id},
		tagServerIdent: serverIdent{id}, tagSessionReconnect: sessionReconnect{addrs: addrs, msgSeq: 4}, tagAck: word(9),
		tagSessionReset: sessionReset{true}, tagKeepalive2: keepalive{denc.Time{Sec: 1, Nsec: 2}},
		tagCompressionRequest: compressionRequest{true, []Algorithm{1, 4}}, tagCompressionDone: compressionDone{true, 3},
	} {
		f.Add(tag, p.Append(nil))
	}
	f.Fuzz(func(t *testing.T, tag uint8, b []byte) {
		p, again := payloads()[tag], payloads()[tag]
		if p == nil {
			return
		}
		r := denc.NewReader(b)
		if p.Decode(r); r.Err() != nil {
			return
		}
		first := p.Append(nil)
		r = denc.NewReader(first)
		again.Decode(r)
		if err := r.Done(); err != nil {
			t.Fatalf("%+v encodes to %x: %v", p, first, err)
		}
		if second := again.Append(nil); !bytes.Equal(first, second) {
			t.Fatalf("%x, then %x", first, second)
		}
	})
}

// FuzzBanner feeds what a peer says first.
func FuzzBanner(f *testing.F) {
	f.Add([]byte("ceph v2\n\x10\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("ceph v027"))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, b := net.Pipe()
		defer a.Close()
		go func() {
			_, _ = b.Write(p)
			_ = b.Close()
		}()
		h := &handshake{c: newConn(a, Config{}), record: true}
		if _, err := h.readBanner(); err == nil && !bytes.HasPrefix(p, []byte(bannerPrefix)) {
			t.Errorf("%q is taken for a banner", p)
		}
	})
}

// FuzzDecompress feeds hostile segments: never more comes out than is allowed.
func FuzzDecompress(f *testing.F) {
	for a := Snappy; a <= LZ4; a++ {
		c, _ := newCompressor(a)
		p, _ := c.compress(nil, text(500))
		f.Add(uint8(a), p)
	}
	f.Fuzz(func(t *testing.T, a uint8, p []byte) {
		const limit = 1 << 16
		c, err := newCompressor(Algorithm(a%4 + 1))
		if err != nil {
			t.Fatal(err)
		}
		buf, err := c.decompress(p, limit)
		if err != nil {
			return
		}
		if len(buf.b) > limit {
			t.Fatalf("%d bytes", len(buf.b))
		}
		packed, err := c.compress(nil, buf.b)
		if err != nil || len(buf.b) == 0 {
			return
		}
		again, err := c.decompress(packed, limit)
		if err != nil || !bytes.Equal(again.b, buf.b) {
			t.Fatal("other bytes came back", err)
		}
	})
}

// FuzzMessageHeader reads headers; encoding gives the same bytes but for the
// fields that are always 0.
func FuzzMessageHeader(f *testing.F) {
	f.Add((&Message{Type: 42, TID: 7, Priority: 63, Version: 8, Compat: 4, Seq: 1, AckSeq: 2, Flags: 3}).appendHeader(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		var m, again Message
		if m.decodeHeader(p) != nil {
			return
		}
		if err := again.decodeHeader(m.appendHeader(nil)); err != nil || again.TID != m.TID || again.Type != m.Type || again.Seq != m.Seq || again.Flags != m.Flags || again.Compat != m.Compat {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
