package fakecluster

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
)

// Option changes what Start makes.
type Option func(*options)

type poolOption struct {
	name    string
	erasure bool
	pgs     uint32
	app     string
}

type options struct {
	name      string
	osds      int
	mons      int
	release   int
	keyType   cephx.KeyType
	pools     []poolOption
	modes     []msgr2.Mode
	clock     Clock
	host      string
	inProcess bool
	election  time.Duration
	logger    *slog.Logger
	seed      uint64
}

// Name sets the cluster's name, which only shows in file names; by default
// "ceph".
func Name(name string) Option { return func(o *options) { o.name = name } }

// OSDs sets the number of OSDs; by default 3.
func OSDs(n int) Option { return func(o *options) { o.osds = n } }

// Mons sets the number of monitors; by default 1.
func Mons(n int) Option { return func(o *options) { o.mons = n } }

// ElectionTime sets how long the monitors are without a quorum when one of them
// comes or goes, by the cluster's clock; by default not at all.
func ElectionTime(d time.Duration) Option { return func(o *options) { o.election = d } }

// Release sets which release the cluster behaves like: 16, 18 or 20, which is
// the default.
func Release(r int) Option { return func(o *options) { o.release = r } }

// KeyType sets the type of keys that the cluster makes; by default that of new
// clusters of the release.
func KeyType(t cephx.KeyType) Option { return func(o *options) { o.keyType = t } }

// Pools adds replicated pools of 8 placement groups for RBD.
func Pools(names ...string) Option {
	return func(o *options) {
		for _, n := range names {
			o.pools = append(o.pools, poolOption{name: n, pgs: 8, app: "rbd"})
		}
	}
}

// ErasurePools adds erasure coded pools that take overwrites, for RBD. There must
// be three OSDs.
func ErasurePools(names ...string) Option {
	return func(o *options) {
		for _, n := range names {
			o.pools = append(o.pools, poolOption{name: n, pgs: 8, app: "rbd", erasure: true})
		}
	}
}

// Modes sets which connection modes the daemons agree to; by default both.
func Modes(modes ...msgr2.Mode) Option { return func(o *options) { o.modes = modes } }

// WithClock sets the clock; by default the machine's.
func WithClock(c Clock) Option { return func(o *options) { o.clock = c } }

// Listen sets the address whose free ports the daemons listen on; by default
// 127.0.0.1.
func Listen(host string) Option { return func(o *options) { o.host = hostOf(host) } }

// InProcess makes the cluster reachable by pipes within the process only, see
// Cluster.Dialer.
func InProcess() Option { return func(o *options) { o.inProcess = true } }

// Seed sets what faults with a Chance or Jitter decide by, to repeat a run; by
// default it is random. New tells it when the test fails.
func Seed(n uint64) Option { return func(o *options) { o.seed = n } }

// WithLogger sets where the cluster tells what happens; by default nowhere.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func (o *options) validate() error {
	if o.keyType == 0 {
		o.keyType = cephx.KeyAES
		if o.release >= 20 {
			o.keyType = cephx.KeyAES256K
		}
	}
	switch {
	case o.release != 16 && o.release != 18 && o.release != 20:
		return fmt.Errorf("fakecluster: release %d is none of 16, 18 and 20", o.release)
	case o.release < 20 && o.keyType != cephx.KeyAES:
		return fmt.Errorf("fakecluster: release %d knows no keys of type %s", o.release, o.keyType)
	case o.osds < 1 || o.osds > 1000:
		return fmt.Errorf("fakecluster: %d OSDs are not between 1 and 1000", o.osds)
	case o.mons < 1 || o.mons > 9:
		return fmt.Errorf("fakecluster: %d monitors are not between 1 and 9", o.mons)
	}
	return nil
}

// hostOf drops a port that somebody has given with an address.
func hostOf(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}
