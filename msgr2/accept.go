package msgr2

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Accept runs the server's side of the handshake on nc and returns the
// connection once the client is in. cfg.Addrs are the addresses that clients
// may have dialled. ctx bounds the handshake. nc is closed on failure.
func Accept(ctx context.Context, nc net.Conn, auth ServerAuth, cfg Config) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	c, err := serverHandshake(nc, auth, cfg)
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

func serverHandshake(nc net.Conn, auth ServerAuth, cfg Config) (*Conn, error) {
	l := &logged{nc: nc, r: bufio.NewReaderSize(nc, 64<<10), in: new(bytes.Buffer), out: new(bytes.Buffer)}
	rev0, err := l.banner()
	if err != nil {
		return nil, err
	}
	l.codec = crcCodec{rev0}
	c := &Conn{cfg: cfg, nc: nc, in: l.r}
	if len(cfg.Addrs) > 0 {
		c.local = cfg.Addrs[0]
	}
	seen := entity.Addr{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort("127.0.0.1:0")}
	if ap, err := netip.ParseAddrPort(nc.RemoteAddr().String()); err == nil {
		seen.IP = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	if err := l.send(tagHello, seen.Append([]byte{byte(cfg.Type)})); err != nil {
		return nil, err
	}
	tag, p, err := l.recv()
	if err != nil {
		return nil, err
	}
	if tag != tagHello || len(p) == 0 {
		return nil, fmt.Errorf("%w: tag %d instead of a hello", ErrFrame, tag)
	}
	c.peerName.Type = entity.Type(p[0])
	step, err := c.admit(l, auth)
	if err != nil {
		return nil, err
	}
	c.gid, c.mode = step.GlobalID, step.Mode
	res := AuthResult{SessionKey: step.SessionKey, ConnectionSecret: step.ConnectionSecret}
	if err := l.exchangeSignatures(res, c.mode, false, rev0); err != nil {
		return nil, err
	}
	c.codec = l.codec
	return c, c.awaitIdent(l)
}

// admit runs the authentication until it is done. A client may try again after
// a refusal.
func (c *Conn) admit(l *logged, auth ServerAuth) (AuthStep, error) {
	var method uint32
	for {
		tag, p, err := l.recv()
		if err != nil {
			return AuthStep{}, err
		}
		r := denc.NewReader(p)
		var step AuthStep
		switch tag {
		case tagAuthRequest:
			method = r.U32()
			modes := denc.Slice(r, 4, func(r *denc.Reader) Mode { return Mode(r.U32()) })
			payload := r.Bytes()
			if r.Err() != nil {
				return AuthStep{}, r.Err()
			}
			step, err = auth.Begin(method, modes, c.peerName.Type, payload)
		case tagAuthRequestMore:
			payload := r.Bytes()
			if r.Err() != nil {
				return AuthStep{}, r.Err()
			}
			step, err = auth.Continue(payload)
		default:
			return AuthStep{}, fmt.Errorf("%w: tag %d while authenticating", ErrFrame, tag)
		}
		if err != nil {
			return AuthStep{}, err
		}
		tag, p = answerAuth(method, step)
		if err := l.send(tag, p); err != nil {
			return AuthStep{}, err
		}
		if step.Errno == 0 && step.Done {
			return step, nil
		}
	}
}

// answerAuth returns the frame that a step stands for.
func answerAuth(method uint32, step AuthStep) (tag uint8, p []byte) {
	switch {
	case step.Errno != 0:
		modes := step.AllowedModes
		if len(modes) == 0 {
			modes = []Mode{ModeSecure, ModeCRC}
		}
		p = denc.AppendS32(denc.AppendU32(nil, method), -step.Errno)
		p = denc.AppendSlice(p, step.AllowedMethods, denc.AppendU32)
		return tagAuthBadMethod, denc.AppendSlice(p, modes, func(b []byte, m Mode) []byte { return denc.AppendU32(b, uint32(m)) })
	case step.Done:
		p = denc.AppendU32(denc.AppendU64(nil, step.GlobalID), uint32(step.Mode))
		return tagAuthDone, denc.AppendBytes(p, step.Payload)
	}
	return tagAuthReplyMore, denc.AppendBytes(nil, step.More)
}

// awaitIdent reads who the client is and answers.
func (c *Conn) awaitIdent(l *logged) error {
	for {
		tag, p, err := l.recv()
		if err != nil {
			return err
		}
		switch tag {
		case tagSessionReconnect: // no session outlives its connection here
			if err := l.send(tagSessionReset, []byte{1}); err != nil {
				return err
			}
			continue
		case tagClientIdent:
		default:
			return fmt.Errorf("%w: tag %d instead of an ident", ErrFrame, tag)
		}
		r := denc.NewReader(p)
		c.peerAddrs.Decode(r)
		var target entity.Addr
		target.Decode(r)
		c.peerName.Num = r.S64()
		r.U64()
		supported, required := r.U64(), r.U64()
		if r.Err() != nil {
			return r.Err()
		}
		if len(c.cfg.Addrs) > 0 && !c.cfg.Addrs.Contains(target) {
			return fmt.Errorf("client wants %s, this is %s", target, c.cfg.Addrs)
		}
		if required&^c.cfg.Features != 0 {
			return fmt.Errorf("client requires features %#x that are not here", required&^c.cfg.Features)
		}
		if missing := c.cfg.Required &^ supported; missing != 0 {
			if err := l.send(tagIdentMissing, denc.AppendU64(nil, missing)); err != nil {
				return err
			}
			continue
		}
		c.features = supported & c.cfg.Features
		return l.send(tagServerIdent, c.serverIdent())
	}
}

func (c *Conn) serverIdent() []byte {
	var gid uint64
	if c.cfg.GlobalID != nil {
		gid = c.cfg.GlobalID()
	}
	b := c.cfg.Addrs.Append(nil)
	for _, v := range []uint64{gid, uint64(time.Now().UnixMicro()), c.cfg.Features, c.cfg.Required, 1, 0} {
		b = denc.AppendU64(b, v)
	}
	return b
}
