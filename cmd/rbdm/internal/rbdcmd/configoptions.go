package rbdcmd

import (
	"context"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rbd"
)

// configOption is an option that `rbd config` lists for pools and images.
type configOption struct {
	name, value string
	// poolOnly says that it is about making images.
	poolOnly bool
}

// configOptions are those of release 20.2 with their default values, in the order
// of their names.
var configOptions = []configOption{
	{"rbd_atime_update_interval", "60", false},
	{"rbd_balance_parent_reads", "false", false},
	{"rbd_balance_snap_reads", "false", false},
	{"rbd_blkin_trace_all", "false", false},
	{"rbd_blocklist_expire_seconds", "0", false},
	{"rbd_blocklist_on_break_lock", "true", false},
	{"rbd_cache", "true", false},
	{"rbd_cache_block_writes_upfront", "false", false},
	{"rbd_cache_max_dirty", "25165824", false},
	{"rbd_cache_max_dirty_age", "1.000000", false},
	{"rbd_cache_max_dirty_object", "0", false},
	{"rbd_cache_policy", "writearound", false},
	{"rbd_cache_size", "33554432", false},
	{"rbd_cache_target_dirty", "16777216", false},
	{"rbd_cache_writethrough_until_flush", "false", false},
	{"rbd_clone_copy_on_read", "false", false},
	{"rbd_compression_hint", "none", false},
	{"rbd_concurrent_management_ops", "10", false},
	{"rbd_default_clone_format", "auto", true},
	{"rbd_default_data_pool", "", true},
	{"rbd_default_features", "61", true},
	{"rbd_default_map_options", "", false},
	{"rbd_default_order", "22", true},
	{"rbd_default_snapshot_quiesce_mode", "required", false},
	{"rbd_default_stripe_count", "0", true},
	{"rbd_default_stripe_unit", "0", true},
	{"rbd_disable_zero_copy_writes", "true", false},
	{"rbd_discard_granularity_bytes", "65536", false},
	{"rbd_enable_alloc_hint", "true", false},
	{"rbd_invalidate_object_map_on_timeout", "true", false},
	{"rbd_io_scheduler", "simple", false},
	{"rbd_io_scheduler_simple_max_delay", "0", false},
	{"rbd_journal_commit_age", "5.000000", false},
	{"rbd_journal_max_concurrent_object_sets", "0", false},
	{"rbd_journal_max_payload_bytes", "16384", false},
	{"rbd_journal_object_flush_age", "0.000000", false},
	{"rbd_journal_object_flush_bytes", "1048576", false},
	{"rbd_journal_object_flush_interval", "0", false},
	{"rbd_journal_object_max_in_flight_appends", "0", false},
	{"rbd_journal_object_writethrough_until_flush", "true", false},
	{"rbd_journal_order", "24", true},
	{"rbd_journal_pool", "", true},
	{"rbd_journal_splay_width", "4", true},
	{"rbd_localize_parent_reads", "false", false},
	{"rbd_localize_snap_reads", "false", false},
	{"rbd_mirror_concurrent_image_deletions", "1", true},
	{"rbd_mirror_concurrent_image_syncs", "5", true},
	{"rbd_mirror_delete_retry_interval", "30.000000", true},
	{"rbd_mirror_image_perf_stats_prio", "5", true},
	{"rbd_mirror_image_policy_migration_throttle", "300", true},
	{"rbd_mirror_image_policy_rebalance_timeout", "0.000000", true},
	{"rbd_mirror_image_policy_type", "simple", true},
	{"rbd_mirror_image_policy_update_throttle_interval", "1.000000", true},
	{"rbd_mirror_image_state_check_interval", "30", true},
	{"rbd_mirror_journal_commit_age", "5.000000", true},
	{"rbd_mirror_journal_poll_age", "5.000000", true},
	{"rbd_mirror_leader_heartbeat_interval", "5", true},
	{"rbd_mirror_leader_max_acquire_attempts_before_break", "3", true},
	{"rbd_mirror_leader_max_missed_heartbeats", "2", true},
	{"rbd_mirror_memory_autotune", "true", true},
	{"rbd_mirror_memory_base", "805306368", true},
	{"rbd_mirror_memory_cache_autotune_interval", "30.000000", true},
	{"rbd_mirror_memory_cache_min", "134217728", true},
	{"rbd_mirror_memory_cache_resize_interval", "5.000000", true},
	{"rbd_mirror_memory_expected_fragmentation", "0.150000", true},
	{"rbd_mirror_memory_target", "4294967296", true},
	{"rbd_mirror_perf_stats_prio", "5", true},
	{"rbd_mirror_sync_point_update_age", "30.000000", true},
	{"rbd_mirroring_delete_delay", "0", false},
	{"rbd_mirroring_max_mirroring_snapshots", "5", false},
	{"rbd_mirroring_replay_delay", "0", false},
	{"rbd_mirroring_resync_after_disconnect", "false", false},
	{"rbd_move_parent_to_trash_on_remove", "false", false},
	{"rbd_move_to_trash_on_remove", "false", false},
	{"rbd_move_to_trash_on_remove_expire_seconds", "0", false},
	{"rbd_mtime_update_interval", "60", false},
	{"rbd_non_blocking_aio", "true", false},
	{"rbd_parent_cache_enabled", "false", false},
	{"rbd_persistent_cache_mode", "disabled", false},
	{"rbd_persistent_cache_path", "/tmp", false},
	{"rbd_persistent_cache_size", "1073741824", false},
	{"rbd_plugins", "", false},
	{"rbd_qos_bps_burst", "0", false},
	{"rbd_qos_bps_burst_seconds", "1", false},
	{"rbd_qos_bps_limit", "0", false},
	{"rbd_qos_exclude_ops", "0", false},
	{"rbd_qos_iops_burst", "0", false},
	{"rbd_qos_iops_burst_seconds", "1", false},
	{"rbd_qos_iops_limit", "0", false},
	{"rbd_qos_read_bps_burst", "0", false},
	{"rbd_qos_read_bps_burst_seconds", "1", false},
	{"rbd_qos_read_bps_limit", "0", false},
	{"rbd_qos_read_iops_burst", "0", false},
	{"rbd_qos_read_iops_burst_seconds", "1", false},
	{"rbd_qos_read_iops_limit", "0", false},
	{"rbd_qos_schedule_tick_min", "50", false},
	{"rbd_qos_write_bps_burst", "0", false},
	{"rbd_qos_write_bps_burst_seconds", "1", false},
	{"rbd_qos_write_bps_limit", "0", false},
	{"rbd_qos_write_iops_burst", "0", false},
	{"rbd_qos_write_iops_burst_seconds", "1", false},
	{"rbd_qos_write_iops_limit", "0", false},
	{"rbd_quiesce_notification_attempts", "10", false},
	{"rbd_read_from_replica_policy", "default", false},
	{"rbd_readahead_disable_after_bytes", "52428800", false},
	{"rbd_readahead_max_bytes", "524288", false},
	{"rbd_readahead_trigger_requests", "10", false},
	{"rbd_request_timed_out_seconds", "30", false},
	{"rbd_skip_partial_discard", "true", false},
	{"rbd_sparse_read_threshold_bytes", "65536", false},
}

// sinceQuincy is the one option that release 16 does not know.
const sinceQuincy = "rbd_qos_exclude_ops"

// listConfig returns all options as they hold: known are the values that package
// rbd reads, with the overrides of the pool and the image.
func (c *call) listConfig(ctx context.Context, known []rbd.ConfigValue, pool bool) []rbd.ConfigValue {
	old := c.before(ctx, release18)
	byName := make(map[string]rbd.ConfigValue, len(known))
	for _, v := range known {
		byName[v.Name] = v
	}
	var out []rbd.ConfigValue
	for _, o := range configOptions {
		if o.poolOnly && !pool || o.name == sinceQuincy && old {
			continue
		}
		v, ok := byName[o.name]
		if !ok {
			v = rbd.ConfigValue{Name: o.name, Value: o.value, Source: "config"}
			if text, _, set := c.cfg.Lookup(o.name); set {
				v.Value = text
			}
		}
		if v.Source == "config" && strings.Contains(o.value, ".") {
			if x, err := strconv.ParseFloat(v.Value, 64); err == nil {
				v.Value = strconv.FormatFloat(x, 'f', 6, 64)
			}
		}
		out = append(out, v)
	}
	return out
}
