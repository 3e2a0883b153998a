package msgr2

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Dial connects to the msgr2 address of target, which must be a peer of the
// given kind, and authenticates. ctx bounds the handshake only; the Conn lives
// until Close.
func Dial(ctx context.Context, target entity.AddrVec, peer entity.Type, auth ClientAuth, cfg Config) (*Conn, error) {
	addr, ok := target.Msgr2()
	if !ok {
		for _, a := range target {
			if a.Type == entity.AddrLegacy {
				return nil, fmt.Errorf("%s: %w", target, ErrMsgr1)
			}
		}
		return nil, fmt.Errorf("%q has no msgr2 address", target)
	}
	dial := cfg.Dialer
	if dial == nil {
		dial = dialTCP
	}
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return shakeHands(ctx, nc, cfg, func(h *handshake) error { return h.client(addr, peer, auth) })
}

func dialTCP(ctx context.Context, a entity.Addr) (net.Conn, error) {
	d := net.Dialer{Timeout: defaultHandshakeTimeout}
	return d.DialContext(ctx, "tcp", a.IP.String())
}

// client is the client's side of the handshake.
func (h *handshake) client(addr entity.Addr, peer entity.Type, auth ClientAuth) error {
	c := h.c
	if err := h.banners(len(c.cfg.Compression) > 0); err != nil {
		return err
	}
	hello := helloPayload{kind: c.cfg.Type, peer: entity.Addr{Type: entity.AddrMsgr2, IP: addr.IP}}
	if err := h.send(tagHello, hello); err != nil {
		return err
	}
	if err := h.expect(tagHello, "hello", &hello); err != nil {
		return err
	}
	if hello.kind != peer {
		return fmt.Errorf("%w: a %s, where a %s should be", ErrPeerType, hello.kind, peer)
	}
	c.local = c.seenAs(hello.peer)
	res, err := h.authenticate(auth)
	if err != nil {
		return err
	}
	if err := h.signatures(res, true); err != nil {
		return err
	}
	if h.comp {
		if err := h.requestCompression(); err != nil {
			return err
		}
	}
	return h.identify(addr, peer)
}

// seenAs returns our address: the IP that the peer sees, the nonce that is ours.
func (c *Conn) seenAs(a entity.Addr) entity.Addr {
	ip := a.IP.Addr()
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = remoteIP(c.nc.LocalAddr()).Addr()
	}
	own := entity.Addr{Type: entity.AddrMsgr2, IP: netip.AddrPortFrom(ip.Unmap(), 0)}
	if len(c.cfg.Addrs) > 0 {
		own.Nonce = c.cfg.Addrs[0].Nonce
	}
	return own
}

// remoteIP returns the IP address and port of a, the loopback address for a
// transport that has none.
func remoteIP(a net.Addr) netip.AddrPort {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
}

func (h *handshake) authenticate(auth ClientAuth) (AuthResult, error) {
	p, err := auth.Start(h.c.cfg.Modes)
	if err != nil {
		return AuthResult{}, err
	}
	if err := h.send(tagAuthRequest, authRequest{auth.Method(), h.c.cfg.Modes, p}); err != nil {
		return AuthResult{}, err
	}
	for {
		tag, r, err := h.recv("answer to the authentication")
		if err != nil {
			return AuthResult{}, err
		}
		switch tag {
		case tagAuthReplyMore:
			var more authMore
			if err := h.decode(r, &more); err != nil {
				return AuthResult{}, err
			}
			if more.payload, err = auth.More(more.payload); err != nil {
				return AuthResult{}, err
			}
			if err := h.send(tagAuthRequestMore, more); err != nil {
				return AuthResult{}, err
			}
		case tagAuthDone:
			var done authDone
			if err := h.decode(r, &done); err != nil {
				return AuthResult{}, err
			}
			if !slices.Contains(h.c.cfg.Modes, done.mode) {
				return AuthResult{}, fmt.Errorf("%w: peer chose connection mode %d, which was not offered", ErrFrame, uint32(done.mode))
			}
			h.c.gid, h.c.mode = done.globalID, done.mode
			return auth.Done(done.globalID, done.mode, done.payload)
		case tagAuthBadMethod:
			var bad authBadMethod
			if err := h.decode(r, &bad); err != nil {
				return AuthResult{}, err
			}
			return AuthResult{}, auth.BadMethod(bad.result, bad.methods, bad.modes)
		default:
			return AuthResult{}, h.unexpected(tag)
		}
	}
}

// requestCompression is the client's part of the negotiation: once both ends
// have the feature it must ask, if only to say no.
func (h *handshake) requestCompression() error {
	req := compressionRequest{want: h.c.mode != ModeSecure, algorithms: h.c.cfg.Compression}
	if err := h.send(tagCompressionRequest, req); err != nil {
		return err
	}
	var done compressionDone
	if err := h.expect(tagCompressionDone, "choice of compression", &done); err != nil {
		return err
	}
	if !done.use {
		return nil
	}
	return h.compress(done.algorithm, true)
}

// identify introduces us and learns who the peer is.
func (h *handshake) identify(addr entity.Addr, peer entity.Type) error {
	c := h.c
	gid := c.gid
	if c.cfg.GlobalID != nil {
		gid = c.cfg.GlobalID()
	}
	own := clientIdent{ident{
		addrs: entity.AddrVec{c.local}, target: addr, gid: int64(gid), globalSeq: globalSeq(),
		supported: c.cfg.Features, required: c.cfg.Required, flags: identLossy,
	}}
	if err := h.send(tagClientIdent, own); err != nil {
		return err
	}
	tag, r, err := h.recv("ident")
	if err != nil {
		return err
	}
	switch tag {
	case tagServerIdent:
	case tagIdentMissing:
		var missing word
		if err := h.decode(r, &missing); err != nil {
			return err
		}
		return fmt.Errorf("%w: peer requires %#x, which this client does not have", ErrFeatures, uint64(missing))
	case tagWait, tagSessionRetry, tagSessionRetryGlobal, tagSessionReset:
		return fmt.Errorf("%w (tag %d)", ErrRetry, tag)
	default:
		return h.unexpected(tag)
	}
	var got serverIdent
	if err := h.decode(r, &got); err != nil {
		return err
	}
	if missing := c.cfg.Required &^ got.supported; missing != 0 {
		return fmt.Errorf("%w: peer does not have %#x", ErrFeatures, missing)
	}
	c.peerAddrs = got.addrs
	c.peerName = entity.Name{Type: peer, Num: got.gid}
	c.features = got.supported & c.cfg.Features
	return nil
}

// globalSeq returns a number that rises from one connection of the process to
// the next.
func globalSeq() uint64 { return uint64(time.Now().UnixNano()) }
