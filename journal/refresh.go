package journal

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// State is the part of a journal's metadata that changes. It is shared and must
// not be changed.
type State struct {
	MinimumSet uint64 // the lowest object set that is still there
	ActiveSet  uint64 // the object set that is written to
	Clients    []wire.Client
}

// Client returns the client of an id, or nil.
func (s State) Client(id string) *wire.Client {
	for i := range s.Clients {
		if s.Clients[i].ID == id {
			return &s.Clients[i]
		}
	}
	return nil
}

// State returns the metadata as it was read last. The channel is closed when
// there is something newer.
func (j *Journal) State() (State, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state, j.changed
}

// Refresh reads the metadata.
func (j *Journal) Refresh(ctx context.Context) error {
	st, err := j.readState(ctx)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// Sets only grow; what two readers read may arrive in any order.
	st.MinimumSet, st.ActiveSet = max(st.MinimumSet, j.state.MinimumSet), max(st.ActiveSet, j.state.ActiveSet)
	if !reflect.DeepEqual(st, j.state) {
		j.state = st
		j.activeSet.Store(st.ActiveSet)
		close(j.changed)
		j.changed = make(chan struct{})
	}
	return nil
}

func (j *Journal) readLayout(ctx context.Context) error {
	op := rados.NewOp()
	order := op.Call(wire.Class, wire.MethodGetOrder, nil)
	splay := op.Call(wire.Class, wire.MethodGetSplayWidth, nil)
	pool := op.Call(wire.Class, wire.MethodGetPoolID, nil)
	if err := j.io.Operate(ctx, j.header, op); err != nil {
		return fmt.Errorf("open journal %s: %w", j.id, err)
	}
	r := denc.NewReader(nil)
	number := func(b *rados.Bytes) *denc.Reader {
		if r.Err() == nil {
			r = denc.NewReader(b.Bytes())
		}
		return r
	}
	j.layout = Layout{Order: number(order).U8(), SplayWidth: number(splay).U8(), Pool: number(pool).S64()}
	if err := r.Err(); err != nil {
		return fmt.Errorf("open journal %s: %w", j.id, err)
	}
	if err := j.layout.valid(); err != nil {
		return fmt.Errorf("open journal %s: %w", j.id, err)
	}
	j.data = j.io
	if j.layout.Pool >= 0 && j.layout.Pool != j.io.Pool() {
		j.data = j.io.WithPool(j.layout.Pool)
	}
	return nil
}

// clientPage is how many clients are asked for at once.
const clientPage = 64

func (j *Journal) readState(ctx context.Context) (State, error) {
	op := rados.NewOp()
	minimum := op.Call(wire.Class, wire.MethodGetMinimumSet, nil)
	active := op.Call(wire.Class, wire.MethodGetActiveSet, nil)
	list := op.Call(wire.Class, wire.MethodClientList, clientListArgs(""))
	if err := j.io.Operate(ctx, j.header, op); err != nil {
		return State{}, fmt.Errorf("read journal %s: %w", j.id, err)
	}
	r, a := denc.NewReader(minimum.Bytes()), denc.NewReader(active.Bytes())
	st := State{MinimumSet: r.U64(), ActiveSet: a.U64()}
	clients, err := readClients(list.Bytes())
	for err == nil {
		st.Clients = append(st.Clients, clients...)
		if len(clients) < clientPage {
			break
		}
		var p []byte
		if p, err = j.io.Exec(ctx, j.header, wire.Class, wire.MethodClientList, clientListArgs(clients[len(clients)-1].ID)); err == nil {
			clients, err = readClients(p)
		}
	}
	for _, e := range []error{r.Err(), a.Err(), err} {
		if e != nil {
			return State{}, fmt.Errorf("read journal %s: %w", j.id, e)
		}
	}
	return st, nil
}

func clientListArgs(after string) []byte {
	return denc.AppendU64(denc.AppendString(nil, after), clientPage)
}

func readClients(p []byte) ([]wire.Client, error) {
	r := denc.NewReader(p)
	clients := denc.Slice(r, 25, func(r *denc.Reader) (c wire.Client) {
		c.Decode(r)
		return c
	})
	return clients, r.Err()
}

// watchHeader registers for changes of the header. What it brings is handled by
// the follower.
func (j *Journal) watchHeader(ctx context.Context) error {
	w, err := j.io.Watch(ctx, j.header, func(n *rados.Notification) {
		n.Ack(nil)
		j.poke()
	}, rados.OnError(func(err error) {
		j.log.Warn("watch of the journal's header was lost", "err", err)
		j.poke()
	}))
	if err == nil {
		j.watch = w
	}
	return err
}

// poke makes the follower look at the header.
func (j *Journal) poke() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// rewatchAge is how long after a failure the follower tries again.
const rewatchAge = time.Second

// follow keeps the state new until the Journal is closed.
func (j *Journal) follow() {
	defer j.wg.Done()
	for {
		var again <-chan time.Time
		if err := j.catchUp(); err != nil {
			if j.ctx.Err() != nil {
				return
			}
			j.log.Warn("journal metadata cannot be followed", "err", err)
			again = time.After(rewatchAge)
		}
		select {
		case <-j.ctx.Done():
			return
		case <-j.kick:
		case <-again:
		}
	}
}

// catchUp watches again if need be, reads the metadata and does what is to be
// done by it.
func (j *Journal) catchUp() error {
	if j.watch == nil || j.watch.Err() != nil {
		if j.watch != nil {
			_ = j.watch.Close(j.ctx)
			j.watch = nil
		}
		if err := j.watchHeader(j.ctx); err != nil {
			return err
		}
	}
	if err := j.Refresh(j.ctx); err != nil {
		return err
	}
	if err := j.disconnectLaggy(j.ctx); err != nil {
		return err
	}
	if j.opts.NoTrim {
		return nil
	}
	return j.trim(j.ctx)
}

// notifyTimeout bounds the wait for others to hear of a change.
const notifyTimeout = 5 * time.Second

// notify tells everybody that the metadata changed. Whether they heard is not
// important: they look from time to time.
func (j *Journal) notify(ctx context.Context) {
	if _, err := j.io.Notify(ctx, j.header, nil, notifyTimeout); err != nil {
		j.log.Debug("journal notification", "err", err)
	}
}

// tell tells the watchers of new commit positions, until the Journal is closed.
// Nobody who commits waits for them: a watcher that died answers nothing until its
// watch expires.
func (j *Journal) tell() {
	defer j.wg.Done()
	for {
		select {
		case <-j.news:
			j.notify(j.ctx)
			if j.ctx.Err() != nil {
				j.hasNews() // it may not have been sent: tellAtEnd does it again
			}
		case <-j.ctx.Done():
			return
		}
	}
}

// hasNews makes tell, or tellAtEnd, send a notification.
func (j *Journal) hasNews() {
	select {
	case j.news <- struct{}{}:
	default: // it will be told with what is to be told already
	}
}

// tellAtEnd sends what tell has not sent yet. Those who live have it at once; it
// does not wait long for the others.
func (j *Journal) tellAtEnd(ctx context.Context) {
	select {
	case <-j.news:
		ctx, cancel := context.WithTimeout(ctx, lastWord)
		defer cancel()
		j.notify(ctx)
	default:
	}
}

// lastWord is how long Close waits for the answers to a notification.
const lastWord = 500 * time.Millisecond

// reserve notes that a tag has an entry: what is recorded under the tag comes
// behind it.
func (j *Journal) reserve(tag, entry uint64) {
	j.mu.Lock()
	j.next[tag] = max(j.next[tag], entry+1)
	j.mu.Unlock()
}

// allocate returns the TID of the next entry of a tag.
func (j *Journal) allocate(tag uint64) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	tid := j.next[tag]
	j.next[tag] = tid + 1
	return tid
}
