package rados_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
)

func TestSuiteWatchNotify(t *testing.T) {
	for _, path := range confs(t) {
		t.Run(path, func(t *testing.T) {
			c, other := connect(t, path), connect(t, path)
			ctx, io := testContext(t), newPool(t, c)
			check(t, "create", io.WriteFull(ctx, "o", nil))
			_, err := io.Watch(ctx, "missing", func(*rados.Notification) {})
			wantErr(t, "watch of a missing object", err, rados.ErrNotFound)

			got := make(chan string, 10)
			w, err := io.Watch(ctx, "o", func(n *rados.Notification) {
				got <- fmt.Sprintf("%d:%s", n.NotifierGID, n.Payload)
				n.Ack(append([]byte("re:"), n.Payload...))
			}, rados.WatchTimeout(30*time.Second), rados.OnError(func(err error) { t.Error("lost:", err) }))
			check(t, "watch", err)
			ws, err := io.ListWatchers(ctx, "o")
			check(t, "list-watchers", err)
			if len(ws) != 1 || ws[0].Cookie != w.Cookie() || ws[0].Name.Num != int64(c.GlobalID()) || !ws[0].Addr.SameInstance(c.Addr()) {
				t.Errorf("%+v, we are client.%d %s", ws, c.GlobalID(), c.Addr())
			}
			theirs := other.IoCtx(io.Pool())
			for i := range 3 {
				res, err := theirs.Notify(ctx, "o", fmt.Appendf(nil, "n%d", i), 5*time.Second)
				check(t, "notify", err)
				if len(res.Acks) != 1 || string(res.Acks[0].Payload) != fmt.Sprintf("re:n%d", i) || res.Acks[0].GID != c.GlobalID() || len(res.Timeouts) != 0 {
					t.Errorf("%+v", res)
				}
				if g := <-got; g != fmt.Sprintf("%d:n%d", other.GlobalID(), i) {
					t.Error(g)
				}
			}
			res, err := io.Notify(ctx, "o", []byte("own"), 5*time.Second)
			check(t, "notify", err)
			if len(res.Acks) != 1 {
				t.Errorf("%+v", res)
			}
			// A watcher that does not answer delays a notify to its timeout.
			silent, err := theirs.Watch(ctx, "o", func(*rados.Notification) {})
			check(t, "watch", err)
			res, err = io.Notify(ctx, "o", []byte("x"), time.Second)
			wantErr(t, "notify without an answer", err, rados.ErrTimedOut)
			if res == nil || len(res.Acks) != 1 || len(res.Timeouts) != 1 || res.Timeouts[0].GID != other.GlobalID() {
				t.Errorf("%+v", res)
			}
			check(t, "close", silent.Close(ctx))
			_, err = io.Notify(ctx, "missing", nil, time.Second)
			wantErr(t, "notify on a missing object", err, rados.ErrNotFound)
			check(t, "close", w.Close(ctx))
			check(t, "close", w.Close(ctx))
			ws, err = io.ListWatchers(ctx, "o")
			check(t, "list-watchers", err)
			if len(ws) != 0 {
				t.Errorf("%+v", ws)
			}
			res, err = io.Notify(ctx, "o", nil, time.Second)
			check(t, "notify without watchers", err)
			if len(res.Acks)+len(res.Timeouts) != 0 {
				t.Errorf("%+v", res)
			}
		})
	}
}

// cuttingDialer lets a test cut all connections.
type cuttingDialer struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (d *cuttingDialer) dial(ctx context.Context, addr entity.Addr) (net.Conn, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "tcp", addr.IP.String())
	if err == nil {
		d.mu.Lock()
		d.conns = append(d.conns, c)
		d.mu.Unlock()
	}
	return c, err
}

func (d *cuttingDialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

func TestSuiteWatchSurvivesLostConnections(t *testing.T) {
	for _, path := range confs(t) {
		t.Run(path, func(t *testing.T) {
			var d cuttingDialer
			c, other := connect(t, path, rados.WithDialer(d.dial)), connect(t, path)
			ctx, io := testContext(t), newPool(t, other)
			check(t, "create", io.WriteFull(ctx, "o", nil))
			got := make(chan string, 100)
			w, err := c.IoCtx(io.Pool()).Watch(ctx, "o", func(n *rados.Notification) {
				got <- string(n.Payload)
				n.Ack(nil)
			}, rados.OnError(func(err error) { t.Error("lost:", err) }))
			check(t, "watch", err)
			for i := range 10 {
				d.cut()
				res, err := io.Notify(ctx, "o", fmt.Appendf(nil, "%d", i), 10*time.Second)
				check(t, "notify", err)
				if len(res.Acks) != 1 {
					t.Errorf("notify %d: %+v", i, res)
				}
				if g := <-got; g != fmt.Sprint(i) {
					t.Errorf("notification %q, want %d", g, i)
				}
			}
			check(t, "close", w.Close(ctx))
		})
	}
}

// TestSuiteAppendsOnceOverLostConnections appends numbers while connections
// are cut: each must be there once and in order.
func TestSuiteAppendsOnceOverLostConnections(t *testing.T) {
	for _, path := range confs(t) {
		t.Run(path, func(t *testing.T) {
			var d cuttingDialer
			c := connect(t, path, rados.WithDialer(d.dial))
			ctx, io := testContext(t), newPool(t, c)
			appendAndVerify(ctx, t, io, 4, 1500, func(i int) {
				if i%100 == 50 {
					d.cut()
				}
			})
		})
	}
}

// appendAndVerify appends n numbers to each of some objects, many at once, and
// checks that each arrived once and in order. at is called before each number.
func appendAndVerify(ctx context.Context, t *testing.T, io *rados.IoCtx, objects, n int, at func(i int)) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range n {
		at(i)
		for o := range objects {
			slots <- struct{}{}
			wg.Add(1)
			op := rados.NewOp()
			op.Append(msgr2.NewData(binary.LittleEndian.AppendUint32(nil, uint32(i))))
			io.Go(ctx, fmt.Sprintf("append%d", o), op, func(err error) {
				if err != nil {
					t.Errorf("append: %v", err)
				}
				<-slots
				wg.Done()
			})
		}
	}
	wg.Wait()
	for o := range objects {
		p, err := io.Read(ctx, fmt.Sprintf("append%d", o), 0, uint64(4*n+100))
		check(t, "read", err)
		if len(p) != 4*n {
			t.Errorf("object %d has %d bytes, want %d", o, len(p), 4*n)
			continue
		}
		for i := range n {
			if got := binary.LittleEndian.Uint32(p[4*i:]); got != uint32(i) {
				t.Errorf("object %d: number %d at place %d", o, got, i)
				break
			}
		}
	}
}

func TestSuiteBlocklist(t *testing.T) {
	for _, path := range confs(t) {
		t.Run(path, func(t *testing.T) {
			c, victim := connect(t, path), connect(t, path)
			ctx, io := testContext(t), newPool(t, c)
			check(t, "create", io.WriteFull(ctx, "o", nil))
			theirs := victim.IoCtx(io.Pool())
			lost := make(chan error, 1)
			_, err := theirs.Watch(ctx, "o", func(n *rados.Notification) { n.Ack(nil) }, rados.OnError(func(err error) { lost <- err }))
			check(t, "watch", err)
			check(t, "blocklist", c.Blocklist(ctx, victim.Addr(), time.Minute))
			check(t, "write of another client", io.WriteFull(ctx, "o", []byte("x")))
			wantErr(t, "write of the blocklisted client", theirs.WriteFull(ctx, "o", nil), rados.ErrBlocklisted)
			select {
			case <-victim.Blocklisted():
			case <-ctx.Done():
				t.Fatal("was not told")
			}
			select {
			case err := <-lost:
				t.Log(err)
			case <-ctx.Done():
				t.Fatal("the watch was not told")
			}
			if p, err := io.Read(ctx, "o", 0, 10); err != nil || string(p) != "x" {
				t.Errorf("%q, %v", p, err)
			}
		})
	}
}
