package cls

import (
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/log"
	"github.com/rbdm/rbdm/rados/cls/timeindex"
	"github.com/rbdm/rbdm/rados/errno"
)

func logMethods(release int) map[string]method {
	return map[string]method{
		log.MethodAdd:  write(taking(logAdd)),
		log.MethodList: read(taking(logList)),
		log.MethodTrim: write(taking(logTrim(release))),
		log.MethodInfo: read(taking(logInfo)),
	}
}

// logHeader returns the header; one that does not decode is as far as it does.
func logHeader(o Object) (h log.Header) {
	o.Nested(1)
	h.Decode(denc.NewReader(o.OmapHeader()))
	return h
}

func logAdd(o Object, op log.Add) ([]byte, error) {
	h := logHeader(o)
	for _, e := range op.Entries {
		e.Time = realTime(e.Time)
		at := e.Time
		switch older := compareTimes(at, h.MaxTime); {
		case op.Monotonic && older < 0:
			at = h.MaxTime
		case older > 0:
			h.MaxTime = at
		}
		if e.ID == "" {
			e.ID = log.Key(at) + o.Unique()
		}
		h.MaxMarker = max(h.MaxMarker, e.ID)
		o.SetOmap(e.ID, e.Append(nil))
		o.Nested(1)
	}
	o.SetOmapHeader(h.Append(nil))
	o.Nested(1)
	return nil, nil
}

// reached reports whether key is at or behind a time's keys.
func reached(key, end string) bool { return key[:min(len(key), len(end))] >= end }

func logList(o Object, op log.List) ([]byte, error) {
	from, to := realTime(op.From), realTime(op.To)
	after, end := op.Marker, ""
	if after == "" {
		after = log.Key(from)
	}
	if !from.IsZero() && compareTimes(to, from) >= 0 {
		end = log.Key(to)
	}
	limit := uint64(log.MaxEntries)
	if op.Max > 0 {
		limit = min(limit, uint64(op.Max))
	}
	var p log.Page
	o.Nested(1)
	keys, values, more, err := o.OmapPage(after, log.Prefix, limit)
	if err != nil {
		return nil, err
	}
	p.Truncated = more
	for _, k := range keys {
		p.Marker = k
		if end != "" && reached(k, end) {
			p.Truncated = false
			break
		}
		if e, err := parse[log.Entry](values[k]); err == nil {
			p.Entries = append(p.Entries, e)
		}
	}
	return p.Append(nil), nil
}

// trimRange removes the keys from the first above after up to end, without end:
// ErrNoData when there are none.
func trimRange(o Object, after, end string) error {
	o.Nested(1)
	keys, _, _, err := o.OmapPage(after, "", 1)
	if err != nil {
		return err
	}
	if len(keys) == 0 || end < keys[0] {
		return errno.ErrNoData
	}
	o.Nested(1)
	o.RemoveOmapRange(keys[0], end)
	return nil
}

// soon is the time with a millisecond more: what the class takes for the end
// when that is included.
func soon(t denc.Time) denc.Time {
	return realTime(denc.Time{Sec: t.Sec, Nsec: t.Nsec + 1e6})
}

// nextMicrosecond is soon before 20.2: up to the time's own entries, and no others.
func nextMicrosecond(t denc.Time) denc.Time {
	return realTime(denc.Time{Sec: t.Sec, Nsec: t.Nsec + 1000})
}

func logTrim(release int) func(o Object, op log.Trim) ([]byte, error) {
	return func(o Object, op log.Trim) ([]byte, error) {
		after, end := op.FromMarker, op.ToMarker+"\x00"
		if after == "" {
			after = log.Key(realTime(op.From))
		}
		switch to := realTime(op.To); {
		case op.ToMarker != "":
		case release >= 20:
			end = log.Key(soon(to))
		default:
			end = log.Key(nextMicrosecond(to))
		}
		return nil, trimRange(o, after, end)
	}
}

func logInfo(o Object, _ log.Info) ([]byte, error) {
	return log.InfoResult{Header: logHeader(o)}.Append(nil), nil
}

func timeindexMethods() map[string]method {
	return map[string]method{
		timeindex.MethodAdd:  write(taking(timeAdd)),
		timeindex.MethodList: read(taking(timeList)),
		timeindex.MethodTrim: write(taking(timeTrim)),
	}
}

func timeAdd(o Object, op timeindex.Add) ([]byte, error) {
	for _, e := range op.Entries {
		o.SetOmap(timeindex.Key(e.Time)+e.Ext, e.Value)
	}
	return nil, nil
}

// timeEntry reads a key as the class does: microseconds come back as
// nanoseconds, and the rest of the key only up to a space.
func timeEntry(key string, value []byte) timeindex.Entry {
	var sec, usec int64
	_, rest, _ := strings.Cut(strings.TrimPrefix(key, timeindex.Prefix), "_")
	_, _ = fmt.Sscanf(key, timeindex.Prefix+"%d.%d_", &sec, &usec)
	e := timeindex.Entry{Time: denc.Time{Sec: uint32(sec), Nsec: uint32(usec)}, Value: value}
	if words := strings.Fields(rest); len(words) > 0 {
		e.Ext = words[0][:min(len(words[0]), 255)]
	}
	return e
}

func timeList(o Object, op timeindex.List) ([]byte, error) {
	after, end := op.Marker, ""
	if after == "" {
		after = timeindex.Key(op.From)
	}
	if compareTimes(op.To, op.From) >= 0 {
		end = timeindex.Key(op.To)
	}
	limit := uint64(timeindex.MaxEntries)
	if op.Max >= 0 {
		limit = min(limit, uint64(op.Max))
	}
	var p timeindex.Page
	keys, values, more, err := o.OmapPage(after, timeindex.Prefix, limit)
	if err != nil {
		return nil, err
	}
	p.Truncated = more
	for _, k := range keys {
		if end != "" && reached(k, end) {
			p.Truncated = false
			break
		}
		p.Marker = k
		p.Entries = append(p.Entries, timeEntry(k, values[k]))
	}
	return p.Append(nil), nil
}

func timeTrim(o Object, op timeindex.Trim) ([]byte, error) {
	after, end := op.FromMarker, op.ToMarker
	if after == "" {
		after = timeindex.Key(op.From)
	}
	if end == "" {
		end = timeindex.Key(op.To)
	}
	keys, _, _, err := o.OmapPage(after, timeindex.Prefix, timeindex.MaxEntries)
	if err != nil {
		return nil, err
	}
	removed := false
	for _, k := range keys {
		if k[:min(len(k), len(end))] > end {
			break
		}
		if err := removeKey(o, k); err != nil {
			return nil, err
		}
		removed = true
	}
	if !removed {
		return nil, errno.ErrNoData
	}
	return nil, nil
}
