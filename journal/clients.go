package journal

import (
	"context"
	"fmt"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// change runs a method of class journal that changes the header, tells everybody
// and reads the result.
func (j *Journal) change(ctx context.Context, method string, in []byte) error {
	if err := j.io.ExecWrite(ctx, j.header, wire.Class, method, in); err != nil {
		return fmt.Errorf("%s of journal %s: %w", method, j.id, err)
	}
	j.notify(ctx)
	return j.Refresh(ctx)
}

// Register adds the client that opened the journal, with its data (RBD's is a
// wire.ClientData). It begins where the client that is furthest behind is. It
// fails with rados.ErrExists when the client is there.
func (j *Journal) Register(ctx context.Context, data []byte) error {
	return j.RegisterClient(ctx, j.client, data)
}

// RegisterClient is Register for any client.
func (j *Journal) RegisterClient(ctx context.Context, id string, data []byte) error {
	return j.change(ctx, wire.MethodClientRegister, denc.AppendBytes(denc.AppendString(nil, id), data))
}

// Update replaces the data of the client that opened the journal; rados.ErrNotFound
// when it is not registered.
func (j *Journal) Update(ctx context.Context, data []byte) error {
	return j.UpdateClient(ctx, j.client, data)
}

// UpdateClient is Update for any client.
func (j *Journal) UpdateClient(ctx context.Context, id string, data []byte) error {
	return j.change(ctx, wire.MethodClientUpdateData, denc.AppendBytes(denc.AppendString(nil, id), data))
}

// SetClientState sets whether a client is wire.ClientConnected or
// wire.ClientDisconnected. The journal keeps nothing for one that is
// disconnected.
func (j *Journal) SetClientState(ctx context.Context, id string, state uint8) error {
	return j.change(ctx, wire.MethodClientUpdateState, denc.AppendU8(denc.AppendString(nil, id), state))
}

// Unregister removes the client that opened the journal.
func (j *Journal) Unregister(ctx context.Context) error { return j.UnregisterClient(ctx, j.client) }

// UnregisterClient is Unregister for any client.
func (j *Journal) UnregisterClient(ctx context.Context, id string) error {
	return j.change(ctx, wire.MethodClientUnregister, denc.AppendString(nil, id))
}

// Client reads a client from the header; rados.ErrNotFound when it is not
// registered.
func (j *Journal) Client(ctx context.Context, id string) (wire.Client, error) {
	var c wire.Client
	p, err := j.io.Exec(ctx, j.header, wire.Class, wire.MethodGetClient, denc.AppendString(nil, id))
	if err == nil {
		r := denc.NewReader(p)
		c.Decode(r)
		err = r.Err()
	}
	if err != nil {
		return c, fmt.Errorf("client %q of journal %s: %w", id, j.id, err)
	}
	return c, nil
}

// disconnectLaggy disconnects clients that are too many object sets behind.
func (j *Journal) disconnectLaggy(ctx context.Context) error {
	if j.opts.MaxConcurrentSets == 0 {
		return nil
	}
	st, _ := j.State()
	for _, c := range st.Clients {
		if !j.laggy(st, c) {
			continue
		}
		j.log.Warn("disconnecting a client of the journal that lags", "laggard", c.ID, "active_set", st.ActiveSet)
		if err := j.SetClientState(ctx, c.ID, wire.ClientDisconnected); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) laggy(st State, c wire.Client) bool {
	if c.ID == j.client || c.State == wire.ClientDisconnected {
		return false
	}
	for _, id := range j.opts.KeepLaggy {
		if c.ID == id {
			return false
		}
	}
	var set uint64
	if len(c.Commit) > 0 {
		set = j.layout.Set(c.Commit[0].Object)
	}
	return st.ActiveSet > set && st.ActiveSet-set > j.opts.MaxConcurrentSets
}
