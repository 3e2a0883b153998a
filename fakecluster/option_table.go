package fakecluster

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// optionTable lists the options of Ceph 16.2 and 20.2 as `config help` of their
// monitors does: name, the only release that has it or nothing, type, default, flags.
// The levels of subsystems' logs are of type subsys.
//
//go:embed options.tsv
var optionTable string

// option is what is known of a configuration option.
type option struct {
	kind, standard string
	// flags are b, d or u for another level than advanced, and * when a change
	// needs a restart.
	flags string
}

// findOption looks an option of the cluster's release up.
func (c *Cluster) findOption(name string) (option, bool) {
	at := 0
	if !strings.HasPrefix(optionTable, name+"\t") {
		if at = strings.Index(optionTable, "\n"+name+"\t"); at < 0 {
			return option{}, false
		}
		at++
	}
	line, _, _ := strings.Cut(optionTable[at:], "\n")
	f := strings.Split(line, "\t")
	if f[1] == "16" && c.opt.release > 16 || f[1] == "20" && c.opt.release < 18 {
		return option{}, false
	}
	o := option{kind: f[2], standard: f[3]}
	if len(f) > 4 {
		o.flags = f[4]
	}
	if o.kind == "float" {
		if x, err := strconv.ParseFloat(o.standard, 64); err == nil {
			o.standard = fmt.Sprintf("%f", x)
		}
	}
	return o, true
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
		switch strings.ToLower(value) {
		case "true", "yes", "on":
			return "true", ""
		case "false", "no", "off":
			return "false", ""
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
			if _, err := strconv.Atoi(level); err != nil {
				return "", "value must take the form N or N/M, where N and M are integers"
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
		case err != nil:
			return "", "strict_si_cast: unit prefix not recognized"
		case n < 0 && o.kind == "uint":
			return "", "strict_sistrtoll: value should not be negative"
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
