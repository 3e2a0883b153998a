package fakecluster

import (
	"testing"

	"github.com/rbdm/rbdm/fakecluster/cls"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// Hanging reads of TestLibRBD.TestIO of ceph-test: librbd balances reads over the
// OSDs of a group when it is told to.
func TestReplicasServeReadsThatAskForIt(t *testing.T) {
	call := func(method string) wire.Op { return callOp("rbd", method, nil) }
	read, write := wire.Op{Code: wire.OpRead}, wire.Op{Code: wire.OpWrite}
	for name, test := range map[string]struct {
		osd     int32
		flags   wire.ReqFlag
		kind    uint8
		primary int32
		ops     []wire.Op
		want    bool
	}{
		"balanced":          {1, wire.FlagBalanceReads, osdmap.PoolReplicated, 2, []wire.Op{read}, true},
		"localized":         {1, wire.FlagLocalizeReads, osdmap.PoolReplicated, 2, []wire.Op{read, read}, true},
		"method":            {1, wire.FlagBalanceReads, osdmap.PoolReplicated, 2, []wire.Op{call("get_size")}, true},
		"without a flag":    {1, 0, osdmap.PoolReplicated, 2, []wire.Op{read}, false},
		"another OSD":       {0, wire.FlagBalanceReads, osdmap.PoolReplicated, 2, []wire.Op{read}, false},
		"inactive":          {1, wire.FlagBalanceReads, osdmap.PoolReplicated, -1, []wire.Op{read}, false},
		"erasure":           {1, wire.FlagBalanceReads, osdmap.PoolErasure, 2, []wire.Op{read}, false},
		"write":             {1, wire.FlagBalanceReads, osdmap.PoolReplicated, 2, []wire.Op{read, write}, false},
		"method of a write": {1, wire.FlagBalanceReads, osdmap.PoolReplicated, 2, []wire.Op{call("set_size")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &osdSession{osd: &osd{id: test.osd, daemon: daemon{c: &Cluster{classes: classes{cls.Standard(20)}}}}}
			p := &poolView{pool: &osdmap.Pool{Type: test.kind}, primary: []int32{test.primary}, acting: [][]int32{{2, 1, 4}}}
			if got := s.servesAsReplica(p, 0, &wire.OSDOp{Flags: test.flags, Ops: test.ops}); got != test.want {
				t.Error(got)
			}
		})
	}
}
