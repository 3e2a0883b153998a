package fakecluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// Disk is how slow an OSD's disk is.
type Disk struct {
	// Latency is what each request takes, Bandwidth in bytes a second what its
	// data take besides; 0 is nothing. A disk does one after the other.
	Latency   time.Duration
	Bandwidth int64
}

// disk is an OSD's disk at work.
type disk struct {
	any  atomic.Bool // it takes time
	mu   sync.Mutex
	Disk           // guarded by mu
	free time.Time // when it has done all that it was given; guarded by mu
}

// SetDisk makes an OSD's disk slow, or with the zero Disk as fast as memory.
// Requests are executed in their order and at once, but answered only when the
// disk has read or written them, by the cluster's clock; a crash before that may
// lose writes.
func (c *Cluster) SetDisk(osd int, d Disk) {
	k := &c.osds[osd].disk
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Disk = d
	k.any.Store(d != Disk{})
}

// slow reports whether the disk takes any time.
func (k *disk) slow() bool { return k.any.Load() }

// take gives the disk a request with so many bytes and returns how long it takes
// until that is done.
func (k *disk) take(now time.Time, n int) time.Duration {
	if !k.slow() {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.free.Before(now) {
		k.free = now
	}
	k.free = k.free.Add(k.Latency)
	if k.Bandwidth > 0 {
		k.free = k.free.Add(time.Duration(int64(n) * int64(time.Second) / k.Bandwidth))
	}
	return k.free.Sub(now)
}
