package msgr2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
)

var testSecret = noise(64, 99)

// codecs returns the two ends of a connection: what one writes the other reads.
func (v variant) codecs(t testing.TB) (tx, rx codec) {
	t.Helper()
	wrap := func(c codec) codec {
		if v.comp == 0 {
			return plainCodec{c}
		}
		cc, err := newCompressCodec(c, v.comp, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		return cc
	}
	if v.mode == ModeCRC {
		return wrap(crcCodec{v.rev0}), wrap(crcCodec{v.rev0})
	}
	a, err := newSecureCodec(testSecret, true, v.rev0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newSecureCodec(testSecret, false, v.rev0)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(a), wrap(b)
}

// encode returns the bytes of one frame.
func encode(t testing.TB, c codec, f *outFrame) []byte {
	t.Helper()
	var out outBuffers
	defer out.reset()
	if err := c.appendTo(&out, f); err != nil {
		t.Fatal(err)
	}
	out.close()
	return bytes.Join(out.list, nil)
}

// shapes are frames of every number of segments, with empty ones in between.
func shapes() []*outFrame {
	var frames []*outFrame
	for _, s := range [][4]int{
		{0}, {1}, {15}, {16}, {47}, {48}, {49}, {64}, {65}, {5000}, {41, 1}, {41, 48}, {41, 100, 7}, {41, 0, 7},
		{41, 100, 0, 4096}, {41, 0, 0, 1}, {41, 300, 5, 70000}, {41, 9000, 9000, 9000}, {0, 0, 0, 5}, {0, 3},
	} {
		f := &outFrame{tag: tagMessage, seg: [dataSegment][]byte{noise(s[0], 1), text(s[1]), noise(s[2], 3)}}
		if s[1]+s[2]+s[3] == 0 && s[0] != 41 {
			f.tag = tagHello
		}
		f.data = NewData(text(s[3]/2), noise(s[3]-s[3]/2, 4))
		frames = append(frames, f)
	}
	return frames
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	for _, v := range variants {
		tx, rx := v.codecs(t)
		var f inFrame
		for i, want := range shapes() {
			b := encode(t, tx, want)
			if err := rx.read(bytes.NewReader(b), &f, false); err != nil {
				t.Fatalf("%v, frame %d: %v", v, i, err)
			}
			if f.tag != want.tag {
				t.Errorf("%v, frame %d: tag %d", v, i, f.tag)
			}
			for n := range maxSegments {
				p := want.data.Bytes()
				if n < dataSegment {
					p = want.seg[n]
				}
				if !bytes.Equal(f.seg[n], p) {
					t.Errorf("%v, frame %d: segment %d is %d bytes, sent %d", v, i, n, len(f.seg[n]), len(p))
				}
				if crc := denc.CRC32C(^uint32(0), p); f.crcs && n < f.n && f.crc[n] != crc {
					t.Errorf("%v, frame %d: CRC of segment %d is %#x, not %#x", v, i, n, f.crc[n], crc)
				}
			}
			f.release()
		}
	}
}

// TestFrameSizes counts what each layout adds, from the protocol's description.
func TestFrameSizes(t *testing.T) {
	for _, tc := range []struct {
		v     variant
		sizes [4]int
		want  int
	}{
		{variants[0], [4]int{0}, 32},
		{variants[0], [4]int{8}, 32 + 8 + 4},
		{variants[0], [4]int{41, 10, 0, 0}, 32 + 41 + 4 + 10 + 13},
		{variants[0], [4]int{41, 10, 0, 100}, 32 + 41 + 4 + 10 + 100 + 13},
		{variants[2], [4]int{0}, 32 + 17},
		{variants[2], [4]int{8}, 32 + 8 + 17},
		{variants[2], [4]int{41, 10, 0, 100}, 32 + 41 + 10 + 100 + 17},
		{variants[1], [4]int{0}, 96},
		{variants[1], [4]int{48}, 96},
		{variants[1], [4]int{49}, 96 + 16 + 16},
		{variants[1], [4]int{41, 10, 0, 100}, 96 + 16 + 112 + 16 + 16},
		{variants[3], [4]int{0}, 32 + 16 + 16},
		{variants[3], [4]int{41, 10, 0, 100}, 32 + 48 + 16 + 112 + 16 + 16},
	} {
		tx, _ := tc.v.codecs(t)
		f := &outFrame{tag: tagMessage, seg: [dataSegment][]byte{make([]byte, tc.sizes[0]), make([]byte, tc.sizes[1]), make([]byte, tc.sizes[2])}, data: NewData(make([]byte, tc.sizes[3]))}
		if got := len(encode(t, tx, f)); got != tc.want {
			t.Errorf("%v, %v: %d bytes, want %d", tc.v, tc.sizes, got, tc.want)
		}
	}
}

func TestTruncatedFramesAreErrors(t *testing.T) {
	for _, v := range variants {
		for i, shape := range shapes()[:16] {
			tx, _ := v.codecs(t)
			b := encode(t, tx, shape)
			for n := range len(b) {
				if len(b) > 300 && n > 150 && n < len(b)-100 {
					continue
				}
				var f inFrame
				_, rx := v.codecs(t)
				err := rx.read(bytes.NewReader(b[:n]), &f, false)
				if n == 0 && err != io.EOF || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%v, frame %d cut at %d of %d: %v", v, i, n, len(b), err)
				}
			}
		}
	}
}

func TestChangedFramesAreErrors(t *testing.T) {
	for _, v := range variants[:4] {
		tx, _ := v.codecs(t)
		b := encode(t, tx, shapes()[12])
		for n := range b {
			bad := bytes.Clone(b)
			bad[n] ^= 0x20
			var f inFrame
			_, rx := v.codecs(t)
			err := rx.read(bytes.NewReader(bad), &f, false)
			// Reserved bits of the status, the slot of a segment that is not there.
			free := v == variants[0] && n == len(b)-13 || v.mode == ModeCRC && n >= len(b)-4
			if err == nil && !free {
				t.Errorf("%v: byte %d of %d changed unnoticed", v, n, len(b))
			}
		}
	}
}

// sealPreamble recomputes the checksum of a changed preamble.
func sealPreamble(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[28:], denc.CRC32C(0, b[:28]))
	return b
}

func TestImpossiblePreambles(t *testing.T) {
	tx, rx := variants[0].codecs(t)
	good := encode(t, tx, &outFrame{tag: tagMessage, seg: [dataSegment][]byte{make([]byte, 41), {1}}})
	for name, change := range map[string]func(b []byte){
		"no segment":        func(b []byte) { b[1] = 0 },
		"five segments":     func(b []byte) { b[1] = 5 },
		"empty last":        func(b []byte) { b[1] = 3 },
		"long header":       func(b []byte) { binary.LittleEndian.PutUint32(b[2:], maxHeader+1) },
		"long front":        func(b []byte) { binary.LittleEndian.PutUint32(b[8:], MaxFront+1) },
		"long middle":       func(b []byte) { b[1] = 3; binary.LittleEndian.PutUint32(b[14:], MaxMiddle+1) },
		"long data":         func(b []byte) { b[1] = 4; binary.LittleEndian.PutUint32(b[20:], MaxData+1) },
		"largest data":      func(b []byte) { b[1] = 4; binary.LittleEndian.PutUint32(b[20:], 1<<32-1) },
		"long control":      func(b []byte) { b[0], b[1] = tagHello, 1; binary.LittleEndian.PutUint32(b[2:], MaxControl+1) },
		"control with data": func(b []byte) { b[0] = tagHello },
		"compressed":        func(b []byte) { b[26] = flagCompressed },
	} {
		b := bytes.Clone(good)
		change(b)
		var f inFrame
		if err := rx.read(bytes.NewReader(sealPreamble(b)), &f, false); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var f inFrame
	if err := rx.read(bytes.NewReader(good), &f, true); !errors.Is(err, ErrFrame) {
		t.Errorf("a message within the handshake: %v", err)
	}
}

func TestAnAbortedFrameIsDropped(t *testing.T) {
	for _, rev0 := range []bool{false, true} {
		v := variant{rev0: rev0, mode: ModeCRC}
		tx, rx := v.codecs(t)
		b := encode(t, tx, &outFrame{tag: tagMessage, seg: [dataSegment][]byte{make([]byte, 41), {1}}})
		at, aborted, bad := len(b)-13, byte(lateAborted), byte(7)
		if rev0 {
			at, aborted, bad = len(b)-17, flag0Aborted, 2
		}
		for status, want := range map[byte]error{aborted: errAborted, bad: ErrFrame} {
			b[at] = status
			var f inFrame
			if err := rx.read(bytes.NewReader(b), &f, false); !errors.Is(err, want) {
				t.Errorf("rev0 %v, status %#x: %v", rev0, status, err)
			}
		}
	}
}

func TestTheNonceDoesNotComeRound(t *testing.T) {
	for _, rev0 := range []bool{false, true} {
		a, err := newSecureCodec(testSecret, true, rev0)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := newSecureCodec(testSecret, false, rev0)
		for _, s := range []*gcmStream{a.tx, b.rx} { // one message is left
			if rev0 {
				binary.LittleEndian.PutUint32(s.nonce[:], binary.LittleEndian.Uint32(s.first[:])-1)
			} else {
				binary.LittleEndian.PutUint64(s.nonce[4:], binary.LittleEndian.Uint64(s.first[4:])-1)
			}
		}
		p := encode(t, a, &outFrame{tag: tagHello})
		var f inFrame
		if err := b.read(bytes.NewReader(p), &f, false); err != nil {
			t.Error(err)
		}
		if err := a.appendTo(&outBuffers{}, &outFrame{tag: tagHello}); !errors.Is(err, errNonceExhausted) {
			t.Error(err)
		}
		if err := b.read(bytes.NewReader(p), &f, false); !errors.Is(err, errNonceExhausted) {
			t.Error(err)
		}
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	if _, err := newSecureCodec(testSecret[:39], true, false); err == nil {
		t.Error("39 bytes were taken")
	}
}

func TestCompressionFormats(t *testing.T) {
	for _, a := range []Algorithm{Snappy, Zlib, Zstd, LZ4} {
		c, err := newCompressor(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{{1}, text(41), text(5000), noise(5000, 1), text(5 << 20), make([]byte, 3<<20)} {
			packed, err := c.compress([]byte("kept"), p)
			if err != nil || string(packed[:4]) != "kept" {
				t.Fatalf("%v: %v", a, err)
			}
			packed = packed[4:]
			buf, err := c.decompress(packed, len(p))
			if err != nil || !bytes.Equal(buf.b, p) {
				t.Fatalf("%v, %d bytes: %v", a, len(p), err)
			}
			buf.free()
			if len(p) > 1 {
				if _, err := c.decompress(packed, len(p)-1); !errors.Is(err, ErrFrame) {
					t.Errorf("%v: %d bytes where %d are allowed: %v", a, len(p), len(p)-1, err)
				}
			}
			for _, cut := range []int{0, 1, 3, 4, len(packed) / 2, len(packed) - 1} {
				if cut >= len(packed) {
					continue
				}
				if _, err := c.decompress(packed[:cut], len(p)); !errors.Is(err, ErrFrame) {
					t.Errorf("%v: %d of %d bytes: %v", a, cut, len(packed), err)
				}
			}
		}
	}
	if _, err := newCompressor(5); err == nil {
		t.Error("brotli was taken")
	}
}

// A segment of several blocks, of which the second refers to the first: what a
// sender makes of a fragmented buffer.
func TestLZ4BlocksReferToTheirPredecessors(t *testing.T) {
	first, second := []byte("\x80abcdefgh"), []byte("\x04\x08\x00\x00")
	b := denc.AppendU32(nil, 2)
	for _, n := range []int{8, len(first), 8, len(second)} {
		b = denc.AppendU32(b, uint32(n))
	}
	b = append(append(b, first...), second...)
	c, _ := newCompressor(LZ4)
	buf, err := c.decompress(b, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buf.b); got != "abcdefghabcdefgh" {
		t.Errorf("%q", got)
	}
}

func TestBuffersFitTheirClasses(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 5120, 5121, 1 << 16, 4 << 20, 4<<20 + 1024, 4<<20 + 1025, 8<<20 + 1024, 9 << 20} {
		b := newBuffer(n)
		if len(b.b) != n || n > 8192 && cap(b.b) > 2*n+bufferSlack {
			t.Errorf("%d bytes: length %d, capacity %d", n, len(b.b), cap(b.b))
		}
		b.free()
	}
}

func ExampleNewData() {
	d := NewData([]byte("two "), []byte("parts"))
	fmt.Println(d.Len(), string(d.Slice(2, 5).Bytes()))
	// Output: 9 o par
}

// A client does not trust a server's word that it can compress.
func TestAClientCompressesOnceTheServerHas(t *testing.T) {
	client, _ := newCompressCodec(crcCodec{}, Snappy, 1, false)
	server, _ := newCompressCodec(crcCodec{}, Snappy, 1, true)
	send := &outFrame{tag: tagMessage, seg: [dataSegment][]byte{make([]byte, headerSize), text(3000)}}
	compressed := func(b []byte) bool { return b[26]&flagCompressed != 0 }
	if compressed(encode(t, client, send)) {
		t.Error("the client compressed at once")
	}
	b := encode(t, server, send)
	var f inFrame
	if err := client.read(bytes.NewReader(b), &f, false); err != nil || !compressed(b) {
		t.Fatal(err)
	}
	f.release()
	if !compressed(encode(t, client, send)) {
		t.Error("the client does not compress")
	}
}
