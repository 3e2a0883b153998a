package fakecluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// handshakeTimeout bounds how long a new connection may take to get in.
const handshakeTimeout = 30 * time.Second

// daemon is one process of the cluster: an address, a listener while it is up,
// and its sessions.
type daemon struct {
	c    *Cluster
	kind entity.Type
	name string // "osd.0"
	// open makes the handler and the authenticator of a new connection.
	open func(d *daemon) (msgr2.ServerAuth, session)

	mu       sync.Mutex
	addr     entity.Addr
	listener net.Listener
	conns    map[net.Conn]struct{}
	cancel   context.CancelFunc
}

// session is a connection's handler.
type session interface {
	msgr2.Handler
	// attach is called before the first message.
	attach(c *msgr2.Conn)
	// who is the user, once it was attached.
	who() entity.AuthName
}

// required are the features that real daemons demand of their clients.
const (
	requiredMon uint64 = 0xc01020002040000
	requiredMgr uint64 = 0x800000000000000
)

// features returns the mask that daemons of the cluster's release send.
func (c *Cluster) features() uint64 {
	switch c.opt.release {
	case 16:
		return 0x3f01cfbdfffdffff
	case 18:
		return 0x3f01cfbffffdffff
	}
	return 0x3f07fffffffdffff
}

// start listens on a new address.
func (d *daemon) start(nonce uint32) error { return d.startAt(nonce, netip.AddrPort{}) }

// startAt listens on a given address, or on a new one when that is taken.
func (d *daemon) startAt(nonce uint32, prefer netip.AddrPort) error {
	l, ap, err := d.c.net.listen(prefer)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(d.c.ctx)
	d.mu.Lock()
	d.listener, d.cancel = l, cancel
	d.conns = map[net.Conn]struct{}{}
	d.addr = entity.Addr{Type: entity.AddrMsgr2, Nonce: nonce, IP: ap}
	d.mu.Unlock()
	d.c.mu.Lock()
	delete(d.c.crashed, d)
	d.c.mu.Unlock()
	d.c.wg.Go(func() { d.serve(ctx, l) })
	return nil
}

// address returns where the daemon listens, or did last.
func (d *daemon) address() entity.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

func (d *daemon) addrs() entity.AddrVec { return entity.AddrVec{d.address()} }

// running reports whether the daemon listens.
func (d *daemon) running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listener != nil
}

// stop closes the listener and all connections.
func (d *daemon) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener == nil {
		return
	}
	d.cancel()
	_ = d.listener.Close()
	d.listener = nil
	for nc := range d.conns {
		_ = nc.Close()
	}
}

func (d *daemon) serve(ctx context.Context, l net.Listener) {
	select {
	case <-d.c.ready:
	case <-ctx.Done():
		return
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		// A monitor outside of a quorum lets nobody new in.
		alone := d.kind == entity.TypeMon && !d.c.election.quorate.Load()
		d.mu.Lock()
		if d.listener != l || alone {
			d.mu.Unlock()
			_ = nc.Close()
			continue
		}
		l := d.c.faults.wrap(d.name, nc)
		d.conns[l] = struct{}{}
		d.mu.Unlock()
		d.c.wg.Go(func() { d.handle(ctx, l) })
	}
}

// attached sees to it that a session knows its connection before the first
// message, which may come before Accept has returned.
type attached struct {
	session
	once sync.Once
	link *linkConn
}

func (e *attached) attach(c *msgr2.Conn) {
	e.session.attach(c)
	e.link.of(e.who().String())
	e.link.fs.connect(c, e.link)
}

func (e *attached) HandleMessage(c *msgr2.Conn, m *msgr2.Message) {
	e.once.Do(func() { e.attach(c) })
	e.session.HandleMessage(c, m)
}

// handle runs one connection to its end.
func (d *daemon) handle(ctx context.Context, nc *linkConn) {
	defer func() {
		_ = nc.Close()
		d.mu.Lock()
		delete(d.conns, nc)
		d.mu.Unlock()
	}()
	auth, s := d.open(d)
	e := &attached{session: s, link: nc}
	required := requiredMon
	if d.kind == entity.TypeMgr {
		required = requiredMgr
	}
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := msgr2.Accept(hctx, nc, auth, msgr2.Config{
		Type: d.kind, Addrs: d.addrs(), Features: d.c.features(), Required: required,
		Modes: d.c.opt.modes, Lossy: true, Handler: e, Logger: d.c.log,
	})
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			d.c.log.Debug("connection refused", "daemon", d.name, "err", err)
		}
		return
	}
	e.once.Do(func() { e.attach(conn) })
	select {
	case <-conn.Done():
	case <-ctx.Done():
		_ = conn.Close()
	}
	conn.Wait()
	d.c.faults.disconnect(conn)
}

// clientAddr returns the address by which a client is known: the IP that it
// says is its own, and the nonce.
func clientAddr(c *msgr2.Conn) entity.Addr {
	if a, ok := c.PeerAddrs().Msgr2(); ok {
		return a
	}
	if v := c.PeerAddrs(); len(v) > 0 {
		return v[0]
	}
	return entity.Addr{Type: entity.AddrMsgr2, IP: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}
}

// frontMessage makes a message of a front.
func frontMessage(f wire.Front, tid uint64) *msgr2.Message {
	h := f.Header()
	return &msgr2.Message{Type: h.Type, Version: h.Version, Compat: h.Compat, TID: tid, Front: f.Append(nil)}
}
