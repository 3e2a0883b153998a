//go:build interop && capture && linux

package rbdm

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// sniffer records the TCP connections over the loopback interface from and to a
// range of ports. Lost packets end a stream; what came before them counts.
type sniffer struct {
	low, high uint16
	fd        int

	mu      sync.Mutex
	streams map[[2]uint16][]*stream // by source and destination port, in the order they began
	began   int
}

// stream is one direction of one connection.
type stream struct {
	began   int
	next    uint32
	data    []byte
	pending map[uint32][]byte
}

func newSniffer(t *testing.T, low, high uint16) *sniffer {
	const ethIP = 0x0800
	proto := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, ethIP))
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(proto))
	must(t, "raw socket (needs root)", err)
	lo, err := net.InterfaceByName("lo")
	must(t, "loopback interface", err)
	must(t, "bind", syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: proto, Ifindex: lo.Index}))
	must(t, "buffer", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 256<<20))
	must(t, "timeout", syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100000}))
	s := &sniffer{low: low, high: high, fd: fd, streams: map[[2]uint16][]*stream{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = syscall.Close(fd)
	})
	return s
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (s *sniffer) run(ctx context.Context) {
	buf := make([]byte, 1<<17)
	for ctx.Err() == nil {
		n, from, err := syscall.Recvfrom(s.fd, buf, 0)
		if ll, ok := from.(*syscall.SockaddrLinklayer); err == nil && ok && ll.Pkttype != syscall.PACKET_OUTGOING {
			s.packet(buf[:n])
		}
	}
}

func (s *sniffer) ours(port uint16) bool { return port >= s.low && port <= s.high }

func (s *sniffer) packet(p []byte) {
	const ether = 14
	if len(p) < ether+40 || p[ether]>>4 != 4 || p[ether+9] != syscall.IPPROTO_TCP {
		return
	}
	ip := p[ether : ether+int(binary.BigEndian.Uint16(p[ether+2:]))]
	tcp := ip[int(ip[0]&15)*4:]
	key := [2]uint16{binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:])}
	if !s.ours(key[0]) && !s.ours(key[1]) {
		return
	}
	seq, body := binary.BigEndian.Uint32(tcp[4:]), tcp[int(tcp[12]>>4)*4:]
	s.mu.Lock()
	defer s.mu.Unlock()
	if syn := tcp[13]&2 != 0; syn {
		s.began++
		s.streams[key] = append(s.streams[key], &stream{began: s.began, next: seq + 1, pending: map[uint32][]byte{}})
		return
	}
	all := s.streams[key]
	if len(all) == 0 || len(body) == 0 {
		return
	}
	st := all[len(all)-1]
	st.pending[seq] = slices.Clone(body)
	for b, ok := st.pending[st.next]; ok; b, ok = st.pending[st.next] {
		delete(st.pending, st.next)
		st.data = append(st.data, b...)
		st.next += uint32(len(b))
	}
}

// talk is what both ends of a connection said.
type talk struct {
	Client, Server []byte
	Port           uint16 // the server's
	began          int
}

// talks returns the connections in the order they began; the server is the end
// whose port was listened to.
func (s *sniffer) talks() []talk {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []talk
	for key, out := range s.streams {
		in := s.streams[[2]uint16{key[1], key[0]}]
		if !s.ours(key[1]) || s.ours(key[0]) {
			continue
		}
		for i := range min(len(out), len(in)) {
			all = append(all, talk{out[i].data, in[i].data, key[1], out[i].began})
		}
	}
	slices.SortFunc(all, func(a, b talk) int { return a.began - b.began })
	return all
}

// frame is a frame of msgr2.1 in crc mode.
type frame struct {
	tag  byte
	segs [4][]byte
}

const (
	bannerSize  = 26
	flagComp    = 1
	tagHello    = 1
	tagAuthDone = 6
	tagMessage  = 17
)

// frames returns the frames of one direction behind its banner, but for the
// compressed ones.
func frames(p []byte) (all []frame) {
	if len(p) < bannerSize || string(p[:8]) != "ceph v2\n" {
		return nil
	}
	for p = p[bannerSize:]; len(p) >= 32; {
		f, compressed, rest := cutFrame(p)
		if rest == nil {
			break
		}
		if !compressed {
			all = append(all, f)
		}
		p = rest
	}
	return all
}

// cutFrame takes one frame off p; rest is nil when it is not complete.
func cutFrame(p []byte) (f frame, compressed bool, rest []byte) {
	n, at := int(p[1]), 32
	f.tag = p[0]
	for i := range min(n, 4) {
		l := int(binary.LittleEndian.Uint32(p[2+6*i:]))
		if at+l > len(p) {
			return f, false, nil
		}
		f.segs[i] = p[at : at+l]
		at += l
		if i == 0 && l > 0 {
			at += 4
		}
	}
	if n > 1 {
		at += 13
	}
	if at > len(p) {
		return f, false, nil
	}
	return f, p[26]&flagComp != 0, p[at:]
}
