package msgr2

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Accept runs the server's side of the handshake on nc and returns the
// connection once the client is in. ctx bounds the handshake only. nc is closed
// on failure.
func Accept(ctx context.Context, nc net.Conn, auth ServerAuth, cfg Config) (*Conn, error) {
	return shakeHands(ctx, nc, cfg, func(h *handshake) error { return h.server(auth) })
}

// server is the server's side of the handshake.
func (h *handshake) server(auth ServerAuth) error {
	c := h.c
	if err := h.banners(len(c.cfg.Compression) > 0); err != nil {
		return err
	}
	seen := entity.Addr{Type: entity.AddrMsgr2, IP: remoteIP(c.nc.RemoteAddr())}
	var hello helloPayload
	if err := h.expect(tagHello, "hello", &hello); err != nil {
		return err
	}
	if err := h.send(tagHello, helloPayload{kind: c.cfg.Type, peer: seen}); err != nil {
		return err
	}
	c.peerName.Type = hello.kind
	step, err := h.admit(auth)
	if err != nil {
		return err
	}
	c.gid, c.mode = step.GlobalID, step.Mode
	res := AuthResult{SessionKey: step.SessionKey, ConnectionSecret: step.ConnectionSecret}
	if err := h.signatures(res, false); err != nil {
		return err
	}
	if h.comp {
		if err := h.chooseCompression(); err != nil {
			return err
		}
	}
	return h.awaitIdent()
}

// admit runs the authentication until it is done. A client may try again after
// a refusal.
func (h *handshake) admit(auth ServerAuth) (AuthStep, error) {
	var method uint32
	for {
		tag, r, err := h.recv("authentication")
		if err != nil {
			return AuthStep{}, err
		}
		var step AuthStep
		switch tag {
		case tagAuthRequest:
			var req authRequest
			if err := h.decode(r, &req); err != nil {
				return AuthStep{}, err
			}
			method = req.method
			step, err = auth.Begin(req.method, req.modes, h.c.peerName.Type, req.payload)
		case tagAuthRequestMore:
			var more authMore
			if err := h.decode(r, &more); err != nil {
				return AuthStep{}, err
			}
			step, err = auth.Continue(more.payload)
		default:
			return AuthStep{}, h.unexpected(tag)
		}
		if err != nil {
			return AuthStep{}, err
		}
		if err := h.answerAuth(method, step); err != nil {
			return AuthStep{}, err
		}
		if step.Errno == 0 && step.Done {
			return step, nil
		}
	}
}

// answerAuth sends the frame that a step stands for.
func (h *handshake) answerAuth(method uint32, step AuthStep) error {
	switch {
	case step.Errno != 0:
		bad := authBadMethod{method: method, result: -step.Errno, methods: step.AllowedMethods}
		for _, m := range step.AllowedModes {
			bad.modes = append(bad.modes, uint32(m))
		}
		if len(bad.modes) == 0 {
			bad.modes = []uint32{uint32(ModeSecure), uint32(ModeCRC)}
		}
		return h.send(tagAuthBadMethod, bad)
	case step.Done:
		return h.send(tagAuthDone, authDone{step.GlobalID, step.Mode, step.Payload})
	}
	return h.send(tagAuthReplyMore, authMore{step.More})
}

// chooseCompression takes the first algorithm of the client's that is one of
// ours.
func (h *handshake) chooseCompression() error {
	var req compressionRequest
	if err := h.expect(tagCompressionRequest, "wish for compression", &req); err != nil {
		return err
	}
	var done compressionDone
	if req.want && h.c.mode != ModeSecure {
		for _, a := range req.algorithms {
			if slices.Contains(h.c.cfg.Compression, a) {
				done = compressionDone{use: true, algorithm: a}
				break
			}
		}
	}
	if err := h.send(tagCompressionDone, done); err != nil || !done.use {
		return err
	}
	return h.compress(done.algorithm, false)
}

// awaitIdent reads who the client is and answers.
func (h *handshake) awaitIdent() error {
	c := h.c
	for {
		tag, r, err := h.recv("ident")
		if err != nil {
			return err
		}
		switch tag {
		case tagSessionReconnect: // no session outlives its connection here
			var again sessionReconnect
			if err := h.decode(r, &again); err != nil {
				return err
			}
			if err := h.send(tagSessionReset, sessionReset{full: true}); err != nil {
				return err
			}
			continue
		case tagClientIdent:
		default:
			return h.unexpected(tag)
		}
		var id clientIdent
		if err := h.decode(r, &id); err != nil {
			return err
		}
		if len(c.cfg.Addrs) > 0 && !c.cfg.Addrs.Contains(id.target) {
			return fmt.Errorf("client wants %s, this is %s", id.target, c.cfg.Addrs)
		}
		if missing := id.required &^ c.cfg.Features; missing != 0 {
			return fmt.Errorf("%w: client requires %#x", ErrFeatures, missing)
		}
		if missing := c.cfg.Required &^ id.supported; missing != 0 {
			if err := h.send(tagIdentMissing, word(missing)); err != nil {
				return err
			}
			continue
		}
		c.local, c.peerAddrs, c.peerName.Num = id.target, id.addrs, id.gid
		c.features = id.supported & c.cfg.Features
		return h.send(tagServerIdent, c.serverIdent())
	}
}

func (c *Conn) serverIdent() serverIdent {
	var gid uint64
	if c.cfg.GlobalID != nil {
		gid = c.cfg.GlobalID()
	}
	return serverIdent{ident{
		addrs: c.cfg.Addrs, gid: int64(gid), globalSeq: globalSeq(),
		supported: c.cfg.Features, required: c.cfg.Required, flags: identLossy,
	}}
}
