package rbdcmd

// dataHandlers are the commands that move image data: export, import, diff, copy, bench.
func dataHandlers() map[string]handler {
	return map[string]handler{}
}
