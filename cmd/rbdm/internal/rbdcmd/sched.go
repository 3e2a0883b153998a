package rbdcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
)

// scheduleKind is one of the two kinds of schedules that the manager's module
// rbd_support keeps: of mirror snapshots and of purging the trash.
type scheduleKind struct {
	words  string // of the rbd command and, after "rbd ", of the manager's
	images bool   // a schedule may be of one image
	status func(c *call, out []byte) error
}

// scheduleHandlers are the commands about schedules.
func scheduleHandlers() map[string]handler {
	all := make(map[string]handler)
	for _, k := range []scheduleKind{
		{words: "mirror snapshot schedule", images: true, status: mirrorScheduleStatus},
		{words: "trash purge schedule", status: purgeScheduleStatus},
	} {
		all[k.words+" add"] = k.add
		all[k.words+" remove"] = k.remove
		all[k.words+" list"] = k.list
		all[k.words+" status"] = k.printStatus
	}
	return all
}

// send asks the manager to carry out one verb of the kind's commands.
func (k scheduleKind) send(ctx context.Context, c *call, verb string, args mgrArgs) ([]byte, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(args["level_spec"], "/") {
		pool := cfg.Get("rbd_default_pool")
		if pool == "" {
			pool = "rbd"
		}
		args["level_spec"] = pool + args["level_spec"]
	}
	prefix := "rbd " + k.words + " " + verb
	return c.mgrCommand(ctx, prefix, "rbd: "+prefix, args)
}

// levelSpec returns what a schedule belongs to as the manager writes it: "" is
// all pools, "pool/" a pool, "pool/ns/" a namespace, "pool/ns/image" an image. A
// spec that begins with a slash is of the default pool.
func levelSpec(in *cli.Invocation) (mgrArgs, error) {
	pool, namespace := in.String("pool"), in.String("namespace")
	if !in.Has("image") {
		spec := ""
		if in.Has("namespace") {
			spec = pool + "/" + namespace + "/"
		} else if in.Has("pool") {
			spec = pool + "/"
		}
		return mgrArgs{"level_spec": spec}, nil
	}
	s, ok := splitSpec(in.String("image"))
	switch {
	case !ok:
		return nil, invalidf("rbd: invalid spec '%s'", in.String("image"))
	case s.Snap != "":
		return nil, invalidf("rbd: snapshot name specified for a command that doesn't use it")
	case s.Pool != "" && in.Has("pool"):
		return nil, invalidf("rbd: pool is specified both via pool and image options")
	case s.Pool != "" && in.Has("namespace"):
		return nil, invalidf("rbd: namespace is specified both via namespace and image options")
	}
	if in.Has("pool") {
		s.Pool = pool
	}
	if in.Has("namespace") {
		s.Namespace = namespace
	}
	spec := s.Pool + "/"
	if s.Namespace != "" {
		spec += s.Namespace + "/"
	}
	return mgrArgs{"level_spec": spec + s.Image}, nil
}

// scheduleArgs adds the interval and the start time.
func scheduleArgs(in *cli.Invocation, args mgrArgs) {
	if in.Arg(0) == "" {
		return
	}
	args["interval"] = in.Arg(0)
	if in.Arg(1) != "" {
		args["start_time"] = in.Arg(1)
	}
}

// noInterval is an interval of no time, which breaks the manager's module in the
// whole cluster (a division by zero) once it is stored.
var noInterval = regexp.MustCompile(`^0+[dhm]?$`)

func (k scheduleKind) add(ctx context.Context, c *call) error {
	args, err := levelSpec(c.Invocation)
	if err != nil {
		return err
	}
	scheduleArgs(c.Invocation, args)
	switch interval := args["interval"]; {
	case interval == "":
		return invalidf("rbd: missing 'interval' argument")
	case noInterval.MatchString(interval):
		return invalidf("rbd: rbd %s add failed: (22) Invalid argument: Invalid interval (%s)", k.words, interval)
	}
	return c.printAnswer(k.send(ctx, c, "add", args))
}

func (k scheduleKind) remove(ctx context.Context, c *call) error {
	args, err := levelSpec(c.Invocation)
	if err != nil {
		return err
	}
	scheduleArgs(c.Invocation, args)
	return c.printAnswer(k.send(ctx, c, "remove", args))
}

// printAnswer prints what the manager says to a command that usually says nothing.
func (c *call) printAnswer(out []byte, err error) error {
	if err != nil {
		return err
	}
	_, err = c.std.Out.Write(out)
	return err
}

// scheduleItem is one entry of a schedule.
type scheduleItem struct {
	Interval  string `json:"interval"`
	StartTime string `json:"start_time"`
}

// schedule is the entries for one pool, namespace or image.
type schedule struct {
	Name  string         `json:"name"`
	Items []scheduleItem `json:"schedule"`
}

func (s schedule) String() string {
	var parts []string
	for _, i := range s.Items {
		text := "every " + i.Interval
		if i.StartTime != "" {
			text += " starting at " + i.StartTime
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func (s schedule) dump(f *cli.Formatter) {
	f.OpenArray("items")
	for _, i := range s.Items {
		f.OpenObject("item")
		f.String("interval", i.Interval)
		f.String("start_time", i.StartTime)
		f.Close()
	}
	f.Close()
}

// level splits the schedule's name in pool, namespace and image, "-" standing
// for one that it is not limited to.
func (s schedule) level(images bool) (pool, namespace, image string, ok bool) {
	if s.Name == "" {
		return "-", "-", "-", true
	}
	parts := strings.Split(s.Name, "/")
	switch {
	case parts[0] == "" || len(parts) < 2 || len(parts) > 3:
		return "", "", "", false
	case len(parts) == 3 && parts[1] == "":
		parts = []string{parts[0], parts[2]}
	}
	namespace, image = "-", parts[len(parts)-1]
	switch {
	case len(parts) == 3:
		namespace = parts[1]
	case image != "":
		namespace = ""
	}
	if image == "" {
		image = "-"
	} else if !images || strings.Contains(image, "@") {
		return "", "", "", false
	}
	return parts[0], namespace, image, true
}

func (k scheduleKind) list(ctx context.Context, c *call) error {
	args, err := levelSpec(c.Invocation)
	if err != nil {
		return err
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	out, err := k.send(ctx, c, "list", args)
	if err != nil {
		return err
	}
	var byID map[string]schedule
	if json.Unmarshal(out, &byID) != nil {
		return badAnswer("rbd: invalid schedule list JSON received")
	}
	byName := make(map[string]schedule)
	for _, s := range byID {
		byName[s.Name] = s
	}
	if c.Has("recursive") {
		return k.printAll(c, f, byName)
	}
	s, ok := byName[args["level_spec"]]
	switch {
	case !ok:
		return &cli.UsageError{Code: exitNoEntry}
	case f != nil:
		s.dump(f)
		return f.Flush(c.std.Out)
	}
	c.printf("%s\n", s)
	return nil
}

func (k scheduleKind) printAll(c *call, f *cli.Formatter, byName map[string]schedule) error {
	var t cli.TextTable
	t.Column("POOL", cli.Left, cli.Left)
	t.Column("NAMESPACE", cli.Left, cli.Left)
	if k.images {
		t.Column("IMAGE", cli.Left, cli.Left)
	}
	t.Column("SCHEDULE", cli.Left, cli.Left)
	if f != nil {
		f.OpenArray("schedules")
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		s := byName[name]
		pool, namespace, image, ok := s.level(k.images)
		if !ok {
			continue
		}
		if f == nil {
			row := []string{pool, namespace, image, s.String()}
			if !k.images {
				row = slices.Delete(row, 2, 3)
			}
			t.Row(row...)
			continue
		}
		f.OpenObject("schedule")
		f.String("pool", pool)
		f.String("namespace", namespace)
		if k.images {
			f.String("image", image)
		}
		s.dump(f)
		f.Close()
	}
	if f != nil {
		return f.Flush(c.std.Out)
	}
	t.Write(c.std.Out)
	return nil
}

// printStatus prints when the next snapshots or purges are due. A failure of the
// manager's command is followed by the complaint that its answer is no JSON.
func (k scheduleKind) printStatus(ctx context.Context, c *call) error {
	args, err := levelSpec(c.Invocation)
	if err != nil {
		return err
	}
	if _, err := c.format(); err != nil {
		return err
	}
	if _, err := c.connect(ctx); err != nil {
		return err
	}
	out, err := k.send(ctx, c, "status", args)
	if err != nil {
		return badAnswer(fmt.Sprintf("%v\nrbd: invalid schedule status JSON received", err))
	}
	return k.status(c, out)
}

func mirrorScheduleStatus(c *call, out []byte) error {
	var status struct {
		Images []struct {
			Time  string `json:"schedule_time"`
			Image string `json:"image"`
		} `json:"scheduled_images"`
	}
	if json.Unmarshal(out, &status) != nil {
		return badAnswer("rbd: invalid schedule status JSON received")
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	if f != nil {
		f.OpenArray("scheduled_images")
		for _, i := range status.Images {
			f.OpenObject("image")
			f.String("schedule_time", i.Time)
			f.String("image", i.Image)
			f.Close()
		}
		return f.Flush(c.std.Out)
	}
	var t cli.TextTable
	t.Column("SCHEDULE TIME", cli.Left, cli.Left)
	t.Column("IMAGE", cli.Left, cli.Left)
	for _, i := range status.Images {
		t.Row(i.Time, i.Image)
	}
	t.Write(c.std.Out)
	return nil
}

// purgeStatus is when the trash of a namespace is purged next.
type purgeStatus struct {
	Pool      string `json:"pool_name"`
	Namespace string `json:"namespace"`
	Time      string `json:"schedule_time"`
}

func purgeScheduleStatus(c *call, out []byte) error {
	var status struct {
		Scheduled []purgeStatus `json:"scheduled"`
	}
	if json.Unmarshal(out, &status) != nil {
		return badAnswer("rbd: invalid schedule status JSON received")
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	slices.SortStableFunc(status.Scheduled, func(a, b purgeStatus) int {
		return slices.Compare([]string{a.Pool, a.Namespace}, []string{b.Pool, b.Namespace})
	})
	if f != nil {
		f.OpenArray("scheduled")
		for _, s := range status.Scheduled {
			f.OpenObject("item")
			f.String("pool", s.Pool)
			f.String("namespce", s.Namespace) // the spelling of rbd, which scripts read
			f.String("schedule_time", s.Time)
			f.Close()
		}
		return f.Flush(c.std.Out)
	}
	var t cli.TextTable
	t.Column("POOL", cli.Left, cli.Left)
	t.Column("NAMESPACE", cli.Left, cli.Left)
	t.Column("SCHEDULE TIME", cli.Left, cli.Left)
	for _, s := range status.Scheduled {
		t.Row(s.Pool, s.Namespace, s.Time)
	}
	t.Write(c.std.Out)
	return nil
}
