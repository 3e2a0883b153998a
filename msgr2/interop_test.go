//go:build interop

package msgr2_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rados/monc"
)

// features is a mask that 16.2 to 20.2 accept.
const features = 0x3f01cfbffffdffff

const (
	typeMonMap    = 4
	typeMonGetMap = 5
)

// cluster is a real one, from RBDM_CONFS or RBDM_CONF.
type cluster struct {
	path    string
	release string
	conf    *conf.Config
	mons    *monc.Client
	mon     entity.AddrVec
	osd     entity.AddrVec
}

func clusters(t *testing.T) []*cluster {
	list := os.Getenv("RBDM_CONFS")
	if list == "" {
		list = os.Getenv("RBDM_CONF")
	}
	if list == "" {
		t.Fatal("set RBDM_CONFS to the ceph.conf of one or more real clusters, separated by commas")
	}
	var out []*cluster
	for _, path := range strings.Split(list, ",") {
		out = append(out, open(t, path))
	}
	return out
}

func open(t *testing.T, path string) *cluster {
	t.Helper()
	inv := &conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}, ConfFile: path, Explicit: true}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{path: path, conf: cfg}
	mons, err := cfg.Mons(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.mon = entity.AddrVec{mons[0].Addr}
	if c.mons, err = monc.New(monc.Config{Conf: cfg, Msgr: msgr2.Config{Addrs: nonce(), Features: features}}); err != nil {
		t.Fatal(err)
	}
	if err := c.mons.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.mons.Close() })
	var version struct{ Version string }
	c.command(t, "version", &version)
	c.release = strings.Join(strings.Split(strings.Fields(version.Version)[2], ".")[:2], ".")
	var dump struct {
		OSDs []struct {
			Public struct {
				Addrvec []struct {
					Type, Addr string
					Nonce      uint32
				} `json:"addrvec"`
			} `json:"public_addrs"`
		} `json:"osds"`
	}
	c.command(t, "osd dump", &dump)
	for _, a := range dump.OSDs[0].Public.Addrvec {
		addr, err := entity.ParseAddr(a.Type + ":" + a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		addr.Nonce = a.Nonce
		c.osd = append(c.osd, addr)
	}
	return c
}

func (c *cluster) command(t *testing.T, prefix string, into any) {
	t.Helper()
	out, _, err := c.mons.Command(t.Context(), map[string]any{"prefix": prefix, "format": "json"}, nil)
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func nonce() entity.AddrVec {
	return entity.AddrVec{{Type: entity.AddrMsgr2, Nonce: uint32(time.Now().UnixNano()) | 1}}
}

// auth returns a fresh authenticator for one connection.
func (c *cluster) auth(t *testing.T, kind entity.Type) msgr2.ClientAuth {
	t.Helper()
	if kind != entity.TypeMon {
		a, err := c.mons.ServiceAuth(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	h, err := cephx.NewClient(c.conf.Name(), c.conf.Key).Handshake()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// recorder is a transport, an authenticator and a Handler that keep all they
// see.
type recorder struct {
	msgr2.ClientAuth
	net.Conn
	msgs chan *msgr2.Message
	dead chan error

	mu             sync.Mutex
	sent, received []byte
	res            msgr2.AuthResult
}

func (r *recorder) dial(ctx context.Context, a entity.Addr) (_ net.Conn, err error) {
	r.Conn, err = new(net.Dialer).DialContext(ctx, "tcp", a.IP.String())
	return r, err
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received = append(r.received, p[:n]...)
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, p[:n]...)
	return n, err
}

func (r *recorder) Done(id uint64, mode msgr2.Mode, in []byte) (msgr2.AuthResult, error) {
	res, err := r.ClientAuth.Done(id, mode, in)
	r.res = res
	return res, err
}

func (r *recorder) HandleMessage(_ *msgr2.Conn, m *msgr2.Message) { r.msgs <- m }
func (r *recorder) HandleReset(_ *msgr2.Conn, err error)          { r.dead <- err }

// dial connects to target and talks a little: a monitor is asked for its map,
// and everyone is pinged twice.
func (c *cluster) dial(t *testing.T, kind entity.Type, target entity.AddrVec, cfg msgr2.Config) *recorder {
	t.Helper()
	r := &recorder{ClientAuth: c.auth(t, kind), msgs: make(chan *msgr2.Message, 100), dead: make(chan error, 1)}
	cfg.Type, cfg.Addrs, cfg.Features, cfg.Handler = entity.TypeClient, nonce(), features, r
	if kind != entity.TypeMon {
		cfg.GlobalID = c.mons.GlobalID
	}
	cfg.KeepaliveInterval = 20 * time.Millisecond
	cfg.Dialer = r.dial
	conn, err := msgr2.Dial(t.Context(), target, kind, r, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Wait()
	defer conn.Close()
	if conn.Mode() != cfg.Modes[0] || conn.Compression() != 0 || conn.PeerName().Type != kind || conn.Features() == 0 {
		t.Errorf("mode %v, compression %v, peer %v, features %#x", conn.Mode(), conn.Compression(), conn.PeerName(), conn.Features())
	}
	if kind == entity.TypeMon {
		if err := conn.Send(&msgr2.Message{Type: typeMonGetMap, Version: 1, Compat: 1}); err != nil {
			t.Fatal(err)
		}
		for got := false; !got; {
			select {
			case m := <-r.msgs:
				got = m.Type == typeMonMap
			case err := <-r.dead:
				t.Fatal(err)
			}
		}
	}
	first := conn.LastKeepaliveAck()
	for range 2 {
		for !conn.LastKeepaliveAck().After(first) {
			select {
			case <-time.After(time.Millisecond):
			case err := <-r.dead:
				t.Fatal(err)
			}
		}
		first = conn.LastKeepaliveAck()
	}
	return r
}

// transcript is one connection as it was on the wire.
type transcript struct {
	Peer       string `json:"peer"`
	Mode       string `json:"mode"`
	Rev0       bool   `json:"rev0"`
	Negotiates bool   `json:"negotiates_compression"`
	SessionKey string `json:"session_key"`
	Secret     string `json:"connection_secret"`
	Sent       string `json:"sent"`
	Received   string `json:"received"`
}

// TestInteropConnects speaks to a monitor and an OSD of every cluster in every
// way. With RBDM_CAPTURE=…/msgr2/testdata it renews the transcripts there.
func TestInteropConnects(t *testing.T) {
	for _, c := range clusters(t) {
		var all []transcript
		for _, peer := range []struct {
			kind entity.Type
			at   entity.AddrVec
		}{{entity.TypeMon, c.mon}, {entity.TypeOSD, c.osd}} {
			for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
				for _, way := range []string{"rev1", "rev0", "compression"} {
					t.Run(fmt.Sprintf("%s/%v/%v/%s", c.release, peer.kind, mode, way), func(t *testing.T) {
						cfg := msgr2.Config{Modes: []msgr2.Mode{mode}, Revision0: way == "rev0"}
						if way == "compression" {
							cfg.Compression = []msgr2.Algorithm{msgr2.Snappy, msgr2.Zstd}
						}
						r := c.dial(t, peer.kind, peer.at, cfg)
						all = append(all, transcript{
							Peer: peer.kind.String(), Mode: mode.String(), Rev0: cfg.Revision0, Negotiates: way == "compression",
							SessionKey: hex.EncodeToString(r.res.SessionKey), Secret: hex.EncodeToString(r.res.ConnectionSecret),
							Sent: hex.EncodeToString(r.sent), Received: hex.EncodeToString(r.received),
						})
					})
				}
			}
		}
		if dir := os.Getenv("RBDM_CAPTURE"); dir != "" && !t.Failed() {
			b, err := json.MarshalIndent(all, "", " ")
			if err == nil {
				err = os.MkdirAll(filepath.Join(dir, c.release), 0o755)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, c.release, "connections.json"), append(b, '\n'), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Messages to an OSD's administrator.
const (
	typeCommand      = 97
	typeCommandReply = 98
)

// TestInteropCompression makes OSDs compress what they tell other OSDs, and
// speaks to one as if we were one: its ident and all that follows come
// compressed, and it understands ours.
func TestInteropCompression(t *testing.T) {
	for _, c := range clusters(t) {
		if c.release == "16.2" {
			continue // does not compress
		}
		for name, value := range map[string]string{"mode": "force", "min_size": "1", "ion_algorithm": "snappy,zlib,zstd,lz4"} {
			option := map[string]any{"who": "osd", "name": "ms_osd_compress_" + name}
			if name == "ion_algorithm" {
				option["name"] = "ms_osd_compression_algorithm"
			}
			t.Cleanup(func() {
				option["prefix"] = "config rm"
				_, _, _ = c.mons.Command(context.Background(), option, nil)
			})
			option["prefix"], option["value"] = "config set", value
			if _, _, err := c.mons.Command(t.Context(), option, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range []msgr2.Algorithm{msgr2.Snappy, msgr2.Zlib, msgr2.Zstd, msgr2.LZ4} {
			t.Run(fmt.Sprintf("%s/%v", c.release, a), func(t *testing.T) { c.compressed(t, a) })
		}
	}
}

func (c *cluster) compressed(t *testing.T, a msgr2.Algorithm) {
	r := &recorder{msgs: make(chan *msgr2.Message, 100), dead: make(chan error, 1)}
	cfg := msgr2.Config{
		Type: entity.TypeOSD, Addrs: nonce(), Features: features, Modes: []msgr2.Mode{msgr2.ModeCRC}, Handler: r, GlobalID: c.mons.GlobalID,
		Compression: []msgr2.Algorithm{a}, CompressMinSize: 1, KeepaliveInterval: 20 * time.Millisecond, Dialer: r.dial,
	}
	var conn *msgr2.Conn
	for began := time.Now(); ; { // until the OSD has heard of its configuration
		var err error
		r.sent, r.received = nil, nil
		if conn, err = msgr2.Dial(t.Context(), c.osd, entity.TypeOSD, c.auth(t, entity.TypeOSD), cfg); err != nil {
			t.Fatal(err)
		}
		if conn.Compression() == a {
			break
		}
		_ = conn.Close()
		<-r.dead
		if time.Since(began) > 10*time.Second {
			t.Fatal("the OSD does not compress")
		}
		time.Sleep(50 * time.Millisecond)
	}
	defer conn.Wait()
	defer conn.Close()
	fsid := c.mons.FSID()
	front := append([]byte(nil), fsid[:]...)
	command := `{"prefix":"config show","format":"json-pretty"}`
	front = append(front, 1, 0, 0, 0, byte(len(command)), 0, 0, 0)
	front = append(front, command...)
	if err := conn.Send(&msgr2.Message{Type: typeCommand, TID: 1, Version: 1, Compat: 1, Front: front}); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case m := <-r.msgs:
			if m.Type != typeCommandReply {
				continue
			}
			var all map[string]any
			if err := json.Unmarshal(m.Data.Bytes(), &all); err != nil || len(all) < 1000 {
				t.Errorf("%d bytes, %d options, %v", m.Data.Len(), len(all), err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Logf("%d bytes of configuration came by %v in %d bytes", m.Data.Len(), a, len(r.received))
			if a == msgr2.Snappy && len(r.received) > m.Data.Len()/2 { // the others' plug-ins may be missing
				t.Error("not compressed")
			}
			return
		case err := <-r.dead:
			t.Fatal(err)
		case <-time.After(20 * time.Second):
			t.Fatal("no answer; last ping answered at ", conn.LastKeepaliveAck())
		}
	}
}
