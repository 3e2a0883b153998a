package msgr2

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
)

// Handler gets what a connection receives.
type Handler interface {
	// HandleMessage runs in order on the connection's reading goroutine: while
	// it runs nothing else is read. m is the handler's.
	HandleMessage(c *Conn, m *Message)
	// HandleReset runs once, on the same goroutine, after the connection died or
	// was closed. Nothing else is called after it.
	HandleReset(c *Conn, err error)
}

// Config is what connections are made of. It is copied and may be shared.
type Config struct {
	// Type is our kind.
	Type entity.Type
	// Addrs are our addresses. A client's has no IP, only the nonce of the
	// process instance, which must be the same on all its connections. A server
	// lets in only clients that dialled one of them, nonce included; none means
	// that it does not look.
	Addrs entity.AddrVec
	// GlobalID returns our number for our ident; nil means, on a client, the one
	// that the authentication gives, and 0 on a server.
	GlobalID func() uint64
	// Features are the features of the cluster's feature mask that we have,
	// Required those that the peer must have.
	Features, Required uint64
	// Modes are a client's connection modes in order of preference. None means
	// secure, then crc.
	Modes []Mode
	// Lossy says that the connection is lossy; see the package's comment. All
	// are, also where it is not set.
	Lossy bool
	// Compression lists the algorithms in order of preference. On a client none
	// means not to offer compression, on a server to refuse it. Encrypted
	// connections are never compressed at our wish, as in Ceph by default.
	Compression []Algorithm
	// CompressMinSize is the size in bytes from which frames are compressed; 0
	// means 1024, as in Ceph.
	CompressMinSize int
	// Revision0 keeps to msgr2.0 with a peer that has 2.1, too.
	Revision0 bool
	// Handler gets what is received; nil drops all.
	Handler Handler
	// Logger gets one line a connection at debug level; nil means none.
	Logger *slog.Logger
	// HandshakeTimeout bounds Dial and Accept in addition to their contexts; 0
	// means 20 s.
	HandshakeTimeout time.Duration
	// KeepaliveInterval is the pause between pings that we send; 0 means none.
	// KeepaliveTimeout is how long no byte may come from the peer before the
	// connection dies with ErrSilent; 0 means for ever.
	KeepaliveInterval, KeepaliveTimeout time.Duration
	// Dialer makes the transport; nil means TCP.
	Dialer func(ctx context.Context, a entity.Addr) (net.Conn, error)
}

const (
	defaultHandshakeTimeout = 20 * time.Second
	defaultCompressMinSize  = 1024
)

// withDefaults fills in what zero values stand for.
func (cfg Config) withDefaults() Config {
	if len(cfg.Modes) == 0 {
		cfg.Modes = []Mode{ModeSecure, ModeCRC}
	}
	if cfg.CompressMinSize == 0 {
		cfg.CompressMinSize = defaultCompressMinSize
	}
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = defaultHandshakeTimeout
	}
	if cfg.Handler == nil {
		cfg.Handler = dropAll{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

type dropAll struct{}

func (dropAll) HandleMessage(_ *Conn, m *Message) { m.Release() }
func (dropAll) HandleReset(*Conn, error)          {}
