package msgr2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

const (
	bannerPrefix  = "ceph v2\n"
	featRevision1 = 1
	maxBanner     = 4096
)

// logged reads and writes the socket and keeps a record for the signatures.
type logged struct {
	nc       net.Conn
	r        *bufio.Reader
	in, out  *bytes.Buffer
	codec    codec
	buffers  outBuffers
	deadline time.Time
}

func (l *logged) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.in != nil {
		l.in.Write(p[:n])
	}
	return n, err
}

func (l *logged) write(p []byte) error {
	if l.out != nil {
		l.out.Write(p)
	}
	_, err := l.nc.Write(p)
	return err
}

func (l *logged) send(tag uint8, payload []byte) error {
	l.codec.appendTo(&l.buffers, &outFrame{tag: tag, seg: [3][]byte{payload}})
	l.buffers.close()
	var b []byte
	for _, p := range l.buffers.list {
		b = append(b, p...)
	}
	l.buffers.reset()
	return l.write(b)
}

func (l *logged) recv() (uint8, []byte, error) {
	f, err := l.codec.read(l)
	if err != nil {
		return 0, nil, err
	}
	p := append([]byte(nil), f.seg[0]...)
	f.release()
	return f.tag, p, nil
}

func (l *logged) banner() (rev0 bool, err error) {
	b := append([]byte(bannerPrefix), 16, 0)
	b = denc.AppendU64(b, featRevision1)
	b = denc.AppendU64(b, 0)
	if err := l.write(b); err != nil {
		return false, err
	}
	var head [10]byte
	if _, err := io.ReadFull(l, head[:]); err != nil {
		return false, err
	}
	if string(head[:8]) != bannerPrefix {
		if bytes.HasPrefix(head[:], []byte("ceph v0")) {
			return false, errors.New("this is a port of the old protocol (msgr1)")
		}
		return false, fmt.Errorf("%w: no msgr2 banner", ErrFrame)
	}
	n := int(binary.LittleEndian.Uint16(head[8:]))
	if n < 16 || n > maxBanner {
		return false, fmt.Errorf("%w: banner of %d bytes", ErrFrame, n)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(l, p); err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint64(p)&featRevision1 == 0, nil
}

// Dial connects to a peer of the given kind and authenticates.
func Dial(ctx context.Context, target entity.AddrVec, peer entity.Type, auth ClientAuth, cfg Config) (*Conn, error) {
	addr, ok := target.Msgr2()
	if !ok {
		return nil, fmt.Errorf("%s has no msgr2 address", target)
	}
	dial := cfg.Dialer
	if dial == nil {
		dial = func(ctx context.Context, a entity.Addr) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", a.IP.String())
		}
	}
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	c, err := clientHandshake(nc, addr, peer, auth, cfg)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	c.start()
	return c, nil
}

func (l *logged) sign(key []byte, first bool) (tx, rx []byte) {
	mac := func(p []byte) []byte {
		if len(key) == 0 {
			return make([]byte, sha256.Size)
		}
		h := hmac.New(sha256.New, key)
		h.Write(p)
		return h.Sum(nil)
	}
	return mac(l.in.Bytes()), mac(l.out.Bytes())
}

func (l *logged) exchangeSignatures(res AuthResult, mode Mode, client, rev0 bool) error {
	tx, rx := l.sign(res.SessionKey, client)
	l.in, l.out = nil, nil
	if mode == ModeSecure {
		sc, err := newSecureCodec(res.ConnectionSecret, client, rev0)
		if err != nil {
			return err
		}
		l.codec = sc
	}
	if err := l.send(tagAuthSignature, tx); err != nil {
		return err
	}
	tag, p, err := l.recv()
	if err != nil {
		return err
	}
	if tag != tagAuthSignature || !hmac.Equal(p, rx) {
		return fmt.Errorf("%w: wrong signature of the handshake", ErrFrame)
	}
	return nil
}

func clientHandshake(nc net.Conn, addr entity.Addr, peer entity.Type, auth ClientAuth, cfg Config) (*Conn, error) {
	l := &logged{nc: nc, r: bufio.NewReaderSize(nc, 64<<10), in: new(bytes.Buffer), out: new(bytes.Buffer)}
	rev0, err := l.banner()
	if err != nil {
		return nil, err
	}
	l.codec = crcCodec{rev0}
	c := &Conn{cfg: cfg, nc: nc, in: l.r}
	seen := entity.Addr{Type: entity.AddrMsgr2, IP: addr.IP}
	if err := l.send(tagHello, seen.Append([]byte{byte(cfg.Type)})); err != nil {
		return nil, err
	}
	tag, p, err := l.recv()
	if err != nil {
		return nil, err
	}
	r := denc.NewReader(p)
	kind := entity.Type(r.U8())
	var me entity.Addr
	me.Decode(r)
	if tag != tagHello || r.Err() != nil || kind != peer {
		return nil, fmt.Errorf("%w: hello from %v, want %v", ErrFrame, kind, peer)
	}
	c.local = entity.Addr{Type: entity.AddrMsgr2, IP: netip.AddrPortFrom(me.IP.Addr(), 0)}
	if len(cfg.Addrs) > 0 {
		c.local.Nonce = cfg.Addrs[0].Nonce
	}
	res, err := c.authenticate(l, auth)
	if err != nil {
		return nil, err
	}
	if err := l.exchangeSignatures(res, c.mode, true, rev0); err != nil {
		return nil, err
	}
	c.codec = l.codec
	return c, c.identify(l, addr, peer)
}

func (c *Conn) authenticate(l *logged, auth ClientAuth) (AuthResult, error) {
	p, err := auth.Start(c.cfg.Modes)
	if err != nil {
		return AuthResult{}, err
	}
	b := denc.AppendU32(nil, auth.Method())
	b = denc.AppendSlice(b, c.cfg.Modes, func(b []byte, m Mode) []byte { return denc.AppendU32(b, uint32(m)) })
	if err := l.send(tagAuthRequest, denc.AppendBytes(b, p)); err != nil {
		return AuthResult{}, err
	}
	for {
		tag, p, err := l.recv()
		if err != nil {
			return AuthResult{}, err
		}
		r := denc.NewReader(p)
		switch tag {
		case tagAuthReplyMore:
			more, err := auth.More(r.Bytes())
			if err != nil {
				return AuthResult{}, err
			}
			if err := l.send(tagAuthRequestMore, denc.AppendBytes(nil, more)); err != nil {
				return AuthResult{}, err
			}
		case tagAuthDone:
			c.gid, c.mode = r.U64(), Mode(r.U32())
			payload := r.Bytes()
			if r.Err() != nil {
				return AuthResult{}, r.Err()
			}
			return auth.Done(c.gid, c.mode, payload)
		case tagAuthBadMethod:
			r.U32()
			result := r.S32()
			methods := denc.Slice(r, 4, (*denc.Reader).U32)
			modes := denc.Slice(r, 4, (*denc.Reader).U32)
			if r.Err() != nil {
				return AuthResult{}, r.Err()
			}
			return AuthResult{}, auth.BadMethod(result, methods, modes)
		default:
			return AuthResult{}, fmt.Errorf("%w: tag %d while authenticating", ErrFrame, tag)
		}
	}
}

func (c *Conn) identify(l *logged, addr entity.Addr, peer entity.Type) error {
	gid := c.gid
	if c.cfg.GlobalID != nil {
		gid = c.cfg.GlobalID()
	}
	b := entity.AddrVec{c.local}.Append(nil)
	b = addr.Append(b)
	b = denc.AppendU64(b, gid)
	b = denc.AppendU64(b, uint64(time.Now().UnixMicro()))
	b = denc.AppendU64(b, c.cfg.Features)
	b = denc.AppendU64(b, c.cfg.Required)
	b = denc.AppendU64(b, 1)
	b = denc.AppendU64(b, 0)
	if err := l.send(tagClientIdent, b); err != nil {
		return err
	}
	tag, p, err := l.recv()
	if err != nil {
		return err
	}
	r := denc.NewReader(p)
	switch tag {
	case tagServerIdent:
		c.peerAddrs.Decode(r)
		c.peerName = entity.Name{Type: peer, Num: r.S64()}
		r.U64()
		c.features = r.U64() & c.cfg.Features
		return r.Err()
	case tagIdentMissing:
		return fmt.Errorf("peer wants features %#x", r.U64())
	}
	return fmt.Errorf("%w: tag %d instead of an ident", ErrFrame, tag)
}
