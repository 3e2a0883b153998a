package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/journal"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// journalHandlers are the commands about images' journals.
func journalHandlers() map[string]handler {
	return map[string]handler{
		"journal info":              journalInfo,
		"journal status":            journalStatus,
		"journal reset":             journalReset,
		"journal client disconnect": journalDisconnect,
		"journal inspect":           journalInspect,
		"journal export":            journalExport,
		"journal import":            journalImport,
	}
}

// journalArg is the journal that a command names.
type journalArg struct {
	io *rados.IoCtx
	id string
}

// journal reads the journal specification: the options and positional argument
// arg, which all have a journal's id for a name, or an image's name in --image.
// prefix is "dest-" for those of import. A command that prints wants its
// formatter read before the cluster is asked, except by --image.
func (c *call) journal(ctx context.Context, arg int, dest bool) (spec, error) {
	prefix, image, what := "", "image", "journal"
	if dest {
		prefix, image, what = "dest-", "dest", "destination journal"
	}
	s := spec{Pool: c.String(prefix + "pool"), Namespace: c.String(prefix + "namespace")}
	id, name := "", ""
	for _, given := range []struct {
		text string
		to   *string
	}{{c.String(prefix + "journal"), &id}, {c.String(image), &name}, {c.journalWord(prefix, arg), &id}} {
		if err := s.overlay(given.text, given.to); err != nil {
			return s, err
		}
	}
	if id == "" && name != "" {
		var err error
		if id, err = c.journalOf(ctx, s, name); err != nil {
			return s, err
		}
	}
	if id == "" {
		return s, invalidf("rbd: %s was not specified", what)
	}
	s.Image = id
	return s, nil
}

// journalWord returns the positional argument that is a journal's specification,
// which is none where an option names the journal.
func (c *call) journalWord(prefix string, arg int) string {
	if c.String(prefix+"journal") != "" {
		return ""
	}
	return c.Arg(arg)
}

// overlay reads [POOL/[NAMESPACE/]]NAME, whose parts replace those of s and name.
func (s *spec) overlay(text string, name *string) error {
	if text == "" {
		return nil
	}
	given, ok := splitSpec(text)
	switch {
	case strings.Contains(text, "@") && (!ok || given.Snap != ""):
		return invalidf("rbd: snapshot name specified for a command that doesn't use it")
	case !ok:
		return invalidf("rbd: invalid spec '%s'", text)
	}
	if given.Pool != "" {
		s.Pool, s.Namespace = given.Pool, given.Namespace
	}
	*name = given.Image
	return nil
}

// journalOf returns the id of an image's journal, which is the image's.
func (c *call) journalOf(ctx context.Context, s spec, name string) (id string, err error) {
	s.Image = name
	img, err := c.image(ctx, s, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		var usage *cli.UsageError
		if errors.As(err, &usage) && usage.Err != nil && !errors.Is(err, errConfig) {
			c.warnf("%s", usage.Msg)
			return "", failed(usage.Err, "rbd: failed to open image %s to get journal name", name)
		}
		return "", err
	}
	defer closeImage(img, &err)
	if img.Features()&rbd.FeatureJournaling == 0 {
		return "", invalidf("rbd: journaling is not enabled for image %s", name)
	}
	return img.ID(), nil
}

// openJournal opens the pool of a journal's specification.
func (c *call) openJournal(ctx context.Context, s spec) (journalArg, error) {
	io, err := c.pool(ctx, s)
	return journalArg{io: io, id: s.Image}, err
}

// printJournal reads the specification and the formatter of a command that shows
// something, and opens the pool.
func (c *call) printJournal(ctx context.Context) (j journalArg, f *cli.Formatter, err error) {
	s, err := c.journal(ctx, 0, false)
	if err == nil {
		f, err = c.formatter()
	}
	if err == nil {
		j, err = c.openJournal(ctx, s)
	}
	return j, f, err
}

// journalFailed ends a command as its lower parts do: what they say, then the
// command's own line.
func (c *call) journalFailed(command string, err error, format string, args ...any) error {
	c.warnf(format, args...)
	return failed(err, "rbd: journal %s", command)
}

func journalInfo(ctx context.Context, c *call) error {
	arg, f, err := c.printJournal(ctx)
	if err != nil {
		return err
	}
	l, err := journal.ReadLayout(ctx, arg.io, arg.id)
	if err != nil {
		return c.journalFailed("info", err, "failed to get journal metadata: %s", errnoText(err))
	}
	pool := ""
	if l.Pool >= 0 {
		if pool, err = arg.io.Client().PoolName(ctx, l.Pool); err != nil {
			c.warnf("error looking up pool name for pool_id=%d: %s", l.Pool, errnoText(err))
		}
	}
	header := journal.HeaderName(arg.id)
	prefix := strings.TrimSuffix(journal.DataName(arg.io.Pool(), arg.id, 0), "0")
	if f != nil {
		f.OpenObject("journal")
		f.String("journal_id", arg.id)
		f.String("header_oid", header)
		f.String("object_oid_prefix", prefix)
		f.Int("order", int64(l.Order))
		f.Int("splay_width", int64(l.SplayWidth))
		if pool != "" {
			f.String("object_pool", pool)
		}
		f.Close()
		return f.Flush(c.std.Out)
	}
	c.printf("rbd journal '%s':\n\theader_oid: %s\n\tobject_oid_prefix: %s\n", arg.id, header, prefix)
	c.printf("\torder: %d (%s objects)\n\tsplay_width: %d\n", l.Order, cli.ByteSize(1<<l.Order), l.SplayWidth)
	if pool != "" {
		c.printf("\tobject_pool: %s\n", pool)
	}
	return nil
}

func journalStatus(ctx context.Context, c *call) error {
	arg, f, err := c.printJournal(ctx)
	if err != nil {
		return err
	}
	st, err := journal.ReadState(ctx, arg.io, arg.id)
	if err != nil {
		return c.journalFailed("status", err, "warning: failed to get journal metadata")
	}
	if f != nil {
		f.OpenObject("status")
		f.Uint("minimum_set", st.MinimumSet)
		f.Uint("active_set", st.ActiveSet)
		f.OpenArray("registered_clients")
		for _, client := range st.Clients {
			formatClient(f, client)
		}
		f.Close()
		f.Close()
		return f.Flush(c.std.Out)
	}
	c.printf("minimum_set: %d\nactive_set: %d\nregistered clients: \n", st.MinimumSet, st.ActiveSet)
	for _, client := range st.Clients {
		var positions []string
		for _, p := range client.Commit {
			positions = append(positions, fmt.Sprintf("[object_number=%d, tag_tid=%d, entry_tid=%d]", p.Object, p.TagTID, p.EntryTID))
		}
		c.printf("\t[id=%s, commit_position=[positions=[%s]], state=%s]\n", client.ID, strings.Join(positions, ", "), clientState(client.State))
	}
	return nil
}

func clientState(state uint8) string {
	switch state {
	case wire.ClientConnected:
		return "connected"
	case wire.ClientDisconnected:
		return "disconnected"
	}
	return fmt.Sprintf("unknown (%d)", state)
}

func formatClient(f *cli.Formatter, client wire.Client) {
	f.OpenObject("client")
	f.String("id", client.ID)
	f.String("data", hexDump(client.Data))
	f.OpenObject("commit_position")
	f.OpenArray("object_positions")
	for _, p := range client.Commit {
		f.OpenObject("object_position")
		f.Uint("object_number", p.Object)
		f.Uint("tag_tid", p.TagTID)
		f.Uint("entry_tid", p.EntryTID)
		f.Close()
	}
	f.Close()
	f.Close()
	f.String("state", clientState(client.State))
	f.Close()
}

// hexDump prints bytes as Ceph does (bufferlist::hexdump): 16 to a line, "*" for
// lines of nothing but the byte that the line before is full of.
func hexDump(p []byte) string {
	if len(p) == 0 {
		return ""
	}
	var b strings.Builder
	same, starred := false, false
	for o := 0; o < len(p); o += 16 {
		row := p[o:min(len(p), o+16)]
		if o+16 < len(p) {
			uniform := strings.Count(string(row), string(row[:1])) == len(row)
			if uniform && same && row[0] == p[o-1] {
				if !starred {
					b.WriteString("\n*")
				}
				starred = true
				continue
			}
			same, starred = uniform, false
		}
		if o > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%08x ", o)
		text := make([]byte, 0, 16)
		for i := range 16 {
			if i == 8 {
				b.WriteByte(' ')
			}
			if i >= len(row) {
				b.WriteString("   ")
				continue
			}
			fmt.Fprintf(&b, " %02x", row[i])
			if row[i] < ' ' || row[i] > '~' {
				text = append(text, '.')
			} else {
				text = append(text, row[i])
			}
		}
		fmt.Fprintf(&b, "  |%s|", text)
	}
	fmt.Fprintf(&b, "\n%08x\n", len(p))
	return b.String()
}

// journalReset empties a journal by turning the feature off and on again, which
// heeds what mirroring demands.
func journalReset(ctx context.Context, c *call) (err error) {
	s, err := c.journal(ctx, 0, false)
	if err != nil {
		return err
	}
	arg, err := c.openJournal(ctx, s)
	if err != nil {
		return err
	}
	name, err := rbd.LookupName(ctx, arg.io, arg.id)
	if err != nil {
		return c.journalFailed("reset", err, "failed to locate journal's image: %s", errnoText(err))
	}
	img, err := rbd.Open(ctx, arg.io, name, rbd.OpenOptions{})
	if err != nil {
		return c.journalFailed("reset", err, "rbd: error opening image %s: %s\nfailed to open image: %s", name, errnoText(err), errnoText(err))
	}
	defer closeImage(img, &err)
	if err := img.DisableFeatures(ctx, rbd.FeatureJournaling); err != nil {
		return c.journalFailed("reset", err, "failed to disable image journaling: %s", errnoText(err))
	}
	if err := img.EnableFeatures(ctx, rbd.FeatureJournaling); err != nil {
		return c.journalFailed("reset", err, "failed to re-enable image journaling: %s", errnoText(err))
	}
	return nil
}

func journalDisconnect(ctx context.Context, c *call) error {
	s, err := c.journal(ctx, 0, false)
	if err != nil {
		return err
	}
	arg, err := c.openJournal(ctx, s)
	if err != nil {
		return err
	}
	const command = "client disconnect"
	st, err := journal.ReadState(ctx, arg.io, arg.id)
	if err != nil {
		return c.journalFailed(command, err, "warning: failed to get journal metadata")
	}
	wanted, found := c.String("client-id"), false
	for _, client := range st.Clients {
		if client.ID == "" || wanted != "" && client.ID != wanted {
			continue
		}
		in := denc.AppendU8(denc.AppendString(nil, client.ID), wire.ClientDisconnected)
		if err := arg.io.ExecWrite(ctx, journal.HeaderName(arg.id), wire.Class, wire.MethodClientUpdateState, in); err != nil {
			return c.journalFailed(command, err, "warning: failed to disconnect client %s: %s", client.ID, errnoText(err))
		}
		c.printf("client %s disconnected\n", client.ID)
		found = true
	}
	switch {
	case found:
	case wanted != "":
		return c.journalFailed(command, rados.ErrNotFound, "warning: client %s is not registered", wanted)
	default:
		return c.journalFailed(command, rados.ErrNotFound, "no registered clients to disconnect")
	}
	if _, err := arg.io.Notify(ctx, journal.HeaderName(arg.id), nil, journalNotify); err != nil {
		return c.journalFailed(command, err, "warning: failed to notify state change:: %s", errnoText(err))
	}
	return nil
}
