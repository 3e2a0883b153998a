package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// toldHandlers are the commands that daemons can be told and that do something
// here, by their words. read-only.
var toldHandlers = map[string]func(*told) errno.Errno{
	"version":                    (*told).version,
	"git_version":                (*told).gitVersion,
	"help":                       (*told).help,
	"status":                     (*told).daemonStatus,
	"mon_status":                 (*told).monStatus,
	"mgr_status":                 (*told).mgrStatus,
	"sessions":                   (*told).sessions,
	"config get":                 (*told).configGet,
	"config set":                 (*told).configSet,
	"config unset":               (*told).configUnset,
	"config show":                (*told).configShow,
	"config diff":                (*told).configDiff,
	"config help":                (*told).configHelp,
	"config diff get":            (*told).configDiff,
	"injectargs":                 (*told).injectArgs,
	"injectfull":                 (*told).injectFull,
	"bench":                      (*told).bench,
	"cache drop":                 (*told).cacheDrop,
	"cache status":               (*told).cacheStatus,
	"cluster_log":                (*told).clusterLog,
	"compact":                    (*told).compact,
	"dump_blocklist":             (*told).dumpBlocklist,
	"dump_mempools":              (*told).mempools,
	"dump_watchers":              (*told).dumpWatchers,
	"dump_ops_in_flight":         (*told).opsInFlight,
	"ops":                        (*told).opsInFlight,
	"dump_historic_slow_ops":     (*told).slowOps,
	"dump_blocked_ops":           (*told).blockedOps,
	"dump_blocked_ops_count":     (*told).blockedCount,
	"dump_pg_recovery_stats":     func(k *told) errno.Errno { return k.json([]string{}) },
	"dump_pool_statfs":           (*told).poolStatfs,
	"dump_scrub_reservations":    (*told).scrubReservations,
	"flush_journal":              (*told).nothing, // what was answered is in the store
	"dump_recovery_reservations": (*told).reservations,
	"reset_pg_recovery_stats":    (*told).nothing, // nothing is ever recovered
	"dump_osd_network":           (*told).network,
	"flush_pg_stats":             (*told).flushStats,
	"get_latest_osdmap":          (*told).nothing,
	"get_mapped_pools":           (*told).mappedPools,
	"list_devices":               func(k *told) errno.Errno { return k.json([]string{}) },
	"log flush":                  func(k *told) errno.Errno { return k.json(object{}) },
	"log dump":                   func(k *told) errno.Errno { return k.json(object{}) },
	"log reopen":                 func(k *told) errno.Errno { return k.json(object{}) },
	"objecter_requests":          (*told).objecterRequests,
	"perf reset":                 (*told).perfReset,
	"send_beacon":                (*told).nothing,
	"smart":                      func(k *told) errno.Errno { return k.print("{\n}\n") },
	"trim stale osdmaps":         (*told).nothing,
	"quorum enter":               (*told).quorumEnter,
	"pg":                         (*told).queryPG,
	"query":                      (*told).queryPG,
}

func (k *told) nothing() errno.Errno { return 0 }

func (k *told) is(kind string) bool { return strings.HasPrefix(k.daemon, kind+".") }

// osd returns the OSD that was told.
func (k *told) osd() int32 {
	n, _ := strconv.ParseInt(strings.TrimPrefix(k.daemon, "osd."), 10, 32)
	return int32(n)
}

func (k *told) version() errno.Errno {
	r := k.c.release()
	return k.json(object{{"version", r.short}, {"release", r.name}, {"release_type", "stable"}})
}

func (k *told) gitVersion() errno.Errno { return k.json(object{{"git_version", k.c.release().commit}}) }

func (k *told) help() errno.Errno {
	o := object{}
	for _, words := range slices.Sorted(maps.Keys(k.c.toldSet(k.daemon).first)) {
		o = append(o, field{words, words})
	}
	return k.json(o)
}

func (k *told) daemonStatus() errno.Errno {
	if !k.is("osd") {
		return k.json(k.c.fsClient())
	}
	c, id := k.c, k.osd()
	oldest, newest := uint32(1), c.osdmap.Epoch
	o := object{
		{"cluster_fsid", c.fsid.String()}, {"osd_fsid", c.osdmap.OSDOnly.OSDs[id].UUID.String()}, {"whoami", id}, {"state", "active"},
	}
	if c.opt.release >= 20 {
		o = append(o, field{"maps", fmt.Sprintf("[%d~%d]", oldest, newest)}, field{"oldest_map", fmt.Sprint(oldest)},
			field{"newest_map", fmt.Sprint(newest)}, field{"cluster_osdmap_trim_lower_bound", 1})
	} else {
		o = append(o, field{"oldest_map", oldest}, field{"cluster_osdmap_trim_lower_bound", 1}, field{"newest_map", newest})
	}
	return k.json(append(o, field{"num_pgs", c.groupsByOSD()[id]}))
}

func (k *told) monStatus() errno.Errno {
	for _, m := range k.c.mons {
		if m.name == k.daemon {
			return k.json(k.c.monStatus(m))
		}
	}
	return errno.ErrNotFound
}

func (k *told) mgrStatus() errno.Errno {
	o := object{{"mgrmap_epoch", k.c.mgrmap.Epoch}, {"initialized", true}}
	if k.c.opt.release >= 20 {
		o = append(o, field{"pending_modules", []string{}})
	}
	return k.json(o)
}

// quorumEnter lets the monitors elect again. None has left the quorum by being told to.
func (k *told) quorumEnter() errno.Errno {
	k.c.wg.Go(k.c.elect)
	return k.print("started responding to quorum, initiated new election\n")
}

// sessions lists who is connected to a monitor.
func (k *told) sessions() errno.Errno {
	list := []object{}
	for s := range k.c.sessions {
		if s.mon.name != k.daemon || s.conn == nil {
			continue
		}
		a := clientAddr(s.conn)
		list = append(list, object{
			{"name", s.conn.PeerName().String()}, {"entity_name", s.user.String()}, {"addrs", addrVecObject(entity.AddrVec{a})},
			{"socket_addr", object{{"type", "none"}, {"addr", a.IP.String()}, {"nonce", a.Nonce}}}, {"con_type", "client"},
			{"con_features", s.conn.Features()}, {"con_features_hex", fmt.Sprintf("%x", s.conn.Features())}, {"con_features_release", "luminous"},
			{"open", true}, {"caps", object{{"text", s.auth.Caps(entity.TypeMon)}}}, {"authenticated", true}, {"global_id", s.conn.PeerName().Num},
			{"global_id_status", "new_ok"}, {"osd_epoch", k.c.osdmap.Epoch}, {"remote_host", ""},
		})
	}
	return k.json(list)
}

// fsClient is what the managers of 16.2 and 18.2 say of its client of the file system.
func (c *Cluster) fsClient() object {
	if c.opt.release >= 20 {
		return object{}
	}
	addr := object{{"type", "v1"}, {"addr", "127.0.0.1:0"}, {"nonce", c.started.Unix() % 1e6}}
	at := fmt.Sprintf("127.0.0.1:0/%d", c.started.Unix()%1e6)
	return object{
		{"metadata", object{}}, {"dentry_count", 0}, {"dentry_pinned_count", 0}, {"id", 0},
		{"inst", object{{"name", object{{"type", "mgr"}, {"num", c.mgrmap.ActiveGID}}}, {"addr", addr}}}, {"addr", addr},
		{"inst_str", fmt.Sprintf("mgr.%d %s", c.mgrmap.ActiveGID, at)}, {"addr_str", at}, {"inode_count", 0}, {"mds_epoch", 0},
		{"osd_epoch", c.osdmap.Epoch}, {"osd_epoch_barrier", 0}, {"blocklisted", false}, {"fs_name", "cephfs"},
	}
}

// noFlush is what OSDs answer whose store is memory: there is no cache to empty.
func (k *told) noFlush() errno.Errno {
	return k.say(errno.ErrPermission, "Error flushing objectstore cache: (1) Operation not permitted")
}

func (k *told) cacheDrop() errno.Errno { return k.noFlush() }

// What an OSD asks of a bench by default: osd_bench_max_block_size, and during
// osd_bench_duration osd_bench_large_size_max_throughput or, for blocks below 1 MiB,
// osd_bench_small_size_max_iops.
const (
	benchMaxBlock = 64 << 20
	benchMaxBytes = 100 << 20
	benchMaxIOPS  = 100
	benchSeconds  = 30
)

// bench writes to memory, as the OSD's store does, what is forgotten at once. In 20.2
// an OSD wants to empty its cache first, which one whose store is memory cannot.
func (k *told) bench() errno.Errno {
	count, size := k.args.number("count", 1<<30), k.args.number("size", 4<<20)
	most := size * benchMaxIOPS * benchSeconds
	switch {
	case k.c.opt.release >= 20 && (size <= 0 || count <= 0):
		return k.say(errno.ErrInvalid, "block size and/or count of Bytes to write not specified")
	case size > benchMaxBlock:
		return k.say(errno.ErrInvalid, "block 'size' values are capped at %s. If you wish to use a higher value, please adjust 'osd_bench_max_block_size'", bytesText(benchMaxBlock))
	case size < 1<<20 && count > most:
		return k.say(errno.ErrInvalid, "'count' values greater than %.0f for a block size of %s, assuming %d IOPS, for %d seconds, can cause ill effects on osd.  Please adjust 'osd_bench_small_size_max_iops' with a higher value if you wish to use a higher 'count'.",
			most, bytesText(uint64(size)), benchMaxIOPS, benchSeconds)
	}
	if size >= 1<<20 && count > benchMaxBytes*benchSeconds {
		return k.say(errno.ErrInvalid, "'count' values greater than %d for a block size of %s, assuming %s/s, for %d seconds, can cause ill effects on osd.  Please adjust 'osd_bench_large_size_max_throughput' with a higher value if you wish to use a higher 'count'.",
			uint64(benchMaxBytes*benchSeconds), bytesText(uint64(size)), bytesText(benchMaxBytes), benchSeconds)
	}
	if k.c.opt.release >= 20 {
		return k.noFlush()
	}
	k.c.mu.Unlock()
	defer k.c.mu.Lock()
	block := make([]byte, int(size))
	begin := time.Now()
	for done := 0.0; done < count && k.c.ctx.Err() == nil; done += size {
		var o store.Bytes
		o.WriteBytes(0, slices.Clone(block))
	}
	elapsed := max(time.Since(begin).Seconds(), 1e-9)
	return k.json(object{{"bytes_written", uint64(count)}, {"blocksize", uint64(size)}, {"elapsed_sec", elapsed}, {"bytes_per_sec", count / elapsed}, {"iops", count / size / elapsed}})
}

func (k *told) cacheStatus() errno.Errno { return k.json(object{{"object_ctx", 0}}) }

func (k *told) compact() errno.Errno {
	if k.is("mon") {
		return k.print("compacted rocksdb in 0 seconds\n")
	}
	if k.c.opt.release >= 18 {
		return 0 // a store in memory cannot
	}
	return k.json(object{{"elapsed_time", 0.001}})
}

func (k *told) clusterLog() errno.Errno {
	prio, ok := logLevels["log-"+k.args.str("level")]
	if !ok {
		return k.say(errno.ErrInvalid, "unknown level '%s'", k.args.str("level"))
	}
	k.c.logAs(entity.AuthName{Type: entity.TypeOSD, ID: strings.TrimPrefix(k.daemon, "osd.")}, entity.Name{Type: entity.TypeOSD, Num: int64(k.osd())},
		uint64(len(k.c.clusterLog)+1), prio, strings.Join(k.args.list("message"), " "))
	return 0
}

func (k *told) dumpBlocklist() errno.Errno {
	list := []object{}
	for _, a := range sortedAddrs(k.c.osdmap.OSDOnly.Blocklist) {
		list = append(list, object{{"entity_addr_t", a.String()}, {"expire_time", cephTime(k.c.osdmap.OSDOnly.Blocklist[a].Std())}})
	}
	k.json(list)
	ranges := []object{}
	for _, a := range sortedAddrs(k.c.osdmap.OSDOnly.RangeBlocklist) {
		ranges = append(ranges, object{{"range", a.String()}, {"expire_time", cephTime(k.c.osdmap.OSDOnly.RangeBlocklist[a].Std())}})
	}
	k.out = append(k.out, encodeJSON("json-pretty", ranges)...)
	return 0
}

// dumpWatchers lists the watches on objects whose primary is the OSD.
func (k *told) dumpWatchers() errno.Errno {
	list := []object{}
	v := k.c.view.Load()
	for _, id := range poolsByID(k.c.osdmap) {
		p := v.pools[id]
		for seed, g := range p.groups {
			if p.primary[seed] != k.osd() {
				continue
			}
			for _, w := range g.AllWatchers() {
				list = append(list, object{
					{"namespace", w.Object.Namespace}, {"object", w.Object.Object}, {"entity_name", object{{"type", "client"}, {"num", w.Watcher.Name.Num}}},
					{"cookie", w.Watcher.Cookie}, {"timeout", w.Watcher.Timeout}, {"entity_addr_t", addrObject(w.Watcher.Addr)},
				})
			}
		}
	}
	return k.json(list)
}

func addrObject(a entity.Addr) object {
	return object{{"type", a.Type.String()}, {"addr", a.IP.String()}, {"nonce", a.Nonce}}
}

func (k *told) opsInFlight() errno.Errno { return k.json(object{{"ops", []string{}}, {"num_ops", 0}}) }

func (k *told) slowOps() errno.Errno {
	return k.json(object{{"num to keep", 20}, {"threshold to keep", 10}, {"Ops", []string{}}})
}

func (k *told) blockedOps() errno.Errno {
	return k.json(object{{"ops", []string{}}, {"complaint_time", 30}, {"num_blocked_ops", 0}})
}

func (k *told) blockedCount() errno.Errno {
	return k.json(object{{"complaint_time", 30}, {"num_blocked_ops", 0}})
}

// poolStatfs is what OSDs answer whose store is memory.
func (k *told) poolStatfs() errno.Errno {
	return k.say(errno.ErrNotSupported, "Error dumping pool statfs: (95) Operation not supported")
}

// scrubReservations tells of scrubs in progress: they end when they begin.
func (k *told) scrubReservations() errno.Errno {
	v, _, _ := k.value("osd_max_scrubs")
	most, _ := strconv.Atoi(v)
	o := object{{"scrubs_local", 0}}
	if k.c.opt.release < 20 {
		return k.json(append(o, field{"scrubs_remote", 0}, field{"osd_max_scrubs", most}))
	}
	return k.json(append(o, field{"osd_max_scrubs", most}, field{"remote_scrub_reservations", object{
		{"max_allowed", most}, {"min_priority", 0}, {"queues", []string{}}, {"in_progress", []string{}},
	}}))
}

func (k *told) reservations() errno.Errno {
	one := object{{"max_allowed", 1}, {"min_priority", 0}, {"queues", []string{}}, {"in_progress", []string{}}}
	return k.json(object{{"local_reservations", one}, {"remote_reservations", one}})
}

func (k *told) network() errno.Errno {
	return k.json(object{{"threshold", 1000}, {"entries", []string{}}})
}

func (k *told) flushStats() errno.Errno {
	return k.print("%d\n", uint64(k.c.osdmap.Epoch)<<32)
}

func (k *told) mappedPools() errno.Errno {
	list := []int64{}
	v := k.c.view.Load()
	for _, id := range poolsByID(k.c.osdmap) {
		for _, acting := range v.pools[id].acting {
			if slices.Contains(acting, k.osd()) {
				list = append(list, id)
				break
			}
		}
	}
	return k.json(list)
}

func (k *told) objecterRequests() errno.Errno {
	o := object{}
	for _, name := range []string{"ops", "linger_ops", "pool_ops", "pool_stat_ops", "statfs_ops", "command_ops"} {
		o = append(o, field{name, []string{}})
	}
	return k.json(o)
}

func (k *told) perfReset() errno.Errno {
	if v := k.args.str("var"); v != "all" {
		return k.json(object{{"error", "Not find: " + v}})
	}
	return k.json(object{{"success", "perf reset all"}})
}

// injectFull makes an OSD take itself for full, or less so.
func (k *told) injectFull() errno.Errno {
	word := k.args.str("type")
	if word == "" {
		word = "full"
	}
	f, ok := ParseFullness(word)
	if !ok {
		return k.print("Invalid type use (none, nearfull, backfillfull, full, failsafe)\n")
	}
	k.c.setFull(k.osd(), f)
	return 0
}
