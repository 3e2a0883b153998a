package rbd

import (
	"fmt"
	"io"
	"math"

	"github.com/rbdm/rbdm/rados"
)

// MergeDiff writes to w the one diff that does what first and then second do:
// streams of ExportDiff or `rbd export-diff`, whose records ascend, as those of
// images without striping do. second must start at the snapshot that first ends
// with.
func MergeDiff(w io.Writer, first, second io.Reader, p Progress) error {
	m := merger{out: newStreamWriter(w, 1), progress: p}
	if err := m.first.begin("first", first); err != nil {
		return err
	}
	if err := m.second.begin("second", second); err != nil {
		return err
	}
	if m.first.to != m.second.from {
		return &StreamError{Text: "The first TO snapshot must be equal with the second FROM snapshot, aborting", Err: rados.ErrInvalid}
	}
	if err := m.merge(); err != nil {
		return err
	}
	m.out.raw([]byte{tagEnd})
	return m.out.flush()
}

// diffSource is a diff that is being read: what its head says, and the record it
// has come to, of which the beginning may be used up.
type diffSource struct {
	which    string // for messages
	s        *streamReader
	from, to string
	size     uint64

	tag      byte // of the record; tagEnd when there is no more of them
	read     bool // the record's tag is read, but not its range
	off, len uint64
	done     bool
}

// begin reads the head up to the first record.
func (d *diffSource) begin(which string, r io.Reader) error {
	d.which, d.s = which, newStreamReader(r, 1)
	err := d.head()
	if err == nil {
		return nil
	}
	text := fmt.Sprintf("rbd: failed to parse %s diff header", which)
	if bad, ok := err.(*badBanner); ok {
		text = bad.Error() + "\n" + text
	}
	return &StreamError{Text: text, Err: err}
}

// badBanner says what was found in place of a diff's first line.
type badBanner struct{ got string }

func (b *badBanner) Error() string {
	return fmt.Sprintf("invalid banner '%s', expected '%s'", b.got, bannerDiff1)
}
func (b *badBanner) Unwrap() error { return rados.ErrInvalid }

func (d *diffSource) head() error {
	p := make([]byte, len(bannerDiff1))
	if err := d.s.full(p); err != nil {
		return err
	}
	if string(p) != bannerDiff1 {
		return &badBanner{string(p)}
	}
	for {
		var b [1]byte
		err := d.s.full(b[:])
		if err != nil {
			return err
		}
		switch b[0] {
		case tagFrom:
			d.from, err = d.s.text(maxName)
		case tagTo:
			d.to, err = d.s.text(maxName)
		case tagSize:
			if d.size, err = d.s.u64(); err == nil && d.size > math.MaxInt64 {
				err = fmt.Errorf("an image of %d bytes: %w", d.size, rados.ErrInvalid)
			}
		default:
			d.tag, d.read = b[0], true
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// next makes sure that there is a record, unless there are no more. The end
// stands for what lies between the image's end and the other image's.
func (d *diffSource) next(other uint64) error {
	if d.done || d.len > 0 {
		return nil
	}
	last := d.off
	if err := d.readRecord(); err != nil {
		return &StreamError{Text: fmt.Sprintf("rbd: failed to read %s diff data chunk header", d.which), Err: err}
	}
	if d.tag == tagEnd {
		d.done, d.off = true, d.size
		d.len = max(other, d.size) - d.size
	}
	if last > d.off {
		return &StreamError{Text: fmt.Sprintf("rbd: out-of-order offset from %s diff (%d > %d)", d.which, last, d.off), Err: rados.ErrNotSupported}
	}
	return nil
}

func (d *diffSource) readRecord() (err error) {
	if !d.read {
		var b [1]byte
		if err := d.s.full(b[:]); err != nil {
			return err
		}
		d.tag = b[0]
	}
	d.read = false
	switch d.tag {
	case tagEnd:
		return nil
	case tagWrite, tagZero:
	default:
		return fmt.Errorf("record of kind %q: %w", d.tag, rados.ErrNotSupported)
	}
	if d.off, d.len, err = d.s.extent(); err == nil && d.len == 0 {
		err = fmt.Errorf("empty record: %w", rados.ErrNotSupported)
	}
	return err
}

// end is the offset behind the record.
func (d *diffSource) end() uint64 { return d.off + d.len }

// drop passes over the next n bytes of the record.
func (d *diffSource) drop(n uint64) error {
	d.off, d.len = d.off+n, d.len-n
	if d.tag != tagWrite {
		return nil
	}
	if err := d.s.skip(n); err != nil {
		return &StreamError{Text: "rbd: failed to skip first diff data", Err: err}
	}
	return nil
}

// merger merges two diffs, of which the second hides the first.
type merger struct {
	first, second diffSource
	out           *streamWriter
	progress      Progress
}

func (m *merger) merge() error {
	f, s := &m.first, &m.second
	m.out.raw([]byte(bannerDiff1))
	if f.from != "" {
		m.out.textRecord(tagFrom, f.from)
	}
	if s.to != "" {
		m.out.textRecord(tagTo, s.to)
	}
	m.out.tag(tagSize, 8)
	m.out.u64(s.size)
	for {
		if m.progress != nil {
			m.progress(f.off+s.off, 2*max(f.size, s.size))
		}
		if err := f.next(s.size); err != nil {
			return err
		}
		if err := s.next(f.size); err != nil {
			return err
		}
		switch {
		case f.len > 0 && f.off < s.off:
			if err := m.copy(f, min(f.len, s.off-f.off), f.tag != tagWrite); err != nil {
				return err
			}
		case f.len > 0 && f.off < s.end():
			if err := f.drop(min(f.len, s.end()-f.off)); err != nil {
				return err
			}
		case s.len > 0:
			if err := m.copySecond(); err != nil {
				return err
			}
		case f.len == 0 && f.done && s.done:
			return m.out.err
		case f.len > 0 && s.done:
			// Beyond both images: what second cut off.
			return &StreamError{Text: "rbd: failed to merge diff chunk", Err: rados.ErrInvalid}
		}
	}
}

// copySecond writes the record of the second diff. What it cut off the image is
// no record.
func (m *merger) copySecond() error {
	s := &m.second
	if s.done {
		s.off, s.len = s.end(), 0
		return nil
	}
	return m.copy(s, s.len, s.tag == tagZero)
}

// copy writes a record of the next n bytes of d's.
func (m *merger) copy(d *diffSource, n uint64, zero bool) error {
	tag := byte(tagWrite)
	if zero {
		tag = tagZero
	}
	m.out.tag(tag, 16+n)
	m.out.u64(d.off)
	m.out.u64(n)
	if !zero && m.out.err == nil {
		got, err := io.CopyN(m.out.w, d.s.r, int64(n))
		d.s.n += uint64(got)
		if err == io.EOF {
			err = ErrTruncated
		}
		if err != nil {
			return &StreamError{Text: "rbd: failed to merge diff chunk", Err: err}
		}
	}
	d.off, d.len = d.off+n, d.len-n
	return m.out.err
}
