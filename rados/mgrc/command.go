package mgrc

import (
	"context"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/monc"
	"github.com/rbdm/rbdm/rados/wire"
)

// call is a command that is sent again over every new session until it is
// answered.
type call struct {
	tid  uint64
	cmd  string
	in   []byte
	done chan result // holds one
	// garbage is its answers that could not be read.
	garbage msgr2.Garbage
}

type result struct {
	reply wire.CommandReply
	out   []byte
	err   error
}

// priorityDefault is CEPH_MSG_PRIO_DEFAULT.
const priorityDefault = 127

func message(f wire.Front, tid uint64) *msgr2.Message {
	h := f.Header()
	return &msgr2.Message{Type: h.Type, Version: h.Version, Compat: h.Compat, Priority: priorityDefault, TID: tid, Front: f.Append(nil)}
}

func (k *call) message() *msgr2.Message {
	m := message(&wire.MgrCommand{Cmd: []string{k.cmd}}, k.tid)
	if len(k.in) > 0 {
		m.Data = msgr2.NewData(k.in)
	}
	return m
}

// Command runs a command of a manager module: cmd is marshalled to the JSON
// object that managers take, {"prefix": "…", …}. It returns the output and the
// status, a text for people. A refusal is a *monc.CommandError. It waits for a
// manager when there is none; ctx bounds that. The command may have been carried
// out when ctx ended first, and it is sent again when the manager dies.
func (c *Client) Command(ctx context.Context, cmd any, in []byte) (out []byte, status string, err error) {
	text, prefix, err := monc.MarshalCommand(cmd)
	if err != nil {
		return nil, "", err
	}
	k := &call{cmd: text, in: in, done: make(chan result, 1)}
	c.mu.Lock()
	c.lastTID++
	k.tid = c.lastTID
	c.calls[k.tid] = k
	if c.conn != nil {
		_ = c.conn.Send(k.message())
	}
	c.demand()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, k.tid)
		c.mu.Unlock()
	}()
	select {
	case r := <-k.done:
		if r.err != nil {
			return nil, "", fmt.Errorf("command %q: %w", prefix, r.err)
		}
		if r.reply.Result < 0 {
			return r.out, r.reply.Status, &monc.CommandError{Prefix: prefix, Errno: errno.Errno(-r.reply.Result), Status: r.reply.Status}
		}
		return r.out, r.reply.Status, nil
	case <-ctx.Done():
		return nil, "", fmt.Errorf("command %q: %s: %w", prefix, c.state(), ctx.Err())
	case <-c.stopped:
		return nil, "", fmt.Errorf("command %q: %w", prefix, ErrClosed)
	}
}

// state says in words how it stands with the manager.
func (c *Client) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mgrMap == nil:
		return "no manager map yet"
	case !c.mgrMap.Available:
		return "the cluster has no active manager"
	case c.conn == nil:
		return "manager " + c.mgrMap.ActiveName + " cannot be reached"
	}
	return "manager " + c.mgrMap.ActiveName + " did not answer"
}

// handleReply gives an answer to the call that waits for it.
func (c *Client) handleReply(m *msgr2.Message) error {
	var f wire.CommandReply
	if err := wire.Decode(&f, m.Front); err != nil {
		return err
	}
	out := slices.Clone(m.Data.Bytes())
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.calls[m.TID]; ok {
		delete(c.calls, m.TID)
		k.finish(result{reply: f, out: out})
	}
	return nil
}

// charge counts an unreadable message for the call that it answers, or for all when
// tid is 0. The session ends and they are sent again over the next one, unless there
// were too many.
func (c *Client) charge(tid uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, k := range c.calls {
		if (tid == 0 || t == tid) && k.garbage.Add() {
			delete(c.calls, t)
			k.finish(result{err: fmt.Errorf("%w: %w", msgr2.ErrGarbage, err)})
		}
	}
}

func (k *call) finish(r result) {
	select {
	case k.done <- r:
	default:
	}
}

// fail ends all calls with err.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tid, k := range c.calls {
		delete(c.calls, tid)
		k.finish(result{err: err})
	}
}
