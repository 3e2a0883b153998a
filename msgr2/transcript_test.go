package msgr2

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// transcript is one connection of ours to a real daemon as it was on the wire,
// captured by TestInteropConnects. The keys were of that connection alone.
type transcript struct {
	Peer       string `json:"peer"`
	Mode       string `json:"mode"`
	Rev0       bool   `json:"rev0"`
	Negotiates bool   `json:"negotiates_compression"`
	SessionKey []byte
	Secret     []byte
	Sent       []byte
	Received   []byte
}

func (s *transcript) UnmarshalJSON(b []byte) error {
	type plain transcript
	var raw struct {
		plain
		SessionKey string `json:"session_key"`
		Secret     string `json:"connection_secret"`
		Sent       string `json:"sent"`
		Received   string `json:"received"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*s = transcript(raw.plain)
	var errs []error
	for into, text := range map[*[]byte]string{&s.SessionKey: raw.SessionKey, &s.Secret: raw.Secret, &s.Sent: raw.Sent, &s.Received: raw.Received} {
		p, err := hex.DecodeString(text)
		errs = append(errs, err)
		*into = p
	}
	return errors.Join(errs...)
}

func (s *transcript) String() string {
	return fmt.Sprintf("%s %s rev0=%v compression=%v", s.Peer, s.Mode, s.Rev0, s.Negotiates)
}

// half is one direction: its frames, and how many bytes the signature covers.
type half struct {
	banner bannerPayload
	frames []inFrame
	signed int
}

// TestTranscriptsOfRealClusters reads both directions of connections to real
// monitors and OSDs, checks the signatures, and encodes every frame again to the
// very bytes that were sent.
func TestTranscriptsOfRealClusters(t *testing.T) {
	files, err := filepath.Glob("testdata/*/connections.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all []*transcript
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		release := filepath.Base(filepath.Dir(file))
		for _, s := range all {
			t.Run(release+" "+s.String(), func(t *testing.T) { checkTranscript(t, release, s) })
		}
	}
}

func checkTranscript(t *testing.T, release string, s *transcript) {
	sent, received := s.parse(t, true), s.parse(t, false)
	if t.Failed() {
		return
	}
	want := uint64(3)
	if release == "16.2" {
		want = 1
	}
	if received.banner.supported != want || received.banner.required != 0 {
		t.Errorf("daemon's banner: %+v", received.banner)
	}
	for _, way := range []struct {
		h, other half
		log      []byte
	}{{sent, received, s.Received}, {received, sent, s.Sent}} {
		var got authSignature
		if !find(t, way.h, tagAuthSignature, &got) {
			continue
		}
		n := way.other.signed
		if got != sign(s.SessionKey, way.log[:n]) {
			t.Error("signature does not hold")
		}
	}
	var hello helloPayload
	var id serverIdent
	var own clientIdent
	var done authDone
	if !find(t, received, tagHello, &hello) || !find(t, received, tagServerIdent, &id) || !find(t, sent, tagClientIdent, &own) || !find(t, received, tagAuthDone, &done) {
		return
	}
	if hello.kind.String() != s.Peer || !hello.peer.IP.Addr().IsLoopback() || done.mode.String() != s.Mode {
		t.Errorf("%+v, mode %v", hello, done.mode)
	}
	if uint64(own.gid) != done.globalID || !id.addrs.Contains(own.target) || id.flags != identLossy || id.cookie != 0 || id.supported&testFeatures == 0 {
		t.Errorf("client %+v, server %+v, id %d", own, id, done.globalID)
	}
	var choice compressionDone
	if s.Negotiates && release != "16.2" {
		if find(t, received, tagCompressionDone, &choice); choice.use {
			t.Errorf("compression: %+v", choice)
		}
	}
	checkTalk(t, s, sent, received)
}

// checkTalk looks at what was said after the handshake.
func checkTalk(t *testing.T, s *transcript, sent, received half) {
	var ping, pong keepalive
	if find(t, sent, tagKeepalive2, &ping) && find(t, received, tagKeepalive2Ack, &pong) && (ping != pong || ping.stamp.IsZero()) {
		t.Errorf("ping %v was answered by %v", ping, pong)
	}
	if s.Peer != entity.TypeMon.String() {
		return
	}
	for _, f := range received.frames {
		if f.tag != tagMessage {
			continue
		}
		var m Message
		if err := m.decodeHeader(f.seg[0]); err != nil || m.Seq == 0 || m.Flags&flagComplete == 0 {
			t.Errorf("%+v, %v", m, err)
		}
		if m.Type == 4 && len(f.seg[1]) > 0 {
			return
		}
	}
	t.Error("no map came")
}

// find decodes the first frame with the tag.
func find(t *testing.T, h half, tag uint8, into decoder) bool {
	t.Helper()
	for _, f := range h.frames {
		if f.tag == tag {
			into.Decode(denc.NewReader(f.seg[0]))
			return true
		}
	}
	t.Errorf("no frame with tag %d", tag)
	return false
}

// parse reads one direction and writes it again.
func (s *transcript) parse(t *testing.T, client bool) half {
	t.Helper()
	wire := s.Received
	if client {
		wire = s.Sent
	}
	var h half
	in := bytes.NewReader(wire)
	head := make([]byte, len(bannerPrefix)+2+16)
	if _, err := io.ReadFull(in, head); err != nil {
		t.Fatal(err)
	}
	h.banner.Decode(denc.NewReader(head[len(bannerPrefix)+2:]))
	var rx, tx codec = crcCodec{s.Rev0}, crcCodec{s.Rev0}
	again := bytes.Clone(head)
	for in.Len() > 0 {
		var f inFrame
		if h.signed == 0 && client && s.next(t, in, rx) == tagAuthSignature {
			h.signed = len(wire) - in.Len()
			rx, tx = s.switchMode(t, client, rx, tx)
		}
		if err := rx.read(in, &f, false); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break // the recording ends within a frame
			}
			t.Fatalf("frame %d: %v", len(h.frames), err)
		}
		out := &outFrame{tag: f.tag, flags: f.flags, seg: [dataSegment][]byte(f.seg[:dataSegment]), data: NewData(f.seg[dataSegment])}
		again = append(again, encode(t, tx, out)...)
		checkPayload(t, &f)
		h.frames = append(h.frames, f)
		if h.signed == 0 && !client && f.tag == tagAuthDone {
			h.signed = len(wire) - in.Len()
			rx, tx = s.switchMode(t, client, rx, tx)
		}
	}
	if !bytes.HasPrefix(wire, again) || len(again) < len(wire)-200 {
		t.Errorf("%d frames in %d bytes do not come out as they went in", len(h.frames), len(wire))
	}
	return h
}

// next returns the tag of the next frame as the client's half sees it: after
// its last frame of the authentication comes the signature, maybe encrypted.
func (s *transcript) next(t *testing.T, in *bytes.Reader, rx codec) uint8 {
	t.Helper()
	at := in.Size() - int64(in.Len())
	var f inFrame
	if err := rx.read(in, &f, false); err != nil {
		f.tag = tagAuthSignature // it does not read as plain text
	}
	if _, err := in.Seek(at, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f.tag
}

func (s *transcript) switchMode(t *testing.T, client bool, rx, tx codec) (codec, codec) {
	t.Helper()
	if s.Mode != ModeSecure.String() {
		return rx, tx
	}
	a, err := newSecureCodec(s.Secret, client, s.Rev0)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newSecureCodec(s.Secret, !client, s.Rev0)
	return b, a
}

// checkPayload decodes a frame's payload and encodes it again.
func checkPayload(t *testing.T, f *inFrame) {
	t.Helper()
	if f.tag == tagMessage {
		var m Message
		if err := m.decodeHeader(f.seg[0]); err != nil || !bytes.Equal(m.appendHeader(nil), f.seg[0]) {
			t.Errorf("message header %x became %x, %v", f.seg[0], m.appendHeader(nil), err)
		}
		return
	}
	p := payloads()[f.tag]
	if p == nil {
		t.Errorf("tag %d", f.tag)
		return
	}
	r := denc.NewReader(f.seg[0])
	p.Decode(r)
	if err := r.Done(); err != nil {
		t.Errorf("tag %d: %v in %x", f.tag, err, f.seg[0])
		return
	}
	if got := p.Append(nil); !bytes.Equal(got, f.seg[0]) {
		t.Errorf("tag %d: %x became %x", f.tag, f.seg[0], got)
	}
}
