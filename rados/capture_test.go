//go:build interop && capture && linux

package rados_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// sniffer reads what goes over the loopback interface from and to a port. Lost
// packets end a stream; the capture is repeated then.
type sniffer struct {
	port uint16
	fd   int

	mu      sync.Mutex
	streams map[string]*stream
}

// stream is one direction of one connection.
type stream struct {
	next    uint32
	data    []byte
	pending map[uint32][]byte
}

func newSniffer(t *testing.T, port uint16) *sniffer {
	const ethIP = 0x0800
	proto := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, ethIP))
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(proto))
	check(t, "raw socket (needs root)", err)
	lo, err := net.InterfaceByName("lo")
	check(t, "loopback interface", err)
	check(t, "bind", syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: proto, Ifindex: lo.Index}))
	check(t, "buffer", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 256<<20))
	check(t, "timeout", syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100000}))
	s := &sniffer{port: port, fd: fd, streams: map[string]*stream{}}
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

func (s *sniffer) run(ctx context.Context) {
	buf := make([]byte, 1<<17)
	for ctx.Err() == nil {
		n, from, err := syscall.Recvfrom(s.fd, buf, 0)
		if ll, ok := from.(*syscall.SockaddrLinklayer); err == nil && ok && ll.Pkttype != syscall.PACKET_OUTGOING {
			s.packet(buf[:n])
		}
	}
}

func (s *sniffer) packet(p []byte) {
	const ether = 14
	if len(p) < ether+40 || p[ether]>>4 != 4 || p[ether+9] != syscall.IPPROTO_TCP {
		return
	}
	ip := p[ether : ether+int(binary.BigEndian.Uint16(p[ether+2:]))]
	tcp := ip[int(ip[0]&15)*4:]
	src, dst := binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:])
	if src != s.port && dst != s.port {
		return
	}
	seq, body := binary.BigEndian.Uint32(tcp[4:]), tcp[int(tcp[12]>>4)*4:]
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprint(src, dst)
	if syn := tcp[13]&2 != 0; syn {
		s.streams[key] = &stream{next: seq + 1, pending: map[uint32][]byte{}}
		return
	}
	st := s.streams[key]
	if st == nil || len(body) == 0 {
		return
	}
	st.pending[seq] = slices.Clone(body)
	for b, ok := st.pending[st.next]; ok; b, ok = st.pending[st.next] {
		delete(st.pending, st.next)
		st.data = append(st.data, b...)
		st.next += uint32(len(b))
	}
}

// captured is a message as it went over the wire in crc mode.
type captured struct {
	typ, version uint16
	front, data  []byte
}

// messages returns the messages of all streams.
func (s *sniffer) messages() []captured {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []captured
	for _, st := range s.streams {
		p := st.data
		if len(p) < 26 || string(p[:8]) != "ceph v2\n" {
			continue
		}
		p = p[26:]
		for len(p) >= 32 {
			tag, segs, rest := cutFrame(p)
			if rest == nil {
				break
			}
			p = rest
			if h := segs[0]; tag == 17 && len(h) >= 41 {
				all = append(all, captured{binary.LittleEndian.Uint16(h[16:]), binary.LittleEndian.Uint16(h[20:]), segs[1], segs[3]})
			}
		}
	}
	return all
}

// cutFrame takes one frame of msgr2.1 in crc mode off p; rest is nil when it is
// not complete.
func cutFrame(p []byte) (tag byte, segs [4][]byte, rest []byte) {
	tag, n := p[0], int(p[1])
	at := 32
	for i := range min(n, 4) {
		l := int(binary.LittleEndian.Uint32(p[2+6*i:]))
		if at+l > len(p) {
			return 0, segs, nil
		}
		segs[i] = p[at : at+l]
		at += l
		if i == 0 && l > 0 {
			at += 4
		}
	}
	if n > 1 {
		at += 13
	}
	if at > len(p) {
		return 0, segs, nil
	}
	return tag, segs, p[at:]
}

// captureScript is what real clients do while they are listened to.
const captureScript = `
exec 2>&1
R="rados --ms_client_mode=crc -p $POOL"; B="rbd --ms_client_mode=crc -p $POOL"
F=$(mktemp); echo hello > $F
$R put o $F; $R get o /dev/null; $R stat o; $R append o $F; $R truncate o 3
$R setxattr o name value; $R getxattr o name; $R listxattr o; $R rmxattr o name
$R setomapval o key value; $R listomapvals o; $R listomapkeys o; $R getomapval o key; $R setomapheader o head; $R getomapheader o; $R rmomapkey o key; $R clearomap o
$R create new; $R cp o copy; $R listwatchers o; $R ls; $R -N ns put n $F; $R --all ls; $R lssnap; $R listsnaps o
(timeout 4 $R watch o & sleep 2; $R notify o message; wait)
$R bench 1 write -b 4096 -t 2 --no-cleanup; $R bench 1 seq -t 2; $R cleanup
$B create --size 16M img; $B bench --io-type write --io-size 8192 --io-total 65536 img; $B snap create img@one
$B bench --io-type write --io-size 4096 --io-total 32768 img; $B info img; $B ls -l; $B export img - > /dev/null; $B du img; $B diff img
$B snap protect img@one; $B clone img@one child; $B bench --io-type write --io-size 4096 --io-total 8192 child; $B status child
$B snap rollback img@one; $B resize --size 8M --allow-shrink img; $B rm child; $B snap unprotect img@one; $B snap purge img; $B rm img
$R rmsnap x; $R rm o; rm -f $F
`

// TestInteropCaptureOSD listens to real clients and their OSD and writes what
// they say, to renew the golden bytes of rados/wire: RBDM_CAPTURE is
// …/rados/wire/testdata, RBDM_SHELL a command that runs a script with the tools
// of the cluster of RBDM_CONF. Without RBDM_CAPTURE it only compares.
func TestInteropCaptureOSD(t *testing.T) {
	shell := strings.Fields(os.Getenv("RBDM_SHELL"))
	if len(shell) == 0 {
		t.Fatal("set RBDM_SHELL to a command that runs the cluster's own tools, as in chroot DIR env CEPH_CONF=FILE")
	}
	c := connect(t, confs(t)[0])
	ctx := testContext(t)
	io := newPool(t, c)
	name, err := c.PoolName(ctx, io.Pool())
	check(t, "pool name", err)
	addrs, _ := c.OSDMap().OSDAddrs(0)
	addr, _ := addrs.Msgr2()
	out, _, err := c.MonCommand(ctx, map[string]any{"prefix": "version"}, nil)
	check(t, "version", err)
	release := strings.Join(strings.Split(strings.Fields(string(out))[2], ".")[:2], ".")
	s := newSniffer(t, addr.IP.Port())
	log, err := exec.CommandContext(ctx, shell[0], append(shell[1:], "bash", "-c", "POOL="+name+captureScript)...).CombinedOutput()
	t.Logf("%v\n%s", err, log)
	time.Sleep(300 * time.Millisecond)
	saveCaptured(t, release, s.messages())
}

// saveCaptured checks that every message is read and written as it was, and
// keeps one of each kind.
func saveCaptured(t *testing.T, release string, all []captured) {
	seen := map[string]bool{}
	var pack []byte
	for _, m := range all {
		f, ops := wire.Front(nil), func() []wire.Op { return nil }
		split := func(msgr2.Data) error { return nil }
		switch m.typ {
		case wire.TypeOSDOp:
			op := &wire.OSDOp{Version: m.version}
			f, ops, split = op, func() []wire.Op { return op.Ops }, op.SplitPayload
		case wire.TypeOSDOpReply:
			rep := &wire.OSDOpReply{}
			f, ops, split = rep, func() []wire.Op { return rep.Ops }, rep.SplitPayload
		case wire.TypeWatchNotify:
			f = &wire.WatchNotify{}
		case wire.TypeOSDBackoff:
			f = &wire.OSDBackoff{}
		case wire.TypeOSDMap:
			f = &wire.OSDMapMessage{}
		default:
			continue
		}
		name := strings.TrimPrefix(fmt.Sprintf("%T v%d", f, m.version), "*wire.")
		r := denc.NewReader(m.front)
		f.Decode(r)
		if err := r.Done(); err != nil {
			t.Errorf("%s: %v\n% x", name, err, m.front)
			continue
		}
		if err := split(msgr2.NewData(m.data)); err != nil {
			t.Errorf("%s: %v\n% x", name, err, m.front)
		}
		if again := f.Append(nil); !bytes.Equal(again, m.front) {
			t.Errorf("%s:\n% x\n% x", name, m.front, again)
		}
		if rep, ok := f.(*wire.OSDOpReply); ok {
			name += fmt.Sprintf(" %d", min(rep.Result, 0))
		}
		for _, o := range ops() {
			name += " " + o.Code.String()
			if o.Code == wire.OpWatch {
				name += fmt.Sprint(o.Watch().Op)
			}
		}
		if n, ok := f.(*wire.WatchNotify); ok {
			name += fmt.Sprintf(" %d", n.Event)
		}
		if !seen[name] && len(m.front)+len(m.data) < 6000 {
			seen[name] = true
			pack = denc.AppendU16(denc.AppendString(pack, name), m.typ)
			pack = denc.AppendBytes(denc.AppendBytes(denc.AppendU16(pack, m.version), m.front), m.data)
		}
	}
	t.Logf("%d messages of %d kinds", len(all), len(seen))
	if dir := os.Getenv("RBDM_CAPTURE"); dir != "" {
		check(t, "save", os.WriteFile(filepath.Join(dir, release, "osd-messages.bin"), pack, 0o644))
	}
}
