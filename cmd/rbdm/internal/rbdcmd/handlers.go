package rbdcmd

import "maps"

// handlers maps the words of each command to what carries it out.
func handlers() map[string]handler {
	all := make(map[string]handler)
	for _, group := range []map[string]handler{imageHandlers(), dataHandlers(), mirrorHandlers(), journalHandlers(), scheduleHandlers(), perfHandlers(), groupHandlers()} {
		maps.Copy(all, group)
	}
	return all
}
