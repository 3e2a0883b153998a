package fakecluster

import "github.com/rbdm/rbdm/msgr2"

// arrive lets a monitor or the manager handle a message as the verdict has it.
func (fs *faults) arrive(c *msgr2.Conn, m *msgr2.Message, v verdict, handle func()) {
	switch {
	case v.breaks():
		_ = c.Close()
		return
	case v.drop:
		return
	case v.after:
		fs.loseAnswer(c, m.TID)
	}
	if v.truncate > 0 {
		truncate(m, v.truncate)
	}
	run := func() {
		handle()
		if v.duplicate {
			handle()
		}
		if v.disconnect {
			_ = c.Close()
		}
	}
	key := parkedKey{c, false}
	switch {
	case v.delay > 0:
		fs.c.after(v.delay, run)
	case v.reorder > 0:
		fs.park(key, v.reorder, run)
		return
	default:
		run()
	}
	if fs.active() {
		fs.passed(key)
	}
}

// loseAnswer lets the answer to a request be lost. Cluster maps and the like, which
// answer nothing, have no number.
func (fs *faults) loseAnswer(c *msgr2.Conn, tid uint64) {
	if tid == 0 {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.wires[c] == nil {
		return // it is gone
	}
	if fs.lost == nil {
		fs.lost = map[lostAnswer]bool{}
	}
	fs.lost[lostAnswer{c, tid}] = true
	fs.changed()
}

// loses reports whether a message is an answer that is to be lost.
func (fs *faults) loses(c *msgr2.Conn, tid uint64) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.lost[lostAnswer{c, tid}]
}

// connect notes by which transport a connection's messages go.
func (fs *faults) connect(c *msgr2.Conn, l *linkConn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.wires == nil {
		fs.wires = map[*msgr2.Conn]*linkConn{}
	}
	fs.wires[c] = l
}

// disconnect forgets a connection that is dead.
func (fs *faults) disconnect(c *msgr2.Conn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.wires, c)
	for k := range fs.lost {
		if k.conn == c {
			delete(fs.lost, k)
		}
	}
	fs.changed()
}

// damage lets the bytes that the connection writes next come to harm: those of the
// message that is sent after this, or of one that is still in front of it.
func (fs *faults) damage(c *msgr2.Conn, v *verdict) {
	if !v.damages() {
		return
	}
	fs.mu.Lock()
	l := fs.wires[c]
	fs.mu.Unlock()
	if l == nil {
		return
	}
	if v.corrupt {
		l.corrupt.Store(true)
	}
	if v.cut > 0 {
		l.cut.Store(int64(v.cut))
	}
}

// truncate takes n bytes from the end of a message.
func truncate(m *msgr2.Message, n int) {
	k := min(n, m.Data.Len())
	m.Data = m.Data.Slice(0, m.Data.Len()-k)
	m.Front = m.Front[:len(m.Front)-min(n-k, len(m.Front))]
}
