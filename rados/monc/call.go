package monc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// CommandError says that a monitor or a manager refused a command.
type CommandError struct {
	// Prefix is the command.
	Prefix string
	// Errno is what errors.Is finds.
	Errno errno.Errno
	// Status is what the daemon says about it.
	Status string
}

// Error implements error.
func (e *CommandError) Error() string {
	if e.Status == "" {
		return fmt.Sprintf("command %q: %v", e.Prefix, e.Errno)
	}
	return fmt.Sprintf("command %q: %s (%v)", e.Prefix, e.Status, e.Errno)
}

// Unwrap returns Errno.
func (e *CommandError) Unwrap() error { return e.Errno }

// call is a request that is sent again over every new session until it is
// answered.
type call struct {
	tid   uint64
	build func(fsid denc.UUID, tid uint64) *msgr2.Message
	done  chan result // holds one
	// garbage is its answers that could not be read.
	garbage msgr2.Garbage
}

type result struct {
	front wire.Front
	data  []byte
	err   error
}

func (k *call) message(fsid denc.UUID) *msgr2.Message { return k.build(fsid, k.tid) }

func (c *Client) monmapFSID() denc.UUID {
	if c.monmap == nil {
		return denc.UUID{}
	}
	return c.monmap.FSID
}

// do sends a request and waits for its answer. The option rados_mon_op_timeout
// bounds it when ctx has no deadline.
func (c *Client) do(ctx context.Context, build func(fsid denc.UUID, tid uint64) *msgr2.Message) (result, error) {
	if _, ok := ctx.Deadline(); !ok {
		if d := c.cfg.Conf.Duration("rados_mon_op_timeout"); d > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
	}
	k := &call{build: build, done: make(chan result, 1)}
	c.mu.Lock()
	if !c.started {
		c.mu.Unlock()
		return result{}, ErrClosed
	}
	if c.fatal != nil && c.session == nil {
		err := c.fatal
		c.mu.Unlock()
		return result{}, err
	}
	c.lastTID++
	k.tid = c.lastTID
	c.calls[k.tid] = k
	if c.session != nil && c.monmap != nil {
		_ = c.session.conn.Send(k.message(c.monmap.FSID))
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, k.tid)
		c.mu.Unlock()
	}()
	select {
	case r := <-k.done:
		return r, r.err
	case <-ctx.Done():
		return result{}, c.unanswered(ctx.Err())
	case <-c.stopped:
		return result{}, ErrClosed
	}
}

// unanswered adds to a context's error that no monitor is there, if so.
func (c *Client) unanswered(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil && c.lastErr != nil {
		return fmt.Errorf("%w: %w (%w)", ErrUnreachable, c.lastErr, err)
	}
	return fmt.Errorf("monitors did not answer: %w", err)
}

// sendCallsHeldBack sends the calls that waited for the cluster's id.
func (c *Client) sendCallsHeldBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return
	}
	tids := make([]uint64, 0, len(c.calls))
	for tid := range c.calls {
		tids = append(tids, tid)
	}
	slices.Sort(tids)
	for _, tid := range tids {
		_ = c.session.conn.Send(c.calls[tid].message(c.monmap.FSID))
	}
}

// failCalls ends all calls with err.
func (c *Client) failCalls(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tid, k := range c.calls {
		k.finish(result{err: err})
		delete(c.calls, tid)
	}
}

// chargeCall counts an unreadable message for the call that it answers and reports
// whether there is one. The session ends and the call is sent again over the next
// one, unless there were too many.
func (c *Client) chargeCall(tid uint64, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.calls[tid]
	if ok && k.garbage.Add() {
		delete(c.calls, tid)
		k.finish(result{err: fmt.Errorf("%w: %w", msgr2.ErrGarbage, err)})
	}
	return ok
}

func (k *call) finish(r result) {
	select {
	case k.done <- r:
	default:
	}
}

// handleReply gives an answer to the call that waits for it.
func (c *Client) handleReply(m *msgr2.Message) error {
	var f wire.Front
	switch m.Type {
	case wire.TypeMonCommandAck:
		f = &wire.MonCommandAck{}
	case wire.TypePoolOpReply:
		f = &wire.PoolOpReply{}
	case wire.TypeStatfsReply:
		f = &wire.StatfsReply{}
	case wire.TypeMonGetVersionReply:
		f = &wire.MonGetVersionReply{}
	case wire.TypeLogAck:
		f = &wire.LogAck{}
	default:
		c.log.Debug("message of no use", "type", m.Type)
		return nil
	}
	if err := wire.Decode(f, m.Front); err != nil {
		return err
	}
	tid := m.TID
	switch f := f.(type) {
	case *wire.MonGetVersionReply:
		tid = f.Handle
	case *wire.LogAck:
		tid = f.Last // the entries' numbers are their call's
	case *wire.PoolOpReply:
		f.Data = slices.Clone(f.Data)
	}
	data := slices.Clone(m.Data.Bytes())
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.calls[tid]; ok {
		c.garbage.Good()
		delete(c.calls, tid)
		k.finish(result{front: f, data: data})
	}
	return nil
}

// Command runs a monitor command: cmd is marshalled to the JSON object that
// monitors take, {"prefix": "…", …}. It returns the output and the status, a
// text for people. A refusal is a *CommandError. The command may have been
// carried out when ctx ended first, and it is sent again when the monitor dies.
func (c *Client) Command(ctx context.Context, cmd any, in []byte) (out []byte, status string, err error) {
	text, prefix, err := MarshalCommand(cmd)
	if err != nil {
		return nil, "", err
	}
	r, err := c.do(ctx, func(fsid denc.UUID, tid uint64) *msgr2.Message {
		m := message(&wire.MonCommand{FSID: fsid, Cmd: []string{text}}, tid)
		if len(in) > 0 {
			m.Data = msgr2.NewData(in)
		}
		return m
	})
	if err != nil {
		return nil, "", fmt.Errorf("command %q: %w", prefix, err)
	}
	ack, ok := r.front.(*wire.MonCommandAck)
	if !ok {
		return nil, "", fmt.Errorf("command %q: answered by %T", prefix, r.front)
	}
	if ack.Result < 0 {
		return r.data, ack.Status, &CommandError{prefix, errno.Errno(-ack.Result), ack.Status}
	}
	return r.data, ack.Status, nil
}

// MarshalCommand returns the JSON text of a command and its prefix.
func MarshalCommand(cmd any) (text, prefix string, err error) {
	if s, ok := cmd.(string); ok {
		text = s
	} else {
		p, err := json.Marshal(cmd)
		if err != nil {
			return "", "", fmt.Errorf("command: %w", err)
		}
		text = string(p)
	}
	var head struct {
		Prefix string `json:"prefix"`
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil || head.Prefix == "" {
		return "", "", fmt.Errorf("command %q has no prefix", text)
	}
	return text, head.Prefix, nil
}

// GetVersion asks how new a map is ("osdmap", "mgrmap", "monmap"): its newest
// and its oldest epoch at the monitors.
func (c *Client) GetVersion(ctx context.Context, what string) (newest, oldest uint64, err error) {
	r, err := c.do(ctx, func(_ denc.UUID, tid uint64) *msgr2.Message {
		return message(&wire.MonGetVersion{Handle: tid, What: what}, tid)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("version of %s: %w", what, err)
	}
	v, ok := r.front.(*wire.MonGetVersionReply)
	if !ok {
		return 0, 0, fmt.Errorf("version of %s: answered by %T", what, r.front)
	}
	return v.Version, v.Oldest, nil
}

// PoolOp runs an operation on a pool; the cluster's id is filled in. The result
// shows in the OSD map of the reply's epoch. A refusal is an errno.Errno.
func (c *Client) PoolOp(ctx context.Context, op wire.PoolOp) (wire.PoolOpReply, error) {
	r, err := c.do(ctx, func(fsid denc.UUID, tid uint64) *msgr2.Message {
		op.FSID = fsid
		return message(&op, tid)
	})
	if err != nil {
		return wire.PoolOpReply{}, fmt.Errorf("operation %#x on pool %d: %w", op.Op, op.Pool, err)
	}
	reply, ok := r.front.(*wire.PoolOpReply)
	if !ok {
		return wire.PoolOpReply{}, fmt.Errorf("operation on pool %d: answered by %T", op.Pool, r.front)
	}
	if reply.Result < 0 {
		return *reply, fmt.Errorf("operation %#x on pool %d: %w", op.Op, op.Pool, errno.Errno(-reply.Result))
	}
	return *reply, nil
}

// Statfs returns how full the cluster is, or a pool when pool is not nil.
func (c *Client) Statfs(ctx context.Context, pool *int64) (wire.StatfsReply, error) {
	r, err := c.do(ctx, func(fsid denc.UUID, tid uint64) *msgr2.Message {
		return message(&wire.Statfs{FSID: fsid, Pool: pool}, tid)
	})
	if err != nil {
		return wire.StatfsReply{}, fmt.Errorf("statfs: %w", err)
	}
	reply, ok := r.front.(*wire.StatfsReply)
	if !ok {
		return wire.StatfsReply{}, fmt.Errorf("statfs: answered by %T", r.front)
	}
	return *reply, nil
}

// Log writes entries to the cluster log and waits until a monitor took them.
// Our name, address and the time are filled in where they are missing.
func (c *Client) Log(ctx context.Context, entries ...wire.LogEntry) error {
	r, err := c.do(ctx, c.logMessage(entries))
	if err != nil {
		return fmt.Errorf("cluster log: %w", err)
	}
	if _, ok := r.front.(*wire.LogAck); !ok {
		return fmt.Errorf("cluster log: answered by %T", r.front)
	}
	return nil
}

func (c *Client) logMessage(entries []wire.LogEntry) func(denc.UUID, uint64) *msgr2.Message {
	id, addr := c.GlobalID(), c.LocalAddr()
	entries = slices.Clone(entries)
	for i := range entries {
		e := &entries[i]
		e.Name = c.cfg.Conf.Name()
		e.Rank = entity.Name{Type: entity.TypeClient, Num: int64(id)}
		e.Addrs = entity.AddrVec{addr}
		if e.Stamp.IsZero() {
			e.Stamp = denc.TimeOf(c.cfg.Clock())
		}
		if e.Channel == "" {
			e.Channel = "cluster"
		}
	}
	return func(fsid denc.UUID, tid uint64) *msgr2.Message {
		for i := range entries {
			entries[i].Seq = tid
		}
		return message(&wire.Log{FSID: fsid, Entries: entries}, tid)
	}
}
