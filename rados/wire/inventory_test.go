package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// withPayload reads and writes a message with operations as the golden bytes have
// it: the version of its header, front, data.
func withPayload(f Front, version *uint16, split func(msgr2.Data) error) denctest.Codec {
	var data []byte
	return denctest.Wrap(f, func(b []byte) []byte {
		front := f.Append(nil)
		return denc.AppendBytes(denc.AppendBytes(denc.AppendU16(b, *version), front), data)
	}, func(r *denc.Reader) {
		*version = r.U16()
		front := denc.NewReader(r.Bytes())
		data = r.Bytes()
		if r.Err() != nil {
			return
		}
		f.Decode(front)
		if err := front.Done(); err != nil {
			r.Fail(err)
		} else if err := split(msgr2.NewData(data)); err != nil {
			r.Fail(err)
		}
	})
}

// types are all codecs of this package.
func types() denctest.Types {
	all := denctest.Types{
		"OSDOp": func() denctest.Codec {
			m := &OSDOp{}
			return withPayload(m, &m.Version, m.SplitPayload)
		},
		"OSDOpReply": func() denctest.Codec {
			m, version := &OSDOpReply{}, uint16(0)
			return withPayload(m, &version, m.SplitPayload)
		},
		"SparseReadOutput": func() denctest.Codec {
			o := &SparseReadOutput{}
			return denctest.Wrap(o, func(b []byte) []byte { return append(b, o.Encode().Bytes()...) }, func(r *denc.Reader) {
				if err := o.Split(msgr2.NewData(r.Rest())); err != nil {
					r.Fail(err)
				}
			})
		},
		"ReqID": func() denctest.Codec { v := &ReqID{}; return denctest.Wrap(v, v.append, v.decode) },
		"EVersion": func() denctest.Codec {
			v := &EVersion{}
			return denctest.Wrap(v, func(b []byte) []byte { return v.append(b) }, v.decode)
		},
		"Redirect":  func() denctest.Codec { v := &Redirect{}; return denctest.Wrap(v, v.append, v.decode) },
		"SnapClone": func() denctest.Codec { v := &SnapClone{}; return denctest.Wrap(v, v.append, v.decode) },
		"Watcher":   func() denctest.Codec { v := &Watcher{}; return denctest.Wrap(v, v.append, v.decode) },
	}
	for name, make := range map[string]func() denctest.Codec{
		"Auth": of[Auth], "AuthReply": of[AuthReply], "Command": of[Command], "CommandReply": of[CommandReply], "Config": of[Config],
		"CopyFromInput": of[CopyFromInput], "DaemonHealthMetric": of[DaemonHealthMetric], "GetConfig": of[GetConfig], "GetPoolStats": of[GetPoolStats],
		"GetPoolStatsReply": of[GetPoolStatsReply], "KVData": of[KVData], "Log": of[Log], "LogAck": of[LogAck], "LogEntry": of[LogEntry],
		"MgrClose": of[MgrClose], "MgrCommand": of[MgrCommand], "MgrCommandReply": of[MgrCommandReply], "MgrConfigure": of[MgrConfigure],
		"MgrMap": of[MgrMap], "MgrMapMessage": of[MgrMapMessage], "MgrModule": of[MgrModule], "MgrModuleOption": of[MgrModuleOption],
		"MgrOpen": of[MgrOpen], "MgrReport": of[MgrReport], "MgrStandby": of[MgrStandby], "MonCommand": of[MonCommand], "MonCommandAck": of[MonCommandAck],
		"MonGetMap": of[MonGetMap], "MonGetVersion": of[MonGetVersion], "MonGetVersionReply": of[MonGetVersionReply], "MonInfo": of[MonInfo],
		"MonMap": of[MonMap], "MonMapMessage": of[MonMapMessage], "MonSubscribe": of[MonSubscribe], "MonSubscribeAck": of[MonSubscribeAck],
		"NotifyAckInput": of[NotifyAckInput], "NotifyInput": of[NotifyInput], "NotifyReply": of[NotifyReply], "OSDBackoff": of[OSDBackoff],
		"OSDMapMessage": of[OSDMapMessage], "OmapGetKeysInput": of[OmapGetKeysInput], "OmapGetKeysOutput": of[OmapGetKeysOutput],
		"OmapGetValsInput": of[OmapGetValsInput], "OmapGetValsOutput": of[OmapGetValsOutput], "OmapRmKeyRangeInput": of[OmapRmKeyRangeInput],
		"Op": of[Op], "Paxos": of[Paxos], "PerfCounterType": of[PerfCounterType], "PgnlsReply": of[PgnlsReply], "PoolOp": of[PoolOp],
		"PoolOpReply": of[PoolOpReply], "PoolStat": of[PoolStat], "Service": of[Service], "ServiceDaemon": of[ServiceDaemon], "ServiceMap": of[ServiceMap],
		"ServiceMapMessage": of[ServiceMapMessage], "SnapContext": of[SnapContext], "SnapList": of[SnapList], "StatOutput": of[StatOutput],
		"Statfs": of[Statfs], "StatfsReply": of[StatfsReply], "WatchNotify": of[WatchNotify], "WatcherList": of[WatcherList],
	} {
		all[name] = make
	}
	return all
}

func of[T any, P interface {
	*T
	denctest.Codec
}]() denctest.Codec {
	return P(new(T))
}

// notGolden says why a type has no bytes of real clusters.
var notGolden = map[string]string{
	"GetConfig":       "no program of Ceph sends it; monitors answer it",
	"MonSubscribeAck": "monitors send it only to clients without MON_STATEFUL_SUB, that is, older than 10.2",
	"Redirect":        "only OSDs of cache tiers in modes that Ceph has given up send it",
}

// TestEveryTypeHasGoldenBytes holds every codec to what 16.2, 18.2 and 20.2 said:
// to values.json, and to the messages in files of their own that the capture tests
// of rados, rados/monc and rados/mgrc renew.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(OSDOp{})
	inv.Golden(t, types(), checkGoldenValue)
	for _, release := range []string{"16.2", "18.2", "20.2"} {
		files, err := filepath.Glob(filepath.Join("testdata", release, "*.bin"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, fronts := range []map[string]func() Front{goldenMon, goldenRequests} {
				for name, make := range fronts {
					rest, ok := strings.CutPrefix(filepath.Base(file), name)
					if !ok || rest != ".bin" && !strings.HasPrefix(rest, "-") && !strings.HasPrefix(rest, "v") {
						continue
					}
					p, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					f := make()
					if denctest.Reencode(t, file, f, p) {
						inv.Note(release, f)
					}
				}
			}
		}
	}
	inv.Complete(t, types(), notGolden)
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types()) }

// checkGoldenValue checks what is known of what scripts/golden-traffic did.
func checkGoldenValue(t *testing.T, release string, val denctest.Value, c denctest.Codec) {
	ok := true
	switch v := denctest.Unwrap(c).(type) {
	case *OSDOp:
		ok = v.PG.Pool > 0 && v.Locator.Pool == v.PG.Pool && v.Epoch > 0 && v.Features != 0 && v.Flags&FlagOnDisk != 0
	case *OSDOpReply:
		ok = v.PG.Pool > 0 && v.Epoch > 0 && v.Redirect == nil
	case *GetPoolStats:
		ok = len(v.Pools) > 0 && !v.FSID.IsZero()
	case *GetPoolStatsReply:
		s := v.Stats["rbd"]
		ok = !v.FSID.IsZero() && len(v.Stats) > 0 && (s.StoreStats == 0 || s.StoredBytes() > 0 && s.Objects() > 0)
	case *ServiceMapMessage:
		for id, d := range v.Map.Services["rbd-mirror"].Daemons {
			ok = ok && d.Metadata["id"] == "admin" && d.Metadata["instance_id"] == id && strings.HasPrefix(d.Metadata["ceph_version_short"], release) && d.Addr.IP.Addr().IsLoopback()
		}
	case *MonMap:
		a, found := v.Mons["a"].Addrs.Msgr2()
		ok = found && a.IP.Port() > 8000 && v.Epoch == 1
	case *Log:
		ok = len(v.Entries) > 0 && v.Entries[0].Message != "" && v.Entries[0].Channel != ""
	case *LogAck:
		ok = v.Last > 0
	case *OSDBackoff:
		ok = v.ID > 0 && v.Op >= 1 && v.Op <= 3 && v.Epoch > 0
	case *StatfsReply:
		ok = v.KB-v.KBUsed-v.KBAvail <= 1 && v.Objects > 0
	case *WatchNotify:
		ok = v.Cookie != 0 && v.Event >= WatchEventNotify && v.Event <= WatchEventDisconnect
	case *PoolOp:
		ok = v.Pool > 0 && v.Op > 0 && !v.FSID.IsZero()
	case *OmapRmKeyRangeInput:
		ok = v.First == "a" && v.End == "b"
	case *MgrReport:
		ok = v.ServiceName == "rbd-mirror" || v.DaemonName != ""
	case *Command:
		ok = len(v.Cmd) == 1 && strings.Contains(v.Cmd[0], "prefix")
	case *MonSubscribe:
		ok = len(v.What) > 0
	case *SnapList:
		ok = len(v.Clones) > 0
	}
	if !ok {
		t.Errorf("%s: unexpected %+v", val.From, denctest.Unwrap(c))
	}
}

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types(), map[string]string{
		"DaemonHealthMetric": "DaemonHealthMetric", "LogEntry": "LogEntry", "MgrMap": "MgrMap", "MgrMap::ModuleInfo": "MgrModule",
		"MgrMap::ModuleOption": "MgrModuleOption", "MgrMap::StandbyInfo": "MgrStandby", "MonMap": "MonMap", "mon_info_t": "MonInfo",
		"PerfCounterType": "PerfCounterType", "ServiceMap": "ServiceMap", "ServiceMap::Daemon": "ServiceDaemon", "ServiceMap::Service": "Service",
		"SnapContext": "SnapContext", "clone_info": "SnapClone", "eversion_t": "EVersion", "obj_list_snap_response_t": "SnapList",
		"obj_list_watch_response_t": "WatcherList", "watch_item_t": "Watcher", "osd_reqid_t": "ReqID", "pg_nls_response_t": "PgnlsReply",
		"pool_stat_t": "PoolStat", "request_redirect_t": "Redirect",
	}, map[string]string{
		"16.2.0-90-g50f1821b4c/objects/MgrMap::ModuleOption/f97d85482139c3de61f9ec00522b6bd6": "it has bytes behind its end",
	})
}
