package msgr2

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
)

const (
	bannerPrefix = "ceph v2\n"
	msgr1Prefix  = "ceph v0"
	maxBanner    = 4096

	// Features of the messenger, exchanged in the banner.
	bannerRevision1   = 1
	bannerCompression = 2

	// A handshake ends well before these.
	maxHandshakeFrames = 64
	maxHandshakeBytes  = 4 << 20
)

// handshake is the state of a connection until it is open. It keeps a record of
// the bytes in both directions for the signatures.
type handshake struct {
	c       *Conn
	codec   codec
	rev0    bool
	comp    bool // both ends negotiate compression
	in, out []byte
	record  bool
	buffers outBuffers
	frames  int
	stage   string // what is waited for, for errors
}

// shakeHands runs side under ctx and the handshake's own time limit, and starts
// the connection. The socket is closed on failure.
func shakeHands(ctx context.Context, nc net.Conn, cfg Config, side func(*handshake) error) (*Conn, error) {
	cfg = cfg.withDefaults()
	c := newConn(nc, cfg)
	h := &handshake{c: c, record: true, stage: "banner"}
	limited, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(limited, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err := side(h)
	if !stop() && err == nil {
		err = limited.Err()
	}
	if err == nil {
		c.codec = h.codec
		cfg.Logger.Debug("msgr2 connection is open", "peer", c.peerName, "addrs", c.peerAddrs,
			"mode", c.mode, "rev0", h.rev0, "compression", c.algorithm, "features", c.features)
		c.start()
		return c, nil
	}
	_ = nc.Close()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("waiting for %s: %w", h.stage, ctx.Err())
	case limited.Err() != nil:
		return nil, fmt.Errorf("no %s after %s: %w", h.stage, cfg.HandshakeTimeout, limited.Err())
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("peer closed the connection while we waited for its %s: %w", h.stage, err)
	}
	return nil, err
}

// Read reads from the socket and records what came.
func (h *handshake) Read(p []byte) (int, error) {
	n, err := h.c.in.Read(p)
	if h.record {
		if len(h.in)+n > maxHandshakeBytes {
			return 0, fmt.Errorf("%w: handshake of more than %d bytes", ErrFrame, maxHandshakeBytes)
		}
		h.in = append(h.in, p[:n]...)
	}
	return n, err
}

func (h *handshake) write(p []byte) error {
	if h.record {
		h.out = append(h.out, p...)
	}
	_, err := h.c.nc.Write(p)
	return err
}

type appender interface{ Append(b []byte) []byte }

type decoder interface{ Decode(r *denc.Reader) }

// send writes one frame; a nil payload is an empty one.
func (h *handshake) send(tag uint8, payload appender) error {
	f := &outFrame{tag: tag}
	if payload != nil {
		f.seg[0] = payload.Append(nil)
	}
	defer h.buffers.reset()
	if err := h.codec.appendTo(&h.buffers, f); err != nil {
		return err
	}
	h.buffers.close()
	return h.write(bytes.Join(h.buffers.list, nil))
}

// recv reads one frame. stage says what it should be.
func (h *handshake) recv(stage string) (uint8, *denc.Reader, error) {
	h.stage = stage
	if h.frames++; h.frames > maxHandshakeFrames {
		return 0, nil, fmt.Errorf("%w: handshake of more than %d frames", ErrFrame, maxHandshakeFrames)
	}
	var f inFrame
	if err := h.codec.read(h, &f, true); err != nil {
		return 0, nil, err
	}
	p := bytes.Clone(f.seg[0])
	f.release()
	return f.tag, denc.NewReader(p), nil
}

// expect reads one frame that must have the tag, into p.
func (h *handshake) expect(tag uint8, stage string, p decoder) error {
	got, r, err := h.recv(stage)
	if err != nil {
		return err
	}
	if got != tag {
		return h.unexpected(got)
	}
	return h.decode(r, p)
}

func (h *handshake) decode(r *denc.Reader, p decoder) error {
	p.Decode(r)
	if r.Err() != nil {
		return fmt.Errorf("%w: %s: %w", ErrFrame, h.stage, r.Err())
	}
	return nil
}

func (h *handshake) unexpected(tag uint8) error {
	return fmt.Errorf("%w: tag %d instead of the peer's %s", ErrFrame, tag, h.stage)
}

// banners exchanges the banners and picks the revision. compression says whether
// we would compress.
func (h *handshake) banners(compression bool) error {
	own := bannerPayload{supported: bannerRevision1}
	if h.c.cfg.Revision0 {
		own.supported = 0
	} else if compression {
		own.supported |= bannerCompression
	}
	p := own.Append(nil)
	b := binary.LittleEndian.AppendUint16([]byte(bannerPrefix), uint16(len(p)))
	// Both ends send first. On a transport without any buffer that only works
	// when one of them reads meanwhile.
	sent := make(chan error, 1)
	go func() { sent <- h.write(append(b, p...)) }()
	theirs, err := h.readBanner()
	if missing := theirs.required &^ own.supported; err == nil && missing != 0 {
		err = fmt.Errorf("%w: peer requires messenger features %#x", ErrFeatures, missing)
	}
	if err != nil {
		_ = h.c.nc.Close() // ends the write
		<-sent
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	both := own.supported & theirs.supported
	h.rev0 = both&bannerRevision1 == 0
	h.comp = both&bannerCompression != 0
	h.codec = plainCodec{crcCodec{h.rev0}}
	return nil
}

func (h *handshake) readBanner() (bannerPayload, error) {
	var p bannerPayload
	var head [len(bannerPrefix) + 2]byte
	n, err := io.ReadFull(h, head[:])
	switch {
	case bytes.HasPrefix(head[:n], []byte(msgr1Prefix)):
		return p, ErrMsgr1
	case !bytes.HasPrefix(head[:n], []byte(bannerPrefix)[:min(n, len(bannerPrefix))]):
		return p, fmt.Errorf("%w: it begins with %q", ErrNotCeph, head[:n])
	case err != nil:
		return p, err
	}
	size := int(binary.LittleEndian.Uint16(head[len(bannerPrefix):]))
	if size < 16 || size > maxBanner {
		return p, fmt.Errorf("%w: banner of %d bytes", ErrNotCeph, size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(h, b); err != nil {
		return p, noEOF(err)
	}
	p.Decode(denc.NewReader(b))
	return p, nil
}

// signatures switches to the connection's mode, proves that we hold the key and
// have seen the same bytes as the peer, and checks the peer's proof.
func (h *handshake) signatures(res AuthResult, client bool) error {
	if err := h.c.mode.check(); err != nil {
		return err
	}
	own, theirs := sign(res.SessionKey, h.in), sign(res.SessionKey, h.out)
	h.record, h.in, h.out = false, nil, nil
	if h.c.mode == ModeSecure {
		sc, err := newSecureCodec(res.ConnectionSecret, client, h.rev0)
		if err != nil {
			return err
		}
		h.codec = plainCodec{sc}
	}
	if client {
		if err := h.send(tagAuthSignature, own); err != nil {
			return err
		}
	}
	var got authSignature
	if err := h.expect(tagAuthSignature, "signature", &got); err != nil {
		return err
	}
	if !hmac.Equal(got[:], theirs[:]) {
		return ErrSignature
	}
	if client {
		return nil
	}
	return h.send(tagAuthSignature, own)
}

// sign returns the HMAC over log, all zero without a key.
func sign(key, log []byte) (s authSignature) {
	if len(key) > 0 {
		m := hmac.New(sha256.New, key)
		m.Write(log)
		m.Sum(s[:0])
	}
	return s
}

// compress begins to compress frames, a client not before the server does.
func (h *handshake) compress(a Algorithm, client bool) error {
	inner, ok := h.codec.(plainCodec)
	if !ok {
		return fmt.Errorf("%w: compression agreed on twice", ErrFrame)
	}
	cc, err := newCompressCodec(inner.codec, a, h.c.cfg.CompressMinSize, !client)
	if err != nil {
		return err
	}
	h.codec, h.c.algorithm = cc, a
	return nil
}

// plainCodec refuses compressed frames.
type plainCodec struct{ codec }

func (c plainCodec) read(in io.Reader, f *inFrame, early bool) error {
	if err := c.codec.read(in, f, early); err != nil {
		return err
	}
	if err := f.checkPlain(); err != nil {
		f.release()
		return err
	}
	return nil
}
