package rbdcmd

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/rbdm/rbdm/journal"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// journalNotify bounds the wait for a journal's watchers to hear of a change.
const journalNotify = 5 * time.Second

// withJournalClient runs f with the journal opened by a client that is registered
// for the time; it reads what some other client was not done with.
func (c *call) withJournalClient(ctx context.Context, arg journalArg, client string, f func(*journal.Journal) error) error {
	o := journal.DefaultOptions()
	o.NoTrim = true
	j, err := journal.Open(ctx, arg.io, arg.id, client, o)
	if err == nil {
		defer j.Close(ctx)
		err = j.Register(ctx, nil)
	}
	if err != nil {
		c.warnf("failed to register client: %s", errnoText(err))
	} else {
		err = f(j)
	}
	bad := rados.ErrNotFound
	if j != nil {
		if e := j.Unregister(ctx); e == nil {
			return err
		} else if !errors.As(e, &bad) {
			bad = rados.ErrIO
		}
	}
	c.warnf("rbd: failed to unregister journal client: %s", errnoText(bad))
	if err == nil {
		err = bad
	}
	return err
}

// playErrno gives what a Player found the number that it has with Ceph.
func playErrno(err error) error {
	switch {
	case errors.Is(err, journal.ErrCorrupt):
		return fmt.Errorf("%w: %w", rados.ErrBadMessage, err)
	case errors.Is(err, journal.ErrMissing):
		return fmt.Errorf("%w: %w", errNoMessage, err)
	case errors.Is(err, journal.ErrTrimmed):
		return fmt.Errorf("%w: %w", rados.ErrStale, err)
	}
	return err
}

// errNoMessage is ENOMSG.
const errNoMessage rados.Errno = 42

// eachEntry plays a journal to its end and calls f with every entry and its
// number, which counts from 1.
func (c *call) eachEntry(ctx context.Context, j *journal.Journal, f func(n int, e *journal.Entry) error) error {
	p, err := j.NewPlayer(ctx, journal.PlayerOptions{})
	if err != nil {
		return playErrno(err)
	}
	defer p.Close()
	for n := 1; ; n++ {
		e, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			c.warnf("rbd: %v", err)
			return playErrno(err)
		}
		if err := f(n, e); err != nil {
			return err
		}
	}
}

// event decodes what an entry holds and, when verbose, prints it.
func (c *call) event(data []byte) (wire.Event, error) {
	var ev wire.Event
	r := denc.NewReader(data)
	ev.Decode(r)
	if err := r.Err(); err != nil && !errors.Is(err, wire.ErrEvent) {
		c.warnf("failed to decode event entry: %s", "End of buffer [buffer:2]")
		return ev, rados.ErrInvalid
	}
	if c.Has("verbose") {
		return ev, printEvent(c.std.Out, ev, r.Err() == nil)
	}
	return ev, nil
}

func journalInspect(ctx context.Context, c *call) error {
	s, err := c.journal(ctx, 0, false)
	if err != nil {
		return err
	}
	arg, err := c.openJournal(ctx, s)
	if err != nil {
		return err
	}
	total, bad := 0, 0
	err = c.withJournalClient(ctx, arg, "INSPECT", func(j *journal.Journal) error {
		err := c.eachEntry(ctx, j, func(n int, e *journal.Entry) error {
			total++
			if c.Has("verbose") {
				c.printf("Entry: tag_id=%d, commit_tid=%d\n", e.TagTID, n)
			}
			if _, err := c.event(e.Data); err != nil {
				bad++
			}
			return nil
		})
		if err == nil && bad > 0 {
			err = rados.ErrInvalid
		}
		return err
	})
	c.printf("Summary:\n  %d entries inspected, %d errors\n", total, bad)
	if err != nil {
		return failed(err, "rbd: journal inspect")
	}
	return nil
}

// exportedEntry is an entry in an export file.
type exportedEntry struct {
	Tag    uint64 `json:"tag_id"`
	Commit uint64 `json:"commit_tid"`
	Type   int32  `json:"type"`
	Data   []byte `json:"entry"`
}

func journalExport(ctx context.Context, c *call) (err error) {
	s, err := c.journal(ctx, 0, false)
	if err != nil {
		return err
	}
	path := c.String("path")
	if path == "" {
		if path = c.Arg(1); c.String("journal") != "" {
			path = c.Arg(0)
		}
	}
	if path == "" {
		return invalidf("rbd: path was not specified")
	}
	arg, err := c.openJournal(ctx, s)
	if err != nil {
		return err
	}
	file, err := c.createFile(path)
	if err != nil {
		return c.journalFailed("export", err, "rbd: error creating %s", path)
	}
	w := bufio.NewWriter(file)
	fmt.Fprintf(w, "# journal_id: %s\n", arg.id)
	total, bad := 0, 0
	err = c.withJournalClient(ctx, arg, "EXPORT", func(j *journal.Journal) error {
		total, bad, err = c.exportEntries(ctx, j, w)
		return err
	})
	// All of it is in the file when the command says that it is.
	if e := osError(errors.Join(w.Flush(), file.Close())); e != nil && err == nil {
		c.warnf("rbd: failed to write to export file: %s", errnoText(e))
		err = e
	}
	c.printf("%d entries processed, %d errors\n", total, bad)
	if err != nil {
		return failed(err, "rbd: journal export")
	}
	return nil
}

func (c *call) exportEntries(ctx context.Context, j *journal.Journal, w *bufio.Writer) (total, bad int, err error) {
	err = c.eachEntry(ctx, j, func(n int, e *journal.Entry) error {
		total++
		ev, err := c.event(e.Data)
		if err != nil {
			bad++
			if c.Has("no-error") {
				return nil
			}
			return err
		}
		text := fmt.Sprintf(`{"tag_id":%d,"commit_tid":%d,"type":%d,"entry":"%s"}`, e.TagTID, n, int32(knownType(ev.Type)), base64.StdEncoding.EncodeToString(e.Data))
		_, err = fmt.Fprintf(w, "%d %s\n", len(text), text)
		if err == nil && c.Has("verbose") {
			err = w.Flush() // stdout may be the file
		}
		return osError(err)
	})
	if err == nil && bad > 0 {
		err = rados.ErrInvalid
	}
	return total, bad, err
}

func journalImport(ctx context.Context, c *call) error {
	path := c.String("path")
	if path == "" {
		path = c.Arg(0)
	}
	if path == "" {
		return invalidf("rbd: path was not specified")
	}
	s, err := c.journal(ctx, 1, true)
	if err != nil {
		return err
	}
	arg, err := c.openJournal(ctx, s)
	if err != nil {
		return err
	}
	in := c.std.In
	if path != stdStream {
		file, err := os.Open(path)
		if err != nil {
			return c.journalFailed("import", osError(err), "rbd: error opening %s", path)
		}
		defer file.Close()
		in = file
	}
	err = c.withJournalClient(ctx, arg, "IMPORT", func(j *journal.Journal) error { return c.importEntries(ctx, j, bufio.NewReader(in)) })
	if err != nil {
		return failed(err, "rbd: journal import")
	}
	return nil
}

// importEntries appends the entries of an export file to a journal, behind what
// it has of the same tags. A file that is bad is a failure; rbd says what is wrong
// with it and exits with 0.
func (c *call) importEntries(ctx context.Context, j *journal.Journal, in *bufio.Reader) error {
	if err := reserveEntries(ctx, j); err != nil {
		return playErrno(err)
	}
	r, err := j.NewRecorder(ctx)
	if err != nil {
		return err
	}
	n, bad := 0, 0
	var failure error
	for {
		text, err := c.nextExported(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			n++
			if err = c.importEntry(ctx, r, n, text); err != nil {
				bad++
			}
		} else {
			failure = err
			break
		}
		if err != nil {
			failure = err
			if !c.Has("no-error") {
				break
			}
		}
	}
	c.printf("%d entries processed, %d errors\nWaiting for journal append to complete...\n", n, bad)
	if err := r.Close(ctx); err != nil {
		c.warnf("failed to append journal: %s", errnoText(err))
		return err
	}
	return failure
}

// reserveEntries reads what the journal has, so that new entries get the numbers
// behind.
func reserveEntries(ctx context.Context, j *journal.Journal) error {
	p, err := j.NewPlayer(ctx, journal.PlayerOptions{All: true})
	if err != nil {
		return err
	}
	defer p.Close()
	for {
		if _, err := p.Next(ctx); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func (c *call) importEntry(ctx context.Context, r *journal.Recorder, n int, text []byte) error {
	if !json.Valid(text) {
		c.warnf("rbd: error parsing input (entry %d)", n)
		return rados.ErrInvalid
	}
	var e exportedEntry
	if err := json.Unmarshal(text, &e); err != nil {
		c.warnf("rbd: error json decoding import data (entry %d):%v", n, err)
		return rados.ErrInvalid
	}
	if _, err := c.event(e.Data); err != nil {
		c.warnf("rbd: corrupted entry %d: tag_tid=%d, commit_tid=%d", n, e.Tag, e.Commit)
		return err
	}
	_, err := r.Append(ctx, e.Tag, e.Data)
	return err
}

// maxExported bounds an entry in an export file: base64 of a data object.
const maxExported = 128 << 20

// nextExported reads the next entry of an export file, "SIZE JSON"; lines that
// begin with # are comments. At the end it returns io.EOF.
func (c *call) nextExported(in *bufio.Reader) ([]byte, error) {
	var first byte
	for {
		var err error
		if first, err = in.ReadByte(); err != nil {
			return nil, err
		}
		if first == '#' {
			if _, err := in.ReadString('\n'); err != nil {
				return nil, err
			}
		} else if first != '\n' {
			break
		}
	}
	wrong := func(what string) ([]byte, error) {
		c.warnf("rbd: import data invalid format (%s)", what)
		return nil, rados.ErrInvalid
	}
	digits := []byte{first}
	for len(digits) < 80 {
		d := digits[len(digits)-1]
		if d == ' ' && len(digits) > 1 {
			break
		}
		if d < '0' || d > '9' {
			if len(digits) == 1 {
				return wrong("digit expected")
			}
			return wrong("space expected")
		}
		next, err := in.ReadByte()
		if err != nil {
			c.warnf("rbd: error reading import data")
			return nil, rados.ErrDomain
		}
		digits = append(digits, next)
	}
	size, err := strconv.Atoi(string(digits[:len(digits)-1]))
	if err != nil || size <= 0 || size > maxExported {
		return wrong("zero entry size")
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		c.warnf("rbd: error reading from stdin: truncated")
		return nil, rados.ErrInvalid
	}
	return text, nil
}
