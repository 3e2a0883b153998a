//go:build interop && capture && linux

package rbdm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/denc/denctest"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestCaptureGolden runs the command RBDM_GOLDEN_TRAFFIC, which gets a folder as
// its last argument, listens on the loopback interface to ports RBDM_GOLDEN_PORTS
// (as in 8700-8790), and writes what Ceph's own programs said as golden bytes of
// RBDM_RELEASE to the testdata of the packages that have the codecs.
func TestCaptureGolden(t *testing.T) {
	traffic, release := strings.Fields(os.Getenv("RBDM_GOLDEN_TRAFFIC")), os.Getenv("RBDM_RELEASE")
	var low, high uint16
	if _, err := fmt.Sscanf(os.Getenv("RBDM_GOLDEN_PORTS"), "%d-%d", &low, &high); err != nil || len(traffic) == 0 || release == "" {
		t.Fatal("set RBDM_GOLDEN_TRAFFIC, RBDM_GOLDEN_PORTS and RBDM_RELEASE; scripts/golden does")
	}
	dir := os.Getenv("RBDM_GOLDEN_DIR") // keeps what was heard, to look at it again
	if dir == "" {
		dir = t.TempDir()
	}
	heard := filepath.Join(dir, "talks.json")
	var talks []talk
	if p, err := os.ReadFile(heard); err == nil {
		must(t, heard, json.Unmarshal(p, &talks))
	} else {
		s := newSniffer(t, low, high)
		log, err := exec.Command(traffic[0], append(traffic[1:], dir)...).CombinedOutput()
		t.Logf("%v\n%s", err, log)
		time.Sleep(300 * time.Millisecond)
		talks = s.talks()
		p, err := json.Marshal(talks)
		must(t, "what was heard", err)
		must(t, "keep what was heard", os.WriteFile(heard, p, 0o600))
	}
	c := &capture{t: t, release: release, values: map[string]map[string][]sample{}, calls: map[string]map[string][]call{}}
	for _, k := range talks {
		c.talk(k)
	}
	c.save()
	c.saveStandby()
	c.saveLogins(dir, low, talks)
	t.Logf("%d connections", len(talks))
}

// sample is a candidate for the golden bytes of its kind.
type sample = denctest.Value

// call is a call of an object class.
type call struct {
	Object string       `json:"object"`
	Method string       `json:"method"`
	In     denctest.Hex `json:"in"`
	Out    denctest.Hex `json:"out,omitempty"`
	Result int32        `json:"result"`
}

// capture sorts what was said by package and kind.
type capture struct {
	t       *testing.T
	release string
	values  map[string]map[string][]sample // by package folder, then by kind
	calls   map[string]map[string][]call
	standby []byte
}

// mostBytes bounds what is kept; only data and the largest maps are longer.
const mostBytes = 6000

// add keeps p as a candidate. Values of one type that differ in kind are kept
// apart.
func (c *capture) add(pkg, typ, kind, from string, p []byte) {
	if len(p) > mostBytes {
		return
	}
	if c.values[pkg] == nil {
		c.values[pkg] = map[string][]sample{}
	}
	k := typ + " " + kind
	c.values[pkg][k] = append(c.values[pkg][k], sample{Type: typ, From: strings.TrimSpace(from + " " + kind), Bytes: p})
}

// few returns the shortest of a kind and the longest that is not too long.
func few[T any](all []T, size func(T) int) []T {
	slices.SortStableFunc(all, func(a, b T) int { return size(a) - size(b) })
	best := all[:1]
	for _, s := range all {
		if n := size(s); n > size(best[0]) && n < 700 {
			best = append(best[:1:1], s)
		}
	}
	return best
}

func (c *capture) save() {
	for pkg, kinds := range c.values {
		var out []sample
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			out = append(out, few(kinds[k], func(s sample) int { return len(s.Bytes) })...)
		}
		c.write(pkg, "values.json", out)
	}
	for pkg, kinds := range c.calls {
		var out []call
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			out = append(out, few(kinds[k], func(s call) int { return len(s.In) + len(s.Out) })...)
		}
		c.write(pkg, "calls.json", out)
	}
}

// saveStandby stores the map of managers that has standbys.
func (c *capture) saveStandby() {
	if len(c.standby) == 0 {
		c.t.Error("no map of managers with standbys")
		return
	}
	must(c.t, "map of managers", os.WriteFile(filepath.Join("rados/wire/testdata", c.release, "mgrmap-standby.bin"), c.standby, 0o644))
}

// write stores a list with one element a line.
func (c *capture) write(pkg, name string, v any) {
	p, err := json.Marshal(v)
	must(c.t, name, err)
	p = append([]byte(strings.ReplaceAll(string(p), "},{", "},\n{")), '\n')
	dir := filepath.Join(pkg, "testdata", c.release)
	must(c.t, name, os.MkdirAll(dir, 0o755))
	must(c.t, name, os.WriteFile(filepath.Join(dir, name), p, 0o644))
	c.t.Logf("%s/%s: %d bytes", dir, name, len(p))
}

// frameTypes names the payloads of package msgr2 by their tags.
var frameTypes = map[byte]string{
	1: "helloPayload", 2: "authRequest", 3: "authBadMethod", 4: "authMore", 5: "authMore", 6: "authDone", 7: "authSignature",
	8: "clientIdent", 9: "serverIdent", 10: "word", 11: "sessionReconnect", 12: "sessionReset", 13: "word", 14: "word", 15: "word",
	18: "keepalive", 19: "keepalive", 20: "word", 21: "compressionRequest", 22: "compressionDone",
}

// side is one direction of a connection.
type side struct {
	from   string
	frames []frame
}

func (c *capture) talk(k talk) {
	a, b := side{frames: frames(k.Client)}, side{frames: frames(k.Server)}
	if len(a.frames) == 0 || len(b.frames) == 0 {
		return
	}
	kind := func(s side) string {
		if f := s.frames[0]; f.tag == tagHello && len(f.segs[0]) > 0 {
			return entity.Type(f.segs[0][0]).String()
		}
		return "?"
	}
	a.from, b.from = kind(a)+" to "+kind(b), kind(b)+" to "+kind(a)
	c.add("msgr2", "bannerPayload", "", a.from, k.Client[10:bannerSize])
	c.add("msgr2", "bannerPayload", "", b.from, k.Server[10:bannerSize])
	pending := map[uint64]*wire.OSDOp{}
	for i, s := range []side{a, b} {
		for _, f := range s.frames {
			if typ := frameTypes[f.tag]; typ != "" {
				c.add("msgr2", typ, fmt.Sprintf("tag %d", f.tag), s.from, f.segs[0])
			}
			c.frame(s.from, f)
			if f.tag == tagMessage && len(f.segs[0]) >= 41 {
				c.message(s.from, f, pending, i == 0)
			}
		}
	}
}

// frame takes addresses and names out of the handshake.
func (c *capture) frame(from string, f frame) {
	r := denc.NewReader(f.segs[0])
	cut := func(typ, what string, v denctest.Codec) {
		at := r.Offset()
		if v.Decode(r); r.Err() != nil {
			c.t.Errorf("%s of tag %d: %v: %x", what, f.tag, r.Err(), f.segs[0])
			return
		}
		c.add("msgr2/entity", typ, what, from, f.segs[0][at:r.Offset()])
	}
	switch f.tag {
	case tagHello:
		r.U8()
		cut("Addr", "HELLO", &entity.Addr{})
	case 8:
		cut("AddrVec", "CLIENT_IDENT", &entity.AddrVec{})
		cut("Addr", "CLIENT_IDENT target", &entity.Addr{})
	case 9:
		cut("AddrVec", "SERVER_IDENT", &entity.AddrVec{})
	case 2:
		const modeMon = 10
		r.U32()
		r.Skip(4 * int(r.U32()))
		r.U32()
		if r.U8() == modeMon {
			cut("AuthName", "AUTH_REQUEST", &entity.AuthName{})
		}
	}
}

// messageTypes names the fronts of rados/wire by their numbers.
var messageTypes = map[uint16]string{
	4: "MonMapMessage", 5: "MonGetMap", 13: "Statfs", 14: "StatfsReply", 15: "MonSubscribe", 16: "MonSubscribeAck", 17: "Auth", 18: "AuthReply",
	19: "MonGetVersion", 20: "MonGetVersionReply", 41: "OSDMapMessage", 44: "WatchNotify", 48: "PoolOpReply", 49: "PoolOp", 50: "MonCommand",
	51: "MonCommandAck", 52: "Log", 53: "LogAck", 54: "KVData", 58: "GetPoolStats", 59: "GetPoolStatsReply", 61: "OSDBackoff", 62: "Config", 63: "GetConfig",
	97: "Command", 98: "CommandReply", 0x700: "MgrOpen", 0x701: "MgrConfigure", 0x702: "MgrReport", 0x704: "MgrMapMessage", 0x707: "ServiceMapMessage", 0x708: "MgrClose",
	0x709: "MgrCommand", 0x70a: "MgrCommandReply",
}

// daemonsOnly are messages that count only when a client is at one end: among
// daemons they have more in them than this module reads.
var daemonsOnly = map[uint16]bool{0x700: true, 15: true, 54: true, 17: true, 18: true}

func (c *capture) message(from string, f frame, pending map[uint64]*wire.OSDOp, toServer bool) {
	typ, version, tid := binary.LittleEndian.Uint16(f.segs[0][16:]), binary.LittleEndian.Uint16(f.segs[0][20:]), binary.LittleEndian.Uint64(f.segs[0][8:])
	front, data := f.segs[1], f.segs[3]
	client := strings.Contains(from, "client")
	if name := messageTypes[typ]; name != "" && (client || !daemonsOnly[typ]) {
		c.add("rados/wire", name, fmt.Sprintf("v%d%s", version, c.rare(typ, front)), from, front)
		switch typ {
		case 4:
			c.add("rados/wire", "MonMap", "MMonMap", from, denc.NewReader(front).Bytes())
		case 41:
			c.maps(from, front)
		case 44:
			if len(data) > 0 {
				c.add("rados/wire", "NotifyReply", "MWatchNotify", from, data)
			}
		case 61:
			c.backoff(from, front)
		}
	}
	switch {
	case typ == wire.TypeOSDOp && client && toServer:
		m := &wire.OSDOp{Version: version}
		if c.decode(m, front, m.SplitPayload, data) {
			c.osdOp(from, version, front, m)
			pending[tid] = m
		}
	case typ == wire.TypeOSDOpReply && client && !toServer:
		m := &wire.OSDOpReply{}
		if op := pending[tid]; c.decode(m, front, m.SplitPayload, data) && op != nil {
			c.osdReply(from, op, m)
		}
		c.add("rados/wire", "OSDOpReply", fmt.Sprintf("v%d", version), from, withData(version, front, data))
	}
}

// rare returns what sets a message apart that has parts which others of its type
// lack. A map of managers with standbys is long and goes to a file of its own.
func (c *capture) rare(typ uint16, front []byte) string {
	switch typ {
	case wire.TypeMgrReport:
		if m := (&wire.MgrReport{}); wire.Decode(m, front) == nil && len(m.Health) > 0 {
			return " with health"
		}
	case wire.TypeMgrMap:
		if m := (&wire.MgrMap{}); len(front) > mostBytes && len(c.standby) == 0 {
			if m.Decode(denc.NewReader(front)); len(m.Standbys) > 0 {
				c.standby = front
			}
		}
	}
	return ""
}

// withData is the form in which messages with a payload are kept: version, front,
// data.
func withData(version uint16, front, data []byte) []byte {
	return denc.AppendBytes(denc.AppendBytes(denc.AppendU16(nil, version), front), data)
}

// maps takes the OSD maps out of a message, apart by what is rare in them.
func (c *capture) maps(from string, front []byte) {
	var m wire.OSDMapMessage
	if err := wire.Decode(&m, front); err != nil {
		c.t.Errorf("MOSDMap: %v", err)
		return
	}
	rare := func(pools map[int64]*osdmap.Pool) (kind string) {
		for _, p := range pools {
			if len(p.Snaps) > 0 {
				kind = "with pool snapshots"
			}
			if p.LastMerge != (osdmap.MergeMeta{}) {
				return "after a merge"
			}
		}
		return kind
	}
	for _, p := range m.Full {
		if full, err := osdmap.Decode(p); err == nil {
			c.add("rados/osdmap", "Map", rare(full.Pools), from, p)
		} else {
			c.t.Errorf("full map: %v", err)
		}
	}
	for _, p := range m.Incrementals {
		if inc, err := osdmap.DecodeIncremental(p); err == nil {
			c.add("rados/osdmap", "Incremental", rare(inc.NewPools), from, p)
		} else {
			c.t.Errorf("incremental map: %v", err)
		}
	}
}

func (c *capture) decode(m wire.Front, front []byte, split func(msgr2.Data) error, data []byte) bool {
	if err := wire.Decode(m, front); err != nil {
		c.t.Errorf("%T: %v: %x", m, err, front)
		return false
	}
	return split(msgr2.NewData(data)) == nil
}

func (c *capture) backoff(from string, front []byte) {
	r := denc.NewReader(front)
	var pg osdmap.SPG
	pg.Decode(r)
	r.U32()
	r.U8()
	r.U64()
	c.cut(r, front, "HObject", "MOSDBackoff", from, &osdmap.HObject{})
}

// cut takes a value of rados/osdmap out of p.
func (c *capture) cut(r *denc.Reader, p []byte, typ, kind, from string, v denctest.Codec) {
	at := r.Offset()
	if v.Decode(r); r.Err() == nil {
		c.add("rados/osdmap", typ, kind, from, p[at:r.Offset()])
	}
}

const opVersionOtel = 9

func (c *capture) osdOp(from string, version uint16, front []byte, m *wire.OSDOp) {
	r := denc.NewReader(front)
	c.cut(r, front, "SPG", "MOSDOp", from, &osdmap.SPG{})
	c.add("rados/osdmap", "PG", "MOSDOp", from, front[6:6+17])
	r.Skip(12)
	const reqid = 6 + 9 + 8 + 4
	c.add("rados/wire", "ReqID", "MOSDOp", from, front[r.Offset():r.Offset()+reqid])
	c.add("msgr2/entity", "Name", "MOSDOp", from, front[r.Offset()+6:r.Offset()+15])
	r.Skip(reqid + 24)
	if version >= opVersionOtel {
		r.Skip(7)
	}
	r.Skip(12)
	c.cut(r, front, "ObjectLocator", "MOSDOp", from, &osdmap.ObjectLocator{})
	name := ""
	for i := range m.Ops {
		o := &m.Ops[i]
		name += " " + o.Code.String()
		p := o.Data.Bytes()
		if typ := map[wire.OpCode]string{
			wire.OpOmapGetVals: "OmapGetValsInput", wire.OpOmapGetKeys: "OmapGetKeysInput", wire.OpNotify: "NotifyInput", wire.OpNotifyAck: "NotifyAckInput",
			wire.OpCopyFrom: "CopyFromInput", wire.OpCopyFrom2: "CopyFromInput", wire.OpOmapRmKeyRange: "OmapRmKeyRangeInput", wire.OpPgnls: "HObject",
		}[o.Code]; typ == "HObject" {
			c.add("rados/osdmap", typ, o.Code.String(), from, p)
		} else if typ != "" {
			c.add("rados/wire", typ, o.Code.String(), from, p)
		}
		switch o.Code {
		case wire.OpNotify:
			var in wire.NotifyInput
			if in.Decode(denc.NewReader(p)); len(in.Payload) > 0 {
				c.notify(m.Object, from, in.Payload)
			}
		case wire.OpNotifyAck:
			var in wire.NotifyAckInput
			if in.Decode(denc.NewReader(p)); len(in.Reply) > 0 {
				c.ack(m.Object, from, in.Reply)
			}
		}
	}
	c.add("rados/wire", "OSDOp", fmt.Sprintf("v%d", version)+name, from, withData(version, front, m.Payload().Bytes()))
}

// notify keeps a message among the openers of an object.
func (c *capture) notify(object, from string, p []byte) {
	r := denc.NewReader(p)
	s := r.Enter("message", 99)
	kind := fmt.Sprintf("op %d", r.U32())
	if r.Err() != nil || s.V == 0 {
		return
	}
	for prefix, typ := range map[string]string{"rbd_header.": "NotifyMessage", "rbd_mirroring": "MirroringMessage", "rbd_mirror_leader": "LeaderMessage", "rbd_mirror_instance.": "InstanceMessage"} {
		if strings.HasPrefix(object, prefix) {
			c.add("rbd/wire", typ, kind, from, p)
		}
	}
}

func (c *capture) ack(object, from string, p []byte) {
	switch {
	case strings.HasPrefix(object, "rbd_header."):
		c.add("rbd/wire", "NotifyResponse", "", from, p)
	case strings.HasPrefix(object, "rbd_mirror_instance."):
		c.add("rbd/wire", "InstanceAck", "", from, p)
	}
}

func (c *capture) osdReply(from string, m *wire.OSDOp, rep *wire.OSDOpReply) {
	for i := range min(len(m.Ops), len(rep.Ops)) {
		o, p := &m.Ops[i], rep.Ops[i].Data.Bytes()
		if typ := map[wire.OpCode]string{
			wire.OpOmapGetVals: "OmapGetValsOutput", wire.OpOmapGetKeys: "OmapGetKeysOutput", wire.OpStat: "StatOutput", wire.OpListSnaps: "SnapList",
			wire.OpListWatchers: "WatcherList", wire.OpPgnls: "PgnlsReply", wire.OpSparseRead: "SparseReadOutput",
		}[o.Code]; typ != "" && len(p) > 0 {
			c.add("rados/wire", typ, o.Code.String(), from, p)
		}
		class, method, in, ok := o.CallParts()
		pkg := map[string]string{"rbd": "rbd/wire", "lock": "rados/cls/lock", "journal": "journal/wire"}[class]
		if !ok || o.Code != wire.OpCall || pkg == "" {
			continue
		}
		if c.calls[pkg] == nil {
			c.calls[pkg] = map[string][]call{}
		}
		k := method + " " + strconv.FormatBool(rep.Result >= 0)
		c.calls[pkg][k] = append(c.calls[pkg][k], call{Object: m.Object, Method: method, In: in, Out: p, Result: min(rep.Result, 0)})
	}
}
