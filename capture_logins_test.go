//go:build interop && capture && linux

package rbdm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/denc/denctest"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// login is what was said on one connection to authenticate it, and the requests
// for more tickets that followed.
type login struct {
	Peer     string         `json:"peer"`
	Name     string         `json:"name,omitempty"` // of the client, towards a monitor
	GlobalID uint64         `json:"global_id"`
	Secure   bool           `json:"secure"`
	Sent     []denctest.Hex `json:"sent"` // payloads of AUTH_REQUEST and AUTH_REQUEST_MORE
	Received []denctest.Hex `json:"received"`
	Requests []denctest.Hex `json:"requests,omitempty"` // payloads of MAuth
	Replies  []denctest.Hex `json:"replies,omitempty"`
}

// saveLogins keeps, for msgr2/cephx, how an OSD of the first cluster, the first
// client and the one with most renewals of its tickets logged in to monitors, OSDs
// and managers, with the keys they had.
func (c *capture) saveLogins(dir string, low uint16, talks []talk) {
	keys, err := os.ReadFile(filepath.Join(dir, "keyring"))
	must(c.t, "keys", err)
	type client map[string]login // by peer
	byID := map[uint64]client{}
	var osd login
	var order []uint64
	for _, k := range talks {
		const secondCluster = 45
		l := readLogin(k)
		if k.Port >= low+secondCluster || l.GlobalID == 0 || len(l.Received) != 2 || len(l.Sent) != 2 {
			continue
		}
		if first := bytes.HasSuffix(l.Sent[0], make([]byte, 8)); l.Peer == "mon" && !first {
			continue
		}
		if l.Name == "osd.0" && osd.GlobalID == 0 {
			osd = l
		}
		if byID[l.GlobalID] == nil {
			byID[l.GlobalID] = client{}
			order = append(order, l.GlobalID)
		}
		if _, ok := byID[l.GlobalID][l.Peer]; !ok {
			byID[l.GlobalID][l.Peer] = l
		}
	}
	var early, long client
	for _, id := range order {
		l := byID[id]
		if l["mon"].Name != "client.admin" || l["osd"].GlobalID == 0 {
			continue
		}
		if early == nil { // by the rotating keys that the OSD began with
			early = l
		}
		if n := len(l["mon"].Requests); long == nil || n > len(long["mon"].Requests) && n < 12 && l["mgr"].GlobalID != 0 {
			long = l
		}
	}
	var out struct {
		Keyring string  `json:"keyring"`
		Logins  []login `json:"logins"`
	}
	out.Keyring = string(keys)
	out.Logins = append(out.Logins, osd, early["mon"], early["osd"], long["mon"], long["osd"], long["mgr"])
	c.write("msgr2/cephx", "logins.json", out)
}

func readLogin(k talk) (l login) {
	out, in := frames(k.Client), frames(k.Server)
	if len(in) == 0 || in[0].tag != tagHello || len(in[0].segs[0]) == 0 {
		return l
	}
	l.Peer = entity.Type(in[0].segs[0][0]).String()
	for _, f := range out {
		r := denc.NewReader(f.segs[0])
		switch f.tag {
		case 2:
			r.U32()
			r.Skip(4 * int(r.U32()))
			p := r.Bytes()
			l.Sent = append(l.Sent, p)
			if len(p) > 0 && p[0] == 10 {
				var name entity.AuthName
				name.Decode(denc.NewReader(p[1:]))
				l.Name = name.String()
			}
		case 5:
			l.Sent = append(l.Sent, r.Bytes())
		}
		if m := (&wire.Auth{}); f.is(wire.TypeAuth) && wire.Decode(m, f.segs[1]) == nil {
			l.Requests = append(l.Requests, m.Payload)
		}
	}
	for _, f := range in {
		r := denc.NewReader(f.segs[0])
		switch f.tag {
		case 4:
			l.Received = append(l.Received, r.Bytes())
		case tagAuthDone:
			l.GlobalID = r.U64()
			l.Secure = r.U32() == 2
			l.Received = append(l.Received, r.Bytes())
		}
		if m := (&wire.AuthReply{}); f.is(wire.TypeAuthReply) && wire.Decode(m, f.segs[1]) == nil && !strings.Contains(m.Message, "fail") {
			l.Replies = append(l.Replies, m.Payload)
		}
	}
	return l
}

func (f frame) is(typ uint16) bool {
	return f.tag == tagMessage && len(f.segs[0]) >= 41 && binary.LittleEndian.Uint16(f.segs[0][16:]) == typ
}
