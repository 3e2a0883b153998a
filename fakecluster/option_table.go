package fakecluster

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// optionLines lists the options of Ceph 16.2, 18.2 and 20.2 as `config help` of their
// monitors does: name, the releases that have it so (nothing: all), type, default, flags,
// default of daemons, services, related options, tags, least, most, flags by name and values.
// The levels of subsystems' logs are of type subsys.
//
//go:embed options.tsv
var optionLines string

// option is what is known of a configuration option.
type option struct {
	kind, standard string
	// flags are b, d or u for another level than advanced, and * when a change
	// needs a restart.
	flags                               string
	ofDaemons, least, most              string
	services, related, tags, said, enum []string
}

// optionSet are a release's options.
type optionSet struct {
	names  []string // sorted
	byName map[string]option
}

// optionsOf reads a release's options, once for all clusters. read-only.
var optionsOf = map[int]func() optionSet{
	16: sync.OnceValue(func() optionSet { return readOptions("16") }),
	18: sync.OnceValue(func() optionSet { return readOptions("18") }),
	20: sync.OnceValue(func() optionSet { return readOptions("20") }),
}

// fields splits a line of a table that is kept by release, or returns nil when the
// line is not about the release. Columns that are empty at the end are not there.
func fields(line, release string, columns int) []string {
	f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	if f[1] != "" && !slices.Contains(strings.Split(f[1], ","), release) {
		return nil
	}
	return append(f, make([]string, max(0, columns-len(f)))...)
}

// commas splits a list that may be empty.
func commas(s string) []string {
	if s == "" {
		return []string{}
	}
	return strings.Split(s, ",")
}

func readOptions(release string) optionSet {
	set := optionSet{byName: map[string]option{}}
	for line := range strings.Lines(optionLines) {
		f := fields(line, release, 13)
		if f == nil {
			continue
		}
		o := option{
			kind: f[2], standard: f[3], flags: f[4], ofDaemons: f[5], services: commas(f[6]), related: commas(f[7]), tags: commas(f[8]),
			least: f[9], most: f[10], said: commas(f[11]), enum: commas(f[12]),
		}
		if o.kind == "float" {
			if x, err := strconv.ParseFloat(o.standard, 64); err == nil {
				o.standard = fmt.Sprintf("%f", x)
			}
		}
		set.names = append(set.names, f[0])
		set.byName[f[0]] = o
	}
	return set
}

func (c *Cluster) options() optionSet { return optionsOf[c.opt.release]() }

// findOption looks an option of the cluster's release up.
func (c *Cluster) findOption(name string) (option, bool) {
	o, ok := c.options().byName[name]
	return o, ok
}

// typed returns a value as JSON has it.
func (o option) typed(value string) any {
	switch o.kind {
	case "bool":
		return value == "true"
	case "int", "uint", "size", "secs", "millisecs", "float":
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			return json.Number(value)
		}
	}
	return value
}

// normal returns the form in which a value is kept, or why it is none.
func (o option) normal(value string) (kept, problem string) {
	switch o.kind {
	case "bool":
		if low := strings.ToLower(value); low == "true" || low == "false" {
			return low, ""
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "", "Expected option value to be integer, got '" + value + "'"
		}
		return strconv.FormatBool(n != 0), ""
	case "subsys":
		log, memory, both := strings.Cut(value, "/")
		if !both {
			memory = log
		}
		for _, level := range []string{log, memory} {
			if _, err := strconv.Atoi(level); err != nil && level == log {
				return "", "value must take the form N or N/M, where N and M are integers"
			} else if err != nil {
				memory = log
			}
		}
		return log + "/" + memory, ""
	case "size":
		n, problem := parseIEC(value)
		if problem != "" {
			return "", problem
		}
		return strconv.FormatInt(n, 10), ""
	case "int", "uint":
		n, err := strconv.ParseInt(strings.TrimRight(value, "KMGTPE"), 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return "", "The option value '" + value + "' seems to be invalid"
		case err != nil:
			return "", "strict_si_cast: unit prefix not recognized"
		case n < 0 && o.kind == "uint":
			return "", "strict_sistrtoll: value should not be negative"
		}
	case "secs":
		d, problem := parseSpan(value)
		return strconv.FormatInt(int64(d.Seconds()), 10), problem
	case "str":
		if len(o.enum) > 0 && !slices.Contains(o.enum, value) {
			return "", "'" + value + "' is not one of the permitted values: " + strings.Join(o.enum, ", ")
		}
	case "float":
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return "", "strict_strtod: expected double, got: '" + value + "'"
		}
		return fmt.Sprintf("%f", x), ""
	}
	return value, ""
}
