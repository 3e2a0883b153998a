package engine

import (
	"testing"

	jwire "github.com/rbdm/rbdm/journal/wire"

	"github.com/stretchr/testify/require"
)

func TestEntriesBehind(t *testing.T) {
	tags := map[uint64]jwire.TagPredecessor{
		3: {CommitValid: true, TagTID: 2, EntryTID: 9},
		2: {CommitValid: true, TagTID: 1, EntryTID: 4},
		9: {CommitValid: true, TagTID: 9, EntryTID: 4}, // nonsense
	}
	at := func(tag, entry uint64) *jwire.ObjectPosition {
		return &jwire.ObjectPosition{TagTID: tag, EntryTID: entry}
	}
	for _, c := range []struct {
		head, here *jwire.ObjectPosition
		want       uint64
	}{
		{nil, nil, 0},
		{nil, at(1, 1), 0},
		{at(2, 3), at(2, 3), 0},
		{at(2, 3), at(2, 7), 0},
		{at(2, 3), at(3, 0), 0},
		{at(2, 3), at(2, 1), 2},
		{at(3, 0), at(2, 9), 1},
		{at(3, 1), at(2, 7), 2 + 2},
		{at(3, 1), at(1, 4), 2 + 10},
		{at(3, 1), at(1, 1), 2 + 10 + 3},
		{at(3, 1), nil, 2 + 10 + 5},
		{at(9, 1), at(1, 0), 2},
	} {
		got := entriesBehind(c.head, c.here, func(tag uint64) jwire.TagPredecessor { return tags[tag] })
		require.Equal(t, c.want, got, "%v %v", c.head, c.here)
	}
}

// TestJournalDescription compares with what Ceph's daemon writes: sorted keys, an
// empty object for a position that is not known, the time left only when it is known.
func TestJournalDescription(t *testing.T) {
	var s journalStats
	require.Equal(t, `replaying, {"bytes_per_second":0.0,"entries_behind_primary":0,"entries_per_second":0.0,"non_primary_position":{},"primary_position":{}}`,
		s.describe(nil, nil, 0))
	head, here := &jwire.ObjectPosition{Object: 3, TagTID: 2, EntryTID: 11}, &jwire.ObjectPosition{Object: 1, TagTID: 2, EntryTID: 1}
	require.Equal(t, `replaying, {"bytes_per_second":0.0,"entries_behind_primary":10,"entries_per_second":0.0,`+
		`"non_primary_position":{"entry_tid":1,"object_number":1,"tag_tid":2},"primary_position":{"entry_tid":11,"object_number":3,"tag_tid":2}}`,
		s.describe(head, here, 10))
	s.samples[0].at = s.samples[0].at.Add(-2 * rateAge / 3)
	for range 40 {
		s.applied(4096)
	}
	require.Contains(t, s.describe(head, here, 10), `"seconds_until_synced":5}`)
}
