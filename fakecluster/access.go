package fakecluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// makeKeys makes the keys of a new cluster.
func (c *Cluster) makeKeys() {
	all := map[string]string{"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"}
	ring := cephx.Keyring{
		{Type: entity.TypeClient, ID: "admin"}: {Key: cephx.NewKey(c.opt.keyType), Caps: all},
		{Type: entity.TypeMgr, ID: "x"}: {Key: cephx.NewKey(c.opt.keyType), Caps: map[string]string{
			"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *",
		}},
	}
	for _, what := range []string{"mds", "mgr", "osd", "rbd", "rbd-mirror", "rgw"} { // with which daemons are set up
		ring[entity.AuthName{Type: entity.TypeClient, ID: "bootstrap-" + what}] = cephx.Entry{
			Key: cephx.NewKey(c.opt.keyType), Caps: map[string]string{"mon": "allow profile bootstrap-" + what},
		}
	}
	for i := range c.opt.osds {
		ring[entity.AuthName{Type: entity.TypeOSD, ID: fmt.Sprint(i)}] = cephx.Entry{
			Key: cephx.NewKey(c.opt.keyType), Caps: map[string]string{"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
		}
	}
	service := cephx.KeyAES
	if c.opt.release >= 20 {
		service = c.opt.keyType
	}
	allowed := []cephx.KeyType{cephx.KeyAES}
	if c.opt.release >= 20 {
		allowed = append(allowed, cephx.KeyAES256K)
	}
	c.keys = cephx.NewKeyServer(ring, cephx.WithServerClock(c.clock.Now), cephx.WithCiphers(service, allowed...),
		cephx.WithServerModes(c.opt.modes...))
}

// FSID returns the cluster's id.
func (c *Cluster) FSID() denc.UUID { return c.fsid }

// Name returns the cluster's name.
func (c *Cluster) Name() string { return c.opt.name }

// OSDCount returns the number of OSDs, whether they run or not.
func (c *Cluster) OSDCount() int { return len(c.osds) }

// MonCount returns the number of monitors, whether they run or not.
func (c *Cluster) MonCount() int { return len(c.mons) }

// MonHost returns the monitors' addresses in the form of ceph.conf's mon_host.
func (c *Cluster) MonHost() string {
	var hosts []string
	for _, m := range c.mons {
		hosts = append(hosts, "[v2:"+m.address().IP.String()+"/0]")
	}
	return strings.Join(hosts, ",")
}

// Config returns the text of a ceph.conf for clients and of client.admin's
// keyring. The conf names no keyring file.
func (c *Cluster) Config() (conf, keyring string) {
	conf = "[global]\n\tfsid = " + c.fsid.String() + "\n\tmon_host = " + c.MonHost() + "\n"
	admin := entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	return conf, cephx.Keyring{admin: c.keys.Keyring()[admin]}.String()
}

// Key returns the key of a user ("client.admin") in base64.
func (c *Cluster) Key(user string) (string, error) {
	n, err := entity.ParseAuthName(user)
	if err != nil {
		return "", err
	}
	e, err := c.keys.Keyring().Lookup(n)
	if err != nil {
		return "", err
	}
	return e.Key.Base64(), nil
}

// AddUser makes a user with the given capabilities by service, or gives an old
// one new capabilities, and returns its key in base64.
func (c *Cluster) AddUser(user string, caps map[string]string) (string, error) {
	n, err := entity.ParseAuthName(user)
	if err != nil {
		return "", err
	}
	e, err := c.keys.Keyring().Lookup(n)
	if err != nil {
		e.Key = cephx.NewKey(c.opt.keyType)
	}
	e.Caps = caps
	c.keys.Set(n, e)
	return e.Key.Base64(), nil
}

// ConfFile writes NAME.conf and NAME.client.admin.keyring into dir and returns
// the path of the first.
func (c *Cluster) ConfFile(dir string) (string, error) {
	conf, keyring := c.Config()
	ring := filepath.Join(dir, c.opt.name+".client.admin.keyring")
	conf += "\tkeyring = " + filepath.Join(dir, c.opt.name+".$name.keyring") + "\n"
	if err := os.WriteFile(ring, []byte(keyring), 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(dir, c.opt.name+".conf")
	return path, os.WriteFile(path, []byte(conf), 0o644)
}

// Clients returns the addresses of the clients that are connected to any daemon, as
// Blocklist wants them: all of a user ("client.admin"), one of them ("client.4123"),
// or with "" all.
func (c *Cluster) Clients(who string) []entity.Addr {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	var out []entity.Addr
	for conn, l := range c.faults.wires {
		name := conn.PeerName()
		if name.Type != entity.TypeClient || who != "" && who != *l.user.Load() && who != name.String() {
			continue
		}
		if a := clientAddr(conn).WithType(entity.AddrAny); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b entity.Addr) int { return strings.Compare(a.String(), b.String()) })
	return out
}
